"""Dify's call for external knowledge: cases as JSON, written from Dify's documentation ("External Knowledge API")."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from tests.serving import Server, serving_chunks

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("dify.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, node_url: str, client: Elasticsearch) -> Iterator[Server]:
    with serving_chunks(tmp_path_factory.mktemp("server"), node_url, client) as running:
        running.key("admin")
        yield running


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return server.key("search")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_dify(server: Server, token: str, case: dict[str, Any]) -> None:
    authorization = case.get("authorization", f"Bearer {token}")
    headers = {} if authorization is None else {"Authorization": authorization}
    with server.client() as http:
        response = http.post("/dify/retrieval", json=case["request"], headers=headers)
    assert response.status_code == case["status"], response.text
    answer = response.json()
    if case["status"] != 200:
        assert answer["error_code"] == case["error_code"]
        assert answer["error_msg"]
        return
    records = answer["records"]
    for record in records:
        assert set(record) == {"content", "score", "title", "metadata"}
        assert isinstance(record["metadata"], dict)
        assert 0 <= record["score"] <= 1
    scores = [record["score"] for record in records]
    assert scores == sorted(scores, reverse=True)
    assert len(records) == case.get("records", len(records))
    if "titles" in case:
        assert sorted(record["title"] for record in records) == case["titles"]
    if "first" in case:
        assert {name: records[0][name] for name in case["first"]} == case["first"]
