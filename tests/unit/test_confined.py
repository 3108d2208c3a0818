"""A caller's filter is in every search that leaves, and what has no place for it does not leave."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.cluster.steps import Compute, Remember, Request, Spawn, Steps
from es_semantic.errors import Forbidden
from es_semantic.retrieval.confined import confined, confined_body, confined_request

FILTER = {"term": {"tenant": "red"}}
KNN: dict[str, Any] = {"field": "v", "query_vector": [1.0], "k": 1, "num_candidates": 1}


def asked(steps: Steps[Any]) -> list[Any]:
    """Everything that a procedure asks for."""
    return list(steps)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": {"match": {"a": "b"}}},
        {"knn": KNN},
        {"knn": [KNN, {**KNN, "filter": {"term": {"a": 1}}}], "query": {"match_all": {}}},
        {"size": 0, "aggs": {"a": {"terms": {"field": "a"}}}},
        {"query": {"bool": {"should": [{"knn": KNN}], "filter": [{"nested": {"path": "p", "query": {"knn": KNN}}}]}}},
    ],
)
def test_every_search_has_the_filter(body: dict[str, Any]) -> None:
    given_before = orjson.dumps(body)
    found = confined_body(body, [FILTER])
    assert orjson.dumps(body) == given_before
    if "query" in body or "knn" not in body:
        assert found["query"]["bool"]["filter"] == [FILTER]
        assert len(found["query"]["bool"]["must"]) == 1
    for part in found.get("knn", []):
        assert part["filter"][-1] == FILTER
    # Vector searches inside of queries look for enough of their own.
    assert orjson.dumps(found).count(b'"red"') == len(found.get("knn", [])) + ("query" in found) + given_before.count(
        b'{"knn":{"field"'
    ) * ("query" in body)


@pytest.mark.parametrize(
    "body",
    [
        {"suggest": {}},
        {"runtime_mappings": {}},
        {"retriever": {"standard": {}}},
        {"pit": {"id": "x"}},
        {"knn": KNN, "collapse": {"field": "a", "inner_hits": {"name": "b"}}},
        {"aggs": {"a": {"terms": {"field": "x", "min_doc_count": 0}}}},
        {"aggs": {"a": {"global": {}}}},
        {"aggs": {"a": {"terms": {"field": "x"}, "aggregations": {"b": {"aggs": {"c": {"global": {}}}}}}}},
    ],
)
def test_what_looks_beyond_its_query_does_not_leave(body: dict[str, Any]) -> None:
    with pytest.raises(Forbidden, match="cannot be confined"):
        confined_body(body, [FILTER])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/index/_doc/1"),
        ("POST", "/index/_mget"),
        ("POST", "/_bulk"),
        ("POST", "/index/_count"),
        ("POST", "/index/_search/template"),
        ("POST", "/index/_pit"),
        ("POST", "/_sql"),
        ("GET", "/index/_search"),
        ("POST", "/_search"),
        ("GET", "/_cat/indices"),
        ("PUT", "/index/_mapping"),
    ],
)
def test_what_is_no_known_search_does_not_leave(method: str, path: str) -> None:
    with pytest.raises(Forbidden):
        confined_request(Request(method, path), [FILTER])


def test_every_search_of_an_msearch_has_the_filter() -> None:
    parts: list[dict[str, Any]] = [{"index": "a"}, {"query": {"match_all": {}}}, {"index": "b"}, {"knn": KNN}]
    lines = [orjson.dumps(each) for each in parts]
    sent = confined_request(Request("POST", "/_msearch", {}, lines), [FILTER])
    assert isinstance(sent.body, list)
    assert [orjson.loads(line) for line in sent.body[::2]] == [{"index": "a"}, {"index": "b"}]
    assert all(b'"red"' in line for line in sent.body[1::2])
    assert b'"red"' not in b"".join(lines)


def test_what_runs_beside_and_what_is_remembered_is_confined_too() -> None:
    def below() -> Steps[None]:
        yield Request("POST", "/a/_search", {}, {})

    def procedure() -> Steps[None]:
        yield Spawn(below())
        yield Remember("key", 1.0, below)
        yield Compute(lambda: None)

    spawned, remembered, computed = asked(confined(procedure(), [FILTER]))
    for steps in (spawned.steps, remembered.steps()):
        (request,) = asked(steps)
        assert request.body["query"]["bool"]["filter"] == [FILTER]
    assert isinstance(computed, Compute)


def test_without_a_filter_nothing_changes() -> None:
    def procedure() -> Steps[None]:
        yield Request("POST", "/_bulk", {}, [b"{}"])

    assert asked(confined(procedure(), [])) == [Request("POST", "/_bulk", {}, [b"{}"])]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_a_query_is_it_ends_up_below_the_filter(query: Any) -> None:
    found = confined_body({"query": query}, [FILTER])
    assert found["query"]["bool"]["must"] == [query]
    assert found["query"]["bool"]["filter"] == [FILTER]
