"""Fuzzing from the server's own OpenAPI document: whatever is sent, nothing is answered with a server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error

from tests.serving import Server, serving_chunks


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, node_url: str, client: Elasticsearch) -> Iterator[Server]:
    with serving_chunks(tmp_path_factory.mktemp("server"), node_url, client) as running:
        yield running


OPERATIONS = [
    "POST /search",
    "POST /api/v1/retrieval",
    "GET /api/v1/datasets",
    "POST /api/v1/datasets/{dataset_id}/documents",
    "POST /dify/retrieval",
    "POST /v1/embeddings",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "POST /v1/rerank",
    "POST /rerank",
    "GET /indices",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_a_server_error(server: Server, operation: str) -> None:
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    method, path = operation.split(" ")

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=document[path][method].as_strategy())
    def fuzz(case: Any) -> None:
        case.call_and_validate(checks=[not_a_server_error], timeout=60)

    fuzz()


def test_the_document_describes_every_answer(server: Server) -> None:
    with server.client() as http:
        paths = http.get("/openapi.json").json()["paths"]
    assert {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} == set(OPERATIONS)
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert operation.get("description"), (method, path)
            assert "200" in operation["responses"]
