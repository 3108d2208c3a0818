"""Rerankers behind HTTP for tests: settings, golden answers, and a real server on this machine that injects faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from es_semantic.config import CohereSettings, TeiSettings

KEY = "sk-rerank-Zq8+only/for=tests"
COHERE = CohereSettings(provider="cohere", name="rerank-v3.5", api_key=SecretStr(KEY), max_retries=0)
TEI = TeiSettings(provider="tei", url="http://tei.test:8080", max_retries=0)

QUERY = "What is the capital of the United States?"
TEXTS = ["Carson City is the capital of Nevada.", "Washington, D.C. is the capital.", "Capital punishment exists."]

Answer = Callable[["Handler"], None]


def cohere_answer(results: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Cohere's API reference, "Rerank", v2: (index, relevance_score) in the order of the scores."""
    return {
        "id": "07734bd2-2473-4f07-94e1-0d9f0e6843cf",
        "results": [{"index": index, "relevance_score": score} for index, score in results],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }


def tei_answer(results: Sequence[tuple[Any, Any]]) -> list[dict[str, Any]]:
    return [{"index": index, "score": score} for index, score in results]


class Handler(BaseHTTPRequestHandler):
    """Reads one request and gives it to the next answer of the script."""

    server: Scripted

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.next_answer(body)(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is its own."""

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Scripted(ThreadingHTTPServer):
    """Gives the scripted answers in turn, the last one for ever, and keeps what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[Any] = []
        self.released = threading.Event()
        self._answers = list(answers)
        self._turn = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v2"

    def next_answer(self, body: Any) -> Answer:
        with self._turn:
            self.bodies.append(body)
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the client hangs up on purpose."""


@contextmanager
def serving(*answers: Answer) -> Iterator[Scripted]:
    """Run a server until the end of the block, then release every answer that still waits."""
    with Scripted(answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def saying(content: Any, *, status: int = 200, **headers: str) -> Answer:
    """An answer with this JSON, or with this text or these bytes as they are; ``retry_after`` is Retry-After."""
    raw = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else None
    shown = raw if raw is not None else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.send(status, shown, named)


def slowly(content: Any) -> Answer:
    """An answer that takes a tenth of a second."""

    def answer(handler: Handler) -> None:
        handler.server.released.wait(0.1)
        saying(content)(handler)

    return answer


def hanging(handler: Handler) -> None:
    """Not an answer before the test is over."""
    handler.server.released.wait()


def dripping(handler: Handler) -> None:
    """The beginning of an answer, byte by byte, so that no single read takes long."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not handler.server.released.wait(0.02):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def hanging_up(handler: Handler) -> None:
    """No answer: the connection is closed."""
    handler.close_connection = True
