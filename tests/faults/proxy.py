"""A fault proxy: stands between a client and a real Elasticsearch node, and breaks what a test tells it to break.

It speaks HTTP/1.1 without TLS and hands requests and answers on byte for byte, unless a rule applies. Its event loop
runs in a thread of the test process::

    with FaultProxy(node_url) as proxy, Elasticsearch(proxy.url, max_retries=0) as client:
        proxy.add(Rule(LoseAnswer(), when=ends("/_bulk"), often=first(2)))

A message is held in memory until it is complete. Needs ``SO_REUSEPORT`` (Linux, macOS).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.faults.actions import (
    Action,
    BlackHole,
    Delay,
    LoseAnswer,
    RejectItems,
    Reset,
    ResetAfter,
    TooMany,
    bulk_items,
)
from tests.faults.exchange import BUFFER, Connection, Exchange, Message, Seen, read_message

__all__ = [
    "Action",
    "BlackHole",
    "Delay",
    "FaultProxy",
    "LoseAnswer",
    "RejectItems",
    "Reset",
    "ResetAfter",
    "Rule",
    "Seen",
    "TooMany",
    "bulk_items",
    "chance",
    "ends",
    "every",
    "first",
]

T = TypeVar("T")

Predicate = Callable[[str, str, bytes], bool]
"""Of method, path (without the query) and body (without chunks and gzip); called in the proxy's thread."""

Frequency = Callable[[int], bool]
"""Whether a rule applies to its match of this number, from 1."""


def ends(suffix: str) -> Predicate:
    """Match paths with this end, such as ``/_bulk``."""
    return lambda _method, path, _body: path.endswith(suffix)


def first(n: int) -> Frequency:
    """Apply to the first n matches."""
    return lambda match: match <= n


def every(k: int) -> Frequency:
    """Apply to every k-th match: k, 2k, ..."""
    return lambda match: match % k == 0


def chance(p: float, generator: random.Random) -> Frequency:
    """Apply with probability p; seed the generator and print the seed."""
    return lambda _match: generator.random() < p


@dataclass(frozen=True)
class Rule:
    """An action, the requests it is meant for (default: all), and how often it applies (default: always)."""

    action: Action
    when: Predicate = lambda _method, _path, _body: True
    often: Frequency = lambda _match: True


class FaultProxy:
    """A proxy in front of the node at ``upstream``, such as ``http://localhost:9200``. Its methods are thread-safe.

    A request goes to the first rule, in the order of adding, that matches and applies; rules after it do not count it.
    Leaving the ``with`` block raises what went wrong in the proxy's own thread, such as an exception of a predicate
    (or notes it on the exception that is already on its way).

    Raises:
        ValueError: ``upstream`` is not the plain http URL of a node.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError("the fault proxy needs a node's URL of the form http://host:port")
        self._upstream = parts.hostname, parts.port or 80
        self._changed = threading.Condition()
        self._rules: list[tuple[Rule, Iterator[int]]] = []
        self._seen: list[Seen] = []
        self._failures: list[BaseException] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> FaultProxy:
        # Bound, never listening: while the proxy is down, connections are refused and nobody else is given the port.
        self._holder = _bound(0)
        self._port = self._holder.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._note)
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop())
        self._call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._holder.close()
        if error is None and self._failures:
            raise BaseExceptionGroup("the fault proxy failed", self._failures)
        if error is not None:
            for failure in self._failures:
                error.add_note(f"the fault proxy failed: {failure!r}")

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def requests(self) -> list[Seen]:
        """All requests so far, in the order of arrival, as they stand now."""
        with self._changed:
            return [replace(seen) for seen in self._seen]

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How many requests there were by (method, path)."""
        return Counter((seen.method, seen.path) for seen in self.requests)

    def add(self, rule: Rule) -> Rule:
        """Add a rule with a count of its own, for requests that have not arrived yet."""
        with self._changed:
            self._rules.append((rule, itertools.count(1)))
        return rule

    def remove(self, rule: Rule) -> None:
        """Remove this rule."""
        with self._changed:
            self._rules = [entry for entry in self._rules if entry[0] is not rule]

    def clear(self) -> None:
        """Remove all rules; what a fault already holds, such as a black hole, it keeps."""
        with self._changed:
            self._rules = []

    def wait_for(self, what: int | Callable[[Seen], bool], timeout: float = 30, *, times: int = 1) -> list[Seen]:
        """Wait until so many requests have arrived, or ``times`` of them are as the predicate wants; return these.

        Raises:
            TimeoutError: that was not so within ``timeout`` seconds.
        """
        wanted, least = (what, times) if callable(what) else (lambda _seen: True, what)
        with self._changed:
            if self._changed.wait_for(lambda: sum(map(wanted, self._seen)) >= least, timeout):
                return [replace(seen) for seen in self._seen if wanted(seen)]
        raise TimeoutError(f"{least} requests expected within {timeout} s; the proxy saw {self.requests[-20:]}")

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections while the block runs, as a stopped node does, and listen on the same port afterwards.

        All open connections are closed at the start; what was being forwarded may or may not reach the index.

        Raises:
            RuntimeError: it is down already.
        """
        if self._server is None:
            raise RuntimeError("the fault proxy is down already; leave the other down() first")
        self._call(self._stop())
        try:
            yield
        finally:
            self._call(self._listen())

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failures.append(context.get("exception") or RuntimeError(context["message"]))

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=_bound(self._port), limit=BUFFER)

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        # Also tasks that accept a connection right now: these end by themselves, and cancelled they would leak it.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if server is not None:
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(Connection(reader, writer), self._upstream)
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # A connection that was accepted in the moment of going down is not served.
            while self._server is not None and not exchange.client.closed:
                exchange.request = await read_message(reader)
                await self._answer(exchange)
        except asyncio.CancelledError:
            pass  # Going down. Let through, it would be reported as a failed callback by Python 3.11's streams.
        except (OSError, asyncio.IncompleteReadError):
            exchange.client.reset()  # The client or the node has gone.
        except Exception as error:
            self._failures.append(error)
            exchange.client.reset()
        finally:
            self._connections.discard(task)
            await exchange.close()

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        with self._changed:
            action = self._action(request)
            fault = None if action is None else type(action).__name__
            seen = exchange.seen = Seen(request.method, request.path, time.monotonic(), fault)
            self._seen.append(seen)
            self._changed.notify_all()
        try:
            await (exchange.relay() if action is None else action.apply(exchange))
        finally:
            with self._changed:
                seen.done = True
                self._changed.notify_all()

    def _action(self, request: Message) -> Action | None:
        for rule, numbers in self._rules:
            if rule.when(request.method, request.path, request.content) and rule.often(next(numbers)):
                return rule.action
        return None


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound
