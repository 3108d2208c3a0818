"""A server of models that breaks what a test tells it to break: embeddings in OpenAI's shape, reranking in TEI's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from es_semantic.config import OpenAIModel, TeiSettings
from tests.embedder import TinyEmbedder


class ModelServer(ThreadingHTTPServer):
    """``fault`` is None or one of these.

    ``refuse`` (503), ``reject`` (400), ``hang`` (no answer until ``released``), ``few`` (a score is missing).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault: str | None = None
        self.released = threading.Event()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def embedding(self) -> OpenAIModel:
        return OpenAIModel(provider="openai", name="tiny", url=f"{self.url}/v1", timeout=5, max_retries=0)

    @property
    def reranking(self) -> TeiSettings:
        return TeiSettings(provider="tei", url=self.url, timeout=5, max_retries=0)


def score(query: str, text: str) -> float:
    """The share of the query's words that the text has: what the reranker says."""
    words = query.split()
    return sum(word in text.split() for word in words) / len(words)


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(self.path)
        if self.server.fault == "hang":
            self.server.released.wait(30)
        if self.server.fault == "refuse":
            self._answer(503, {"error": "overloaded"})
        elif self.server.fault == "reject":
            self._answer(400, {"error": {"message": "input is too long"}})
        elif self.path.endswith("/embeddings"):
            vectors = [TinyEmbedder().vector(text).tolist() for text in body["input"]]
            self._answer(200, {"data": [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]})
        else:
            rows = [{"index": at, "score": score(body["query"], text)} for at, text in enumerate(body["texts"])]
            self._answer(200, rows[1:] if self.server.fault == "few" else rows)

    def _answer(self, status: int, body: Any) -> None:
        content = orjson.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """A server that answers while the block runs; what hangs is let go at the end."""
    with ModelServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
