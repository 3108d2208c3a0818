"""Three pages over HTTP for whoever watches a sync: /metrics, /healthz and /readyz, on this machine only."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app

from es_semantic.errors import UsageError
from es_semantic.sync.metrics import PrometheusObserver

LOOPBACK = "127.0.0.1"

SILENCE = 10.0
"""Seconds without a byte after which a client is hung up on."""

log = logging.getLogger(__name__)


@contextmanager
def serve(observer: PrometheusObserver, *, port: int) -> Iterator[int]:
    """Serve the pages on 127.0.0.1 from a thread while the context lasts, and give its port; 0 means a free one.

    ``/metrics`` is Prometheus's text format; ``/healthz`` answers 200 while the process lives; ``/readyz`` 200 when the
    last cycle was healthy, else 503 with the reason in a line.

    Raises:
        UsageError: the port is in use or may not be used.
    """
    try:
        server = _Server((LOOPBACK, port), _Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"port {port} of {LOOPBACK} cannot serve metrics: {reason}",
            hint="Give another port, or 0 for any free one; see what uses it with `ss -ltnp`.",
        ) from error
    server.set_app(application(observer))
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="es-semantic-health", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def application(observer: PrometheusObserver) -> WSGIApplication:
    """Return the pages as a WSGI application, for whoever has a server already."""
    metrics = make_wsgi_app(observer.registry)

    def pages(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if path not in ("/metrics", "/healthz", "/readyz"):
            return _text(start_response, "404 Not Found", "only /metrics, /healthz and /readyz are here")
        if method not in ("GET", "HEAD"):
            return _text(start_response, "405 Method Not Allowed", "only GET and HEAD", ("Allow", "GET, HEAD"))
        body = metrics({**environ, "REQUEST_METHOD": "GET"}, start_response) if path == "/metrics" else None
        if body is None:
            ok, reason = observer.health if path == "/readyz" else (True, "")
            status = "200 OK" if ok else "503 Service Unavailable"
            body = _text(start_response, status, "ok" if ok else reason or "the last cycle failed")
        return body if method == "GET" else [b""]

    return pages


def _text(start: StartResponse, status: str, line: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    body = f"{line}\n".encode()
    common = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start(status, [*common, ("Cache-Control", "no-store"), *headers])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    # On Windows this would let two programs listen on one port.
    allow_reuse_address = os.name != "nt"

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks DNS for this machine's name and may wait for it.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("a client of the health endpoint went away", exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = SILENCE

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log every scrape."""
