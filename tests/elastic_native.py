"""Elastic's native inference for the tests: what it keeps and finds, and a look at what it sends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import numpy as np
import pytest
from elasticsearch import ApiError, Elasticsearch
from numpy.typing import NDArray

Json = dict[str, Any]


class Forwarder(ThreadingHTTPServer):
    """Between Elasticsearch and our server: keeps what is sent, and can refuse what Elasticsearch sends."""

    daemon_threads = True

    def __init__(self, to: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.to = to
        self.bodies: list[Json] = []
        self.agents: list[str] = []
        self.deaf_to_java = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Forwarder

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        agent = self.headers.get("User-Agent", "")
        self.server.bodies.append(json.loads(sent))
        self.server.agents.append(agent)
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        status, body = 403, b'{"error": {"message": "not from here"}}'
        if not (self.server.deaf_to_java and "Java" in agent):
            answer = httpx.post(self.server.to + self.path, content=sent, headers=headers, timeout=60, trust_env=False)
            status, body = answer.status_code, answer.content
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@contextmanager
def forwarding(to: str, port: int = 0) -> Iterator[Forwarder]:
    with Forwarder(to, port) as forwarder:
        threading.Thread(target=forwarder.serve_forever, daemon=True).start()
        yield forwarder
        forwarder.shutdown()


def endpoints(client: Elasticsearch, part: str) -> dict[str, Json]:
    every = client.inference.get()["endpoints"]
    return {each["inference_id"]: each for each in every if part in each["inference_id"]}


def operations(texts: dict[str, str]) -> list[Json]:
    """Return the operations of a bulk request that indexes these texts by their ids."""
    found: list[Json] = []
    for id, text in texts.items():
        found += [{"index": {"_id": id}}, {"body": text}]
    return found


def stored_vectors(client: Elasticsearch, index: str, field: str) -> dict[str, list[tuple[int, int, list[float]]]]:
    """Return the chunks of each document, as start, end and vector, as Elastic has stored them."""
    found = client.search(index=index, size=100, source={"exclude_vectors": False})["hits"]["hits"]
    return {
        hit["_id"]: [
            (chunk["start_offset"], chunk["end_offset"], chunk["embeddings"])
            for chunk in hit["_source"]["_inference_fields"][field]["inference"]["chunks"][field]
        ]
        for hit in found
    }


def cosine(first: Any, second: Any) -> float:
    a: NDArray[np.float64] = np.asarray(first, dtype=np.float64)
    b: NDArray[np.float64] = np.asarray(second, dtype=np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def ids(client: Elasticsearch, index: str, query: Json) -> list[str]:
    return [hit["_id"] for hit in client.search(index=index, query=query, size=10)["hits"]["hits"]]


def refused(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.status_code, str(caught.value.body)
