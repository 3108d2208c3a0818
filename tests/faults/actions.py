"""What the fault proxy can do to a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

from tests.faults.exchange import BUFFER, Exchange, Message


class Action(Protocol):
    """What happens to a request."""

    async def apply(self, exchange: Exchange) -> None: ...


@dataclass(frozen=True)
class Reset:
    """Forward nothing; close the client's connection with RST."""

    async def apply(self, exchange: Exchange) -> None:
        exchange.client.reset()


@dataclass(frozen=True)
class ResetAfter:
    """Forward the request, send the first ``length`` bytes of the answer (head included), then RST.

    What the client's side has not received when the RST comes is lost, so a ``length`` of megabytes is an upper limit.
    """

    length: int

    async def apply(self, exchange: Exchange) -> None:
        answer = await exchange.forward()
        await exchange.client.send((answer.head + answer.body)[: self.length])
        exchange.client.reset()


@dataclass(frozen=True)
class BlackHole:
    """Forward nothing and never answer, until the client or the proxy closes the connection."""

    async def apply(self, exchange: Exchange) -> None:
        while await exchange.client.reader.read(BUFFER):
            pass


@dataclass(frozen=True)
class Delay:
    """Forward after a pause in seconds, also when the client has given up meanwhile: a slow network does that."""

    seconds: float

    async def apply(self, exchange: Exchange) -> None:
        await asyncio.sleep(self.seconds)
        await exchange.relay()


@dataclass(frozen=True)
class LoseAnswer(ResetAfter):
    """Forward the request, wait for the complete answer (the write is in the index), then RST instead of the answer."""

    length: int = 0


REJECTION = {"type": "es_rejected_execution_exception", "reason": "rejected by the fault proxy"}


@dataclass(frozen=True)
class TooMany:
    """Forward nothing; refuse the whole request as a node with full queues does."""

    status: int = 429

    async def apply(self, exchange: Exchange) -> None:
        error = {"root_cause": [REJECTION], **REJECTION}
        await exchange.answer(self.status, {"error": error, "status": self.status})


@dataclass(frozen=True)
class RejectItems:
    """Refuse the items of a ``_bulk`` request for which ``choose(position, action)`` is true, and forward the others.

    ``action`` is the item's parsed action line. The answer is the node's without ``filter_path``, so it always has
    ``errors``, ``items.*.status`` and ``items.*.error``, with the refused items at their positions. A request without a
    chosen item passes unchanged; one with nothing else is not forwarded; a node's refusal of the whole is handed on.
    """

    choose: Callable[[int, dict[str, Any]], bool]
    status: int = 429

    async def apply(self, exchange: Exchange) -> None:
        request = exchange.request
        if not request.path.endswith("/_bulk"):
            raise ValueError(f"RejectItems was applied to {request.method} {request.path}, which is not _bulk")
        items = bulk_items(request.content)
        refused = {i for i, (action, _) in enumerate(items) if self.choose(i, action)}
        if not refused:
            return await exchange.relay()
        answer: dict[str, Any] = {"took": 0, "items": []}
        if len(refused) < len(items):
            body = b"".join(lines for i, (_, lines) in enumerate(items) if i not in refused)
            reply = await exchange.forward(_bulk_head(request, len(body)), body)
            if reply.status != HTTPStatus.OK:
                return await exchange.client.send(reply.head, reply.body)
            answer = json.loads(reply.content)
        accepted = iter(answer["items"])
        merged = [
            self._item(action, request.path) if i in refused else next(accepted) for i, (action, _) in enumerate(items)
        ]
        return await exchange.answer(HTTPStatus.OK, {**answer, "errors": True, "items": merged})

    def _item(self, action: dict[str, Any], path: str) -> dict[str, Any]:
        ((operation, target),) = action.items()
        index = target.get("_index", unquote(path).split("/")[-2] or None)
        return {operation: {"_index": index, "_id": target.get("_id"), "status": self.status, "error": REJECTION}}


def bulk_items(body: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Split a ``_bulk`` body into items: the parsed action line, and all lines of the item as they were sent."""
    lines = iter(body.split(b"\n"))
    items = []
    for line in lines:
        if line.strip():
            action = json.loads(line)
            item = [line] if "delete" in action else [line, next(lines, b"")]
            items.append((action, b"".join(part + b"\n" for part in item)))
    return items


def _bulk_head(request: Message, length: int) -> bytes:
    query = request.start[1].partition("?")[2].split("&")
    kept = "&".join(part for part in query if part and part.partition("=")[0] != "filter_path")
    framing = {"content-length", "transfer-encoding", "content-encoding", "accept-encoding", "expect"}
    headers = {name: value for name, value in request.headers.items() if name not in framing}
    lines = [f"{name}: {value}" for name, value in {**headers, "content-length": str(length)}.items()]
    target = f"{request.path}?{kept}" if kept else request.path
    return "\r\n".join([f"{request.method} {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")
