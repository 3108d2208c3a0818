"""A node of our own with a trial licence, on which licensed retrievers run, and reranking services that it calls.

The pinned distribution has ``text_similarity_reranker``, ``rescorer`` and ``diversify``, not ``rrf`` and ``linear``.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest
from elasticsearch import Elasticsearch

from es_semantic.cluster import node
from es_semantic.cluster.node.health import free_port
from es_semantic.config import NodeSettings

Scores = Callable[[str, list[str]], list[float]]
"""From a query and documents to a score for each document."""


@pytest.fixture(scope="session")
def native_node() -> Iterator[Elasticsearch]:
    """A client of an open node with a trial licence; nobody else uses that node."""
    # Not tmp_path: pytest closes it to other users, and a node started by root runs as another one.
    home = Path(tempfile.mkdtemp(prefix="es-semantic-test-node-"))
    home.chmod(0o755)
    try:
        url = node.up(NodeSettings(port=free_port(), heap="512m"), home=home).url
        with Elasticsearch(url, request_timeout=60) as client:
            client.license.post_start_trial(acknowledge=True)
            yield client
    finally:
        node.down(home=home)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def rerank_endpoint(client: Elasticsearch, inference_id: str, scores: Scores) -> Iterator[str]:
    """Create an inference endpoint whose service is a server here that scores by this function, and yield its id."""
    with _Service(scores) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        try:
            client.inference.put(task_type="rerank", inference_id=inference_id, inference_config=service.config)
            yield inference_id
        finally:
            client.options(ignore_status=404).inference.delete(
                task_type="rerank", inference_id=inference_id, force=True
            )
            service.shutdown()


class _Service(ThreadingHTTPServer):
    """Answers in Cohere's shape, and like Cohere best first."""

    def __init__(self, scores: Scores) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scores = scores

    @property
    def config(self) -> dict[str, object]:
        """The endpoint's settings (Elastic docs, "Create a custom inference endpoint")."""
        results = {"reranked_index": "$.results[*].index", "relevance_score": "$.results[*].relevance_score"}
        settings = {
            "url": f"http://127.0.0.1:{self.server_port}/rerank",
            "headers": {"Content-Type": "application/json"},
            "request": '{"query": ${query}, "documents": ${input}}',
            "response": {"json_parser": results},
            "secret_parameters": {"api_key": "none"},
        }
        return {"service": "custom", "service_settings": settings}


class _Handler(BaseHTTPRequestHandler):
    server: _Service

    def do_POST(self) -> None:
        asked = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = enumerate(self.server.scores(asked["query"], asked["documents"]))
        results = [{"index": i, "relevance_score": score} for i, score in sorted(found, key=lambda each: -each[1])]
        body = orjson.dumps({"results": results})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""
