"""The server with a cluster that is away, a model that is slow or dead, and clients that are gone, huge or many."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.node.health import free_port
from es_semantic.embedding import Embeddings
from tests.embedder import TinyEmbedder
from tests.faults.proxy import BlackHole, FaultProxy, Reset, Rule, TooMany
from tests.faults.workers import wait_until
from tests.serving import OneModel, Server, prefix, serving

COMMAND = (sys.executable, "-c", "from es_semantic.cli import main; main()")

DEADLINE = 1.0
TIMEOUT = 4.0
NEVER = 30.0
"""Seconds in which a test would notice a hang; nothing here is judged by less."""


class Slow(TinyEmbedder):
    """Answers only while its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        self.asked.set()
        self.gate.wait(NEVER)
        return super().embed_queries(texts)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        self.asked.set()
        self.gate.wait(NEVER)
        return super().embed_documents(texts)


MODEL = Slow()
LIMITS = {"deadline": DEADLINE, "timeout": TIMEOUT, "concurrency": 8}


@pytest.fixture(scope="module")
def articles(client: Elasticsearch) -> Iterator[str]:
    with prefix(client) as index:
        client.indices.create(index=index, mappings={"properties": {"body": {"type": "text"}}})
        for number in range(5):
            client.index(index=index, id=str(number), document={"body": f"document number {number}"})
        client.indices.refresh(index=index)
        es_semantic.attach(client, index, ["body"], model=TinyEmbedder())
        es_semantic.sync(client, index, model=TinyEmbedder())
        yield index


@pytest.fixture(scope="module")
def proxy(node_url: str) -> Iterator[FaultProxy]:
    with FaultProxy(node_url) as between:
        yield between


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, proxy: FaultProxy) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, proxy.url, source=OneModel(MODEL), settings=LIMITS) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened
    MODEL.gate.set()


def ask(http: httpx.Client, index: str, query: str, **more: object) -> httpx.Response:
    started = time.monotonic()
    response = http.post("/search", json={"index": index, "query": query, **more})
    assert time.monotonic() - started < NEVER
    return response


@pytest.mark.parametrize("fault", [Reset(), BlackHole(), TooMany()])
def test_a_cluster_that_does_not_answer_is_an_error_in_time(
    http: httpx.Client, proxy: FaultProxy, articles: str, fault: Reset | BlackHole | TooMany
) -> None:
    rule = proxy.add(Rule(fault))
    try:
        response = ask(http, articles, "document")
        assert response.status_code in (502, 503, 504), response.text
        assert response.json()["error"]["what"]
        assert http.get("/readyz").status_code == 503
        assert http.get("/healthz").status_code == 200
    finally:
        proxy.remove(rule)
    assert ask(http, articles, "document").status_code == 200
    assert http.get("/readyz").status_code == 200


def test_a_model_that_is_too_slow_is_left_out_in_time(http: httpx.Client, articles: str) -> None:
    MODEL.gate.clear()
    response = ask(http, articles, "document one, never asked for before")
    assert response.status_code == 200, response.text
    assert response.json()["hits"]
    assert [each["leg"] for each in response.json()["degraded"]] == ["knn"]
    assert ask(http, articles, "document two, nor this", mode="knn").status_code == 503


def test_embeddings_that_take_too_long_time_out(http: httpx.Client) -> None:
    MODEL.gate.clear()
    response = http.post("/v1/embeddings", json={"input": "a text"})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "TimedOut")


def test_more_requests_than_it_takes_are_refused_and_the_rest_answered(http: httpx.Client, server: Server) -> None:
    MODEL.asked.clear()
    MODEL.gate.clear()
    with ThreadPoolExecutor(24) as threads:
        asked = [threads.submit(httpx.post, f"{server.url}/v1/embeddings", json={"input": "x"}) for _ in range(24)]
        assert MODEL.asked.wait(NEVER)
        wait_until(lambda: sum(each.done() for each in asked) >= 16)
        # Whoever watches is answered all the same.
        assert http.get("/healthz").status_code == 200
        MODEL.gate.set()
        answers = [each.result() for each in asked]
    statuses = [each.status_code for each in answers]
    assert sorted(set(statuses)) == [200, 429]
    assert statuses.count(200) == LIMITS["concurrency"]
    assert {each.headers["retry-after"] for each in answers if each.status_code == 429} == {"1"}


def test_the_work_for_a_client_that_is_gone_is_stopped(http: httpx.Client, server: Server) -> None:
    MODEL.asked.clear()
    MODEL.gate.clear()
    body = json.dumps({"input": "somebody who leaves"}).encode()
    lines = ["POST /v1/embeddings HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as leaving:
        leaving.sendall(head.encode() + body)
        assert MODEL.asked.wait(NEVER)
    name = 'es_semantic_http_requests_total{method="POST",route="/v1/embeddings",status="499"}'
    wait_until(lambda: name in http.get("/metrics").text, NEVER)
    MODEL.gate.set()
    assert http.post("/v1/embeddings", json={"input": "somebody who stays"}).status_code == 200


@pytest.mark.parametrize("announced", [True, False])
def test_a_huge_body_is_refused_before_it_is_read(http: httpx.Client, announced: bool) -> None:
    part = b"x" * 1_000_000

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield part

    headers = {"content-type": "application/json", **({"content-length": str(100 * len(part))} if announced else {})}
    try:
        response = http.post("/search", content=parts(), headers=headers)
    except httpx.TransportError:
        # It hung up while we were still sending, as it may.
        assert http.get("/healthz").status_code == 200
        return
    assert (response.status_code, response.json()["error"]["type"]) == (413, "TooLarge")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"index": "a", "query": "\\ud800"}', b"[" * 100_000]
)
def test_bodies_that_are_no_json_are_told(http: httpx.Client, body: bytes) -> None:
    for path in ("/search", "/api/v1/retrieval", "/dify/retrieval", "/v1/embeddings", "/v1/rerank"):
        response = http.post(path, content=body, headers={"content-type": "application/json"})
        assert response.status_code in (200, 400, 404, 422), (path, response.text)
        if response.status_code == 200:
            assert response.json()["code"] == 102


def test_another_host_and_another_kind_of_body_are_refused(http: httpx.Client, articles: str) -> None:
    body = {"index": articles, "query": "document"}
    assert http.post("/search", json=body, headers={"host": "evil.example"}).status_code == 400
    assert http.post("/search", json=body, headers={"host": "127.0.0.1.evil.example"}).status_code == 400
    plain = http.post("/search", content=json.dumps(body), headers={"content-type": "text/plain"})
    assert plain.status_code == 422
    other = http.options("/search", headers={"origin": "http://x", "access-control-request-method": "POST"})
    assert "access-control-allow-origin" not in other.headers


def test_request_ids_are_kept_or_made(http: httpx.Client) -> None:
    assert http.get("/healthz", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    made = http.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"]
    assert len(made) == 32


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, node_url: str, number: signal.Signals) -> None:
    port = free_port()
    environment = {**os.environ, "ES_SEMANTIC_KEYS": str(tmp_path / "keys.json")}
    command = [*COMMAND, "--url", node_url, "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: _answers(port), 120)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, told
    assert f"http://127.0.0.1:{port}" in told
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert any(line.get("route") == "/v1/models" for line in lines)


def test_a_port_in_use_is_told(tmp_path: Path, node_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [*COMMAND, "--url", node_url, "serve", "--port", port]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}" in ended.stderr


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
