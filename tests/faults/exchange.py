"""HTTP/1.1 messages, read and kept byte for byte, and the two connections on which the fault proxy hands them on."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from http import HTTPStatus
from typing import Any

BUFFER = 1024 * 1024
"""Bytes a stream holds before it stops reading; also the longest head of a message."""


@dataclass(frozen=True)
class Message:
    """One HTTP request or answer: ``head`` and ``body`` as they were read, ``headers`` with lower-case names."""

    start: list[str]
    headers: dict[str, str] = field(repr=False)
    head: bytes = field(repr=False)
    body: bytes = field(repr=False, default=b"")
    payload: bytes = field(repr=False, default=b"")

    @property
    def method(self) -> str:
        return self.start[0]

    @property
    def path(self) -> str:
        """Path of a request as it was sent (percent-encoded), without the query."""
        return self.start[1].partition("?")[0]

    @property
    def status(self) -> int:
        return int(self.start[1])

    @cached_property
    def content(self) -> bytes:
        """The body without chunks and without gzip."""
        return gzip.decompress(self.payload) if self.headers.get("content-encoding") == "gzip" else self.payload


async def read_message(reader: asyncio.StreamReader, answers: str | None = None) -> Message:
    """Read a request, or the answer to a request of the method ``answers``.

    Raises:
        asyncio.IncompleteReadError: the other side has closed the connection.
        ValueError: this is not HTTP/1.1.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    message = Message(start.split(" "), headers, head)
    # Which messages have a body, and how long it is: RFC 9112, 6.3.
    if answers is not None and (answers == "HEAD" or message.status < 200 or message.status in (204, 304)):
        return message
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, payload = await _read_chunks(reader)
        return replace(message, body=body, payload=payload)
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read() if answers is not None else b""
    return replace(message, body=body, payload=body)


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    raw, payload = bytearray(), bytearray()
    while True:
        raw += (line := await reader.readuntil(b"\n"))
        if not (size := int(line.split(b";")[0], 16)):
            break
        raw += (chunk := await reader.readexactly(size + 2))
        payload += chunk[:-2]
    while line != b"\r\n":
        raw += (line := await reader.readuntil(b"\n"))
    return bytes(raw), bytes(payload)


class Connection:
    """One connection, to the client or to the node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        # So that send() returns when the kernel has everything, and closing at once loses nothing of it.
        writer.transport.set_write_buffer_limits(high=0)

    @property
    def closed(self) -> bool:
        return self._writer.is_closing() or self.reader.at_eof()

    async def send(self, *parts: bytes) -> None:
        self._writer.writelines(parts)
        await self._writer.drain()

    def reset(self) -> None:
        """Close with RST."""
        if not self._writer.is_closing():
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()


@dataclass
class Seen:
    """One request that reached the proxy.

    ``time`` is ``time.monotonic()`` when it had arrived, ``fault`` the name of the action that was applied. ``status``
    is the node's, or that of the refusal in its place; None while nothing has answered. ``done`` when the proxy has
    finished with it.
    """

    method: str
    path: str
    time: float
    fault: str | None
    status: int | None = None
    done: bool = False


class Exchange:
    """A client's connection, the one to the node that belongs to it, and the request being served."""

    request: Message
    seen: Seen

    def __init__(self, client: Connection, upstream: tuple[str, int]) -> None:
        self.client = client
        self._upstream = upstream
        self._node: Connection | None = None

    async def forward(self, head: bytes | None = None, body: bytes | None = None) -> Message:
        """Send the request to the node (or other bytes in its place) and return the complete answer.

        Interim answers (1xx) go to the client at once.
        """
        if self._node is None or self._node.closed:
            await self._close_node()
            self._node = Connection(*await asyncio.open_connection(*self._upstream, limit=BUFFER))
        request = self.request
        await self._node.send(request.head if head is None else head, request.body if body is None else body)
        while (answer := await read_message(self._node.reader, request.method)).status < 200:
            await self.client.send(answer.head)
        self.seen.status = answer.status
        return answer

    async def relay(self) -> None:
        """Forward the request and send the answer: what happens where no rule applies."""
        answer = await self.forward()
        await self.client.send(answer.head, answer.body)
        if "close" in (self.request.headers.get("connection"), answer.headers.get("connection")):
            await self.client.close()

    async def answer(self, status: int, body: dict[str, Any]) -> None:
        """Answer in the node's place, in the node's manner."""
        self.seen.status = status
        content = json.dumps(body).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nX-elastic-product: Elasticsearch\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        await self.client.send(head.encode(), b"" if self.request.method == "HEAD" else content)

    async def close(self) -> None:
        """Close both connections."""
        await self.client.close()
        await self._close_node()

    async def _close_node(self) -> None:
        if self._node is not None:
            await self._node.close()
