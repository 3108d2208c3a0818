"""What holds for every request before a route sees it: its id, its size, its place in the queue, and its time."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from es_semantic.config import ServeSettings
from es_semantic.errors import EsSemanticError
from es_semantic.server.admission import Admission
from es_semantic.server.failures import Failure, failure_of, plain
from es_semantic.server.metrics import Metrics

ALWAYS = frozenset(["/healthz", "/readyz", "/metrics"])
"""Answered however much there is to do."""

METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
"""By which requests are counted; whatever else clients call a method is one more."""

MOST_UPLOADS = 4
"""At once: each is held in memory, up to ``max_upload``."""

UPLOAD_TIMEOUT = 600.0
"""Seconds for a request that brings documents, which are read and embedded before it is answered."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger("es_semantic.server")


class _TooLarge(Exception):
    """The body is longer than it may be."""


class _Gone(Exception):
    """The client has hung up."""


class Guard:
    """An ASGI middleware.

    Who may not come in is told so first. Then a body is read whole, up to its limit, before anything is done with it.
    Beyond ``concurrency`` requests at once it answers 429; after ``timeout`` seconds 504. The work for a client that
    has hung up is stopped.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        admission: Admission,
        metrics: Metrics,
        uploads: Callable[[str], bool],
        shaped: Callable[[str, Failure, str], Response],
    ) -> None:
        """Guard ``app``.

        ``uploads`` tells by the path which requests may be as large as ``max_upload``; ``shaped`` makes the answer to a
        path of a failure and the request's id.
        """
        self._app = app
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._uploads = uploads
        self._shaped = shaped
        self._under_way = 0
        self._uploading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = _request_id(headers.get(b"x-request-id", ""))
        answer = _Answer(send, request_id, lambda failure: self._shaped(scope["path"], failure, request_id))
        scope.setdefault("state", {})["request_id"] = answer.request_id
        started = time.perf_counter()
        counted = scope["path"] not in ALWAYS
        self._under_way += counted
        self._metrics.under_way.set(self._under_way)
        try:
            await self._answer(scope, receive, answer, headers, counted)
        finally:
            self._under_way -= counted
            self._metrics.under_way.set(self._under_way)
            self._tell(scope, answer, time.perf_counter() - started)

    async def _answer(
        self, scope: Scope, receive: Receive, answer: _Answer, headers: dict[bytes, str], counted: bool
    ) -> None:
        upload = self._uploads(scope["path"])
        limit = self._settings.max_upload if upload else self._settings.max_body
        timeout = max(self._settings.timeout, UPLOAD_TIMEOUT if upload else 0.0)
        try:
            self._admit(scope, headers)
            refused = self._full(upload, counted)
            if refused is not None:
                await answer.fail(refused)
                return
            self._uploading += upload
            try:
                async with asyncio.timeout(timeout):
                    body = await _read(receive, limit, headers.get(b"content-length", ""))
                    await self._run(scope, body, receive, answer)
            finally:
                self._uploading -= upload
        except EsSemanticError as error:
            await answer.fail(failure_of(error))
        except _TooLarge:
            await answer.fail(
                plain(413, "TooLarge", f"the request is larger than {limit:,} bytes", "Send less at once.")
            )
        except TimeoutError:
            what = f"not answered within {timeout:g} seconds"
            await answer.fail(plain(504, "TimedOut", what, "Ask for less, or raise serve.timeout."))
        except _Gone:
            answer.status = 499
        except Exception:
            # A bug of ours; the traceback is for the log, and nobody else.
            log.exception("request %s failed", answer.request_id)
            await answer.fail(plain(500, "InternalError", "this is a bug", f"Request {answer.request_id} in the log."))

    def _admit(self, scope: Scope, headers: dict[bytes, str]) -> None:
        access = self._admission.admit(scope["path"], headers)
        if access is not None:
            scope["state"] |= {"access": access, "caller": access.caller}
            if self._uploads(scope["path"]):
                # Before a large body is read, which no other scope needs.
                access.require("ingest")

    def _full(self, upload: bool, counted: bool) -> Failure | None:
        most = self._settings.concurrency
        if counted and self._under_way > most:
            return plain(429, "TooManyRequests", f"{most} requests are under way already", "Try again.")
        if upload and self._uploading >= MOST_UPLOADS:
            return plain(429, "TooManyRequests", f"{MOST_UPLOADS} uploads are under way already", "Try again.")
        return None

    async def _run(self, scope: Scope, body: bytes, receive: Receive, answer: _Answer) -> None:
        given = asyncio.Event()
        hung_up = asyncio.Event()

        async def again() -> Message:
            if not given.is_set():
                given.set()
                return {"type": "http.request", "body": body, "more_body": False}
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            hung_up.set()

        work, watching = asyncio.ensure_future(self._app(scope, again, answer)), asyncio.create_task(watch())
        try:
            await asyncio.wait([work, watching], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise _Gone
            work.result()
        finally:
            for task in (work, watching):
                task.cancel()
            await asyncio.gather(work, watching, return_exceptions=True)

    def _tell(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        # A route as it is declared: else everybody could add labels.
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.answered(method, route, answer.status, seconds)
        if scope["path"] not in ALWAYS:
            fields = {
                "request_id": answer.request_id,
                "method": scope["method"],
                "route": route,
                "status": answer.status,
                "ms": round(seconds * 1000, 1),
                "caller": scope.get("state", {}).get("caller", ""),
            }
            log.info("answered", extra=fields)


class _Answer:
    """What is sent back, with the request's id in it."""

    def __init__(self, send: Send, request_id: str, shaped: Callable[[Failure], Response]) -> None:
        self._send = send
        self._shaped = shaped
        self.request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], (b"x-request-id", self.request_id.encode())]}
        await self._send(message)

    async def fail(self, failure: Failure) -> None:
        """Answer with a failure, unless an answer has begun."""
        if self.status:
            return
        response = self._shaped(failure)
        await self({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await self({"type": "http.response.body", "body": response.body})


async def _read(receive: Receive, limit: int, announced: str) -> bytes:
    if announced.isdigit() and int(announced[:20]) > limit:
        raise _TooLarge
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _TooLarge
        if not message.get("more_body", False):
            return b"".join(parts)


def _request_id(given: str) -> str:
    return given if _ID.fullmatch(given) else uuid.uuid4().hex
