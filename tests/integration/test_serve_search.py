"""``POST /search`` over real HTTP: both forms, what comes back, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.embedder import TinyEmbedder
from tests.serving import OneModel, Server, prefix, serving

TEXTS = {
    "1": "cancel a subscription in the billing settings",
    "2": "invoices are sent by mail every month",
    "3": "how to reset a forgotten password",
    "4": "delete the account and all of its data",
    "5": "subscription plans and their prices",
}


MODEL = OneModel()


@pytest.fixture(scope="module")
def articles(client: Elasticsearch) -> Iterator[str]:
    with prefix(client) as index:
        client.indices.create(
            index=index, mappings={"properties": {"body": {"type": "text"}, "lang": {"type": "keyword"}}}
        )
        for id, text in TEXTS.items():
            client.index(index=index, id=id, document={"body": text, "lang": "en" if id != "3" else "de"})
        client.indices.refresh(index=index)
        es_semantic.attach(client, index, ["body"], model=TinyEmbedder())
        es_semantic.sync(client, index, model=TinyEmbedder())
        yield index


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, node_url: str) -> Iterator[Server]:
    limits = {"max_size": 20, "max_window": 200}
    with serving(tmp_path_factory.mktemp("server"), node_url, source=MODEL, settings=limits) as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as open_client:
        yield open_client


def found(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_text_is_answered_as_the_python_interface_answers_it(
    http: httpx.Client, client: Elasticsearch, articles: str
) -> None:
    answer = found(http.post("/search", json={"index": articles, "query": "cancel subscription", "passages": 1}))
    same = es_semantic.search(client, articles, "cancel subscription", model=TinyEmbedder(), passages=1)
    assert [(hit["id"], hit["score"]) for hit in answer["hits"]] == [(hit.id, hit.score) for hit in same.hits]
    first = answer["hits"][0]
    assert first["id"] == "1"
    assert set(first["legs"]) == {"bm25", "knn"}
    assert first["legs"]["bm25"] == {"rank": 1, "score": same.hits[0].legs["bm25"].score}
    assert first["passages"][0]["text"] == TEXTS["1"][first["passages"][0]["start"] : first["passages"][0]["end"]]
    assert first["source"] == {"body": TEXTS["1"], "lang": "en"}
    assert answer["timings"]["requests"] >= 2
    assert answer["took_ms"] > 0


def test_a_tree_is_answered_with_totals_and_aggregations(http: httpx.Client, articles: str) -> None:
    tree = {
        "rrf": {
            "retrievers": [
                {"standard": {"query": {"match": {"body": "subscription"}}, "_name": "words"}},
                {
                    "knn": {
                        "field": "semantic.vector",
                        "query_vector_builder": {"text_embedding": {"model_text": "subscription prices"}},
                        "k": 3,
                        "num_candidates": 10,
                        "_name": "meaning",
                    }
                },
            ]
        }
    }
    body = {"index": articles, "retriever": tree, "size": 2, "aggs": {"by": {"terms": {"field": "lang"}}}}
    answer = found(http.post("/search", json={**body, "fields": ["lang"], "track_total_hits": True}))
    assert answer["hits"][0]["id"] == "5"
    assert set(answer["hits"][0]["legs"]) == {"words", "meaning"}
    assert answer["hits"][0]["more"]["fields"] == {"lang": ["en"]}
    assert sum(bucket["doc_count"] for bucket in answer["aggregations"]["by"]["buckets"]) == answer["total"]["value"]


def test_vectors_are_for_admins_alone(tmp_path: Path, node_url: str, articles: str) -> None:
    tree: dict[str, Any] = {"standard": {"query": {"match_all": {}}}}
    body = {
        "index": articles,
        "retriever": tree,
        "_source": {"exclude_vectors": False},
        "fields": ["semantic.vector"],
        "aggs": {"top": {"top_hits": {"fields": ["semantic.*"], "_source": True}}},
    }
    with serving(tmp_path, node_url, source=MODEL) as server:
        with server.client(server.key("search")) as caller:
            told = caller.post("/search", json=body)
        with server.client(server.key("admin")) as admin:
            whole = admin.post("/search", json=body)
    assert found(told)["hits"][0]["source"]["semantic"]["status"] == "ready"
    assert "vector" not in told.text
    assert len(found(whole)["hits"][0]["source"]["semantic"]["vector"]) == 64


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"query": "x"}, 422, "index"),
        ({"query": "x", "index": "IX", "sizes": 3}, 422, "sizes"),
        ({"query": "", "index": "IX"}, 400, "empty"),
        ({"query": "x" * 10_001, "index": "IX"}, 400, "10,000"),
        ({"query": "x", "index": "IX", "size": 21}, 400, "at most 20"),
        ({"query": "x", "index": "IX", "from": 190, "size": 20}, 400, "at most 200"),
        ({"query": "x", "index": "IX", "from": -1}, 422, "from"),
        ({"query": "x", "index": "IX", "rank_window_size": 5000}, 400, "rank_window_size"),
        ({"query": "x", "index": "IX", "ranking": {"method": "linear", "weights": {"bm25": -1}}}, 422, "weights"),
        ({"query": "x", "index": "IX", "ranking": {"method": "rrf", "weights": {"bm25": 0, "knn": 0}}}, 422, "weight"),
        ({"query": "x", "index": "IX", "ranking": {"method": "rrf", "weights": {"none": 1}}}, 422, "none"),
        ({"query": "x", "index": "IX", "filters": [{"query_string": {"query": "a"}}]}, 200, ""),
        ({"query": "x", "index": "IX", "filters": [{"no_such_query": {}}]}, 400, "no_such_query"),
        ({"query": "x", "index": "no-such-index-anywhere"}, 404, "no-such-index-anywhere"),
        ({"query": "x", "index": "../_all"}, 404, "_all"),
        ({"query": "x", "index": "IX", "rerank": "none"}, 404, "none"),
        ({"retriever": {"knn": {"field": "semantic.vector"}}, "index": "IX"}, 400, "knn"),
        (
            {
                "retriever": {
                    "knn": {"field": "semantic.vector", "query_vector": [1.0], "k": 5, "num_candidates": 999}
                },
                "index": "IX",
            },
            400,
            "num_candidates",
        ),
    ],
)
def test_what_is_wrong_is_said(http: httpx.Client, articles: str, body: dict[str, Any], status: int, said: str) -> None:
    sent = {key: articles if value == "IX" else value for key, value in body.items()}
    response = http.post("/search", json=sent)
    assert response.status_code == status, response.text
    assert said in response.text
    if status != 200:
        assert response.json()["request_id"] == response.headers["x-request-id"]


def test_without_the_model_the_answer_goes_on_and_says_so(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch, articles: str
) -> None:
    monkeypatch.setattr(MODEL, "away", True)
    answer = found(http.post("/search", json={"index": articles, "query": "never asked before subscription"}))
    assert answer["hits"]
    assert [each["leg"] for each in answer["degraded"]] == ["knn"]
    strict = {"index": articles, "query": "nor this subscription", "allow_degraded": False}
    refused = http.post("/search", json=strict)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


def test_the_indices_with_semantic_fields_are_listed(http: httpx.Client, articles: str) -> None:
    listed = {each["index"]: each["fields"] for each in http.get("/indices").json()}
    assert listed[articles] == [{"name": "semantic", "source": ["body"], "model": "tiny", "dims": 64, "chunked": False}]


def test_the_page_of_the_api_loads_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs").text
    assert "https://" not in page
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) >= 2
    assert all(http.get(each).status_code == 200 for each in sources if not each.startswith("data:"))
