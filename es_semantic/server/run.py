"""Run the server until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from es_semantic.config import Config, ConnectionSettings
from es_semantic.errors import UsageError
from es_semantic.server.app import create_app

STOPPING = (signal.SIGINT, signal.SIGTERM)

GRACE = 5.0
"""Seconds beyond the timeout of a request that requests under way have to end."""


class _Server(uvicorn.Server):
    """Ends in order when it is told to, and then says so by returning: uvicorn's own would raise the signal again.

    It calls ``started_up`` once it answers.
    """

    started_up: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self.started_up()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let the first signal end the server, a second one at once."""
        before = {each: signal.signal(each, self._stop) for each in STOPPING}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.handle_exit(number, frame)


def run(config: Config, connection: ConnectionSettings, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are answered first.

    Raises:
        UsageError: the address cannot be listened on, or would need keys.
        ConfigError: the file of keys cannot be read.
    """
    settings = config.serve
    app = create_app(config, connection, warmed=_freeze)
    listening = _listen(settings.host, settings.port)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            # Forwarded headers would let anybody say where a request comes from.
            proxy_headers=False,
            timeout_graceful_shutdown=int(settings.timeout + GRACE),
            backlog=2_048,
        )
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{listening.getsockname()[1]}"
    server.started_up = lambda: say(f"es-semantic serves at {url} (playground; API: {url}/docs). Ctrl-C stops it.")
    with listening:
        server.run(sockets=[listening])
    if not app.state.service.warm.is_set():
        # A model that is being loaded cannot be interrupted, and may take longer than whoever stops us waits.
        logging.shutdown()
        sys.stderr.flush()
        os._exit(0)


def _freeze() -> None:
    """Take what is loaded out of the garbage collector's sight.

    To go through half a million objects of models and their libraries takes tenths of a second, which whoever asks at
    that moment would wait (Python docs, "gc": ``freeze``).
    """
    gc.collect()
    gc.freeze()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="Give another --port, or 0 for any free one; see what uses it with `ss -ltnp`.",
        ) from error
    return listening
