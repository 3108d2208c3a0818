"""What Elasticsearch's own licensed retrievers do where its documentation does not say: docs/elasticsearch-facts.md."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import ApiError, BadRequestError, Elasticsearch

from tests.native_node import Scores, native_node, rerank_endpoint

__all__ = ["native_node"]

# One is without the field that is reranked.
TITLES = {"0": "a", "1": "aa", "2": "aaa", "3": None, "4": "aaaaa", "5": "aaaaaa"}
MATCH_ALL: dict[str, Any] = {"standard": {"query": {"match_all": {}}}}


def by_length(_: str, documents: list[str]) -> list[float]:
    """From 2 downwards, negative from the third letter on."""
    return [2.5 - len(document) for document in documents]


@pytest.fixture(scope="module", params=[1, 3], ids=["one-shard", "three-shards"])
def index(native_node: Elasticsearch, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    native_node.indices.create(
        index=name,
        mappings={"properties": {"title": {"type": "text"}, "n": {"type": "integer"}}},
        settings={"number_of_shards": request.param},
    )
    for doc_id, title in TITLES.items():
        native_node.index(index=name, id=doc_id, document={"n": int(doc_id)} | ({"title": title} if title else {}))
    native_node.indices.refresh(index=name)
    yield name
    native_node.indices.delete(index=name)


def rerank(client: Elasticsearch, index: str, scores: Scores, *, size: int = 10, **more: Any) -> dict[str, float]:
    """Return the score by id in the order of hits."""
    with rerank_endpoint(client, "test", scores) as inference_id:
        tree = {"retriever": MATCH_ALL, "field": "title", "inference_id": inference_id, "inference_text": "q", **more}
        found = client.search(index=index, retriever={"text_similarity_reranker": tree}, size=size)
    return {hit["_id"]: hit["_score"] for hit in found["hits"]["hits"]}


def test_negative_scores_become_small_ones_and_documents_without_the_field_go(
    native_node: Elasticsearch, index: str
) -> None:
    expected = {doc_id: 2.5 - len(title) for doc_id, title in TITLES.items() if title}
    shown = {doc_id: score + 1 if score >= 0 else math.exp(score) for doc_id, score in expected.items()}
    found = rerank(native_node, index, by_length)
    assert list(found) == ["0", "1", "2", "4", "5"]
    assert found == pytest.approx(shown, rel=1e-6)


@pytest.mark.parametrize(("min_score", "ids"), [(0.5, "01"), (0.6, "0"), (0.0, "01"), (-0.5, "012"), (-9.0, "01245")])
def test_min_score_is_compared_with_what_the_service_said(
    native_node: Elasticsearch, index: str, min_score: float, ids: str
) -> None:
    assert list(rerank(native_node, index, by_length, min_score=min_score)) == list(ids)


def test_equal_scores_come_by_shard_and_in_it_by_document_whatever_their_order_before(
    native_node: Elasticsearch, index: str
) -> None:
    backwards = {"standard": {"query": {"function_score": {"field_value_factor": {"field": "n"}}}}}
    before = [hit["_id"] for hit in native_node.search(index=index, retriever=backwards)["hits"]["hits"]]
    assert before == list("543210")
    by_place = native_node.search(index=index, sort=["_shard_doc"], query={"exists": {"field": "title"}})
    found = rerank(native_node, index, lambda _, documents: [0.5] * len(documents), retriever=backwards)
    assert list(found) == [hit["_id"] for hit in by_place["hits"]["hits"]]


def test_scores_are_compared_as_shown(native_node: Elasticsearch, index: str) -> None:
    """As 32-bit numbers, 1 and a little more are one."""
    found = rerank(native_node, index, lambda _, documents: [1e-9 * len(document) for document in documents])
    assert set(found.values()) == {1.0}
    by_place = native_node.search(index=index, sort=["_shard_doc"], query={"exists": {"field": "title"}})
    assert list(found) == [hit["_id"] for hit in by_place["hits"]["hits"]]


def test_where_the_service_fails_documents_keep_their_order_if_that_is_allowed(
    native_node: Elasticsearch, index: str
) -> None:
    backwards = {"standard": {"query": {"function_score": {"field_value_factor": {"field": "n"}}}}}
    missing = {"retriever": backwards, "field": "title", "inference_id": "missing", "inference_text": "q"}
    with pytest.raises(ApiError) as caught:
        native_node.search(index=index, retriever={"text_similarity_reranker": missing})
    assert caught.value.status_code == 404
    allowed = {"text_similarity_reranker": {**missing, "allow_rerank_failures": True}}
    hits = native_node.search(index=index, retriever=allowed)["hits"]["hits"]
    assert [hit["_id"] for hit in hits] == list("543210")
    assert [hit["_score"] for hit in hits] == pytest.approx([1 / rank for rank in range(1, 7)])


def test_a_window_smaller_than_the_page_is_refused(native_node: Elasticsearch, index: str) -> None:
    with pytest.raises(
        BadRequestError, match=r"requires \[rank_window_size: 3\] be greater than or equal to \[size: 5\]"
    ):
        rerank(native_node, index, by_length, rank_window_size=3, size=5)
    assert len(rerank(native_node, index, by_length, rank_window_size=3, size=3)) == 3
