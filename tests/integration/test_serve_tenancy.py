"""Nothing in a request widens what a tenant sees: not its tree, filters, aggregations, or what it shows of hits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chunking_index import fill
from tests.serving import prefix, serving

TENANTS = ("red", "blue")


@pytest.fixture(scope="module")
def index(client: Elasticsearch) -> Iterator[str]:
    with prefix(client) as name:
        fill(client, name, tenants=TENANTS)
        yield name


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory, node_url: str, index: str) -> Iterator[httpx.Client]:
    with serving(tmp_path_factory.mktemp("server"), node_url) as server:
        token = server.key("search", indices=(index,), filters=[{"term": {"metadata.tenant": "red"}}])
        with server.client(token) as http:
            yield http


QUERIES = [
    {"match_all": {}},
    {"match": {"content": "vacation employee"}},
    {"term": {"metadata.tenant": "blue"}},
    {"bool": {"should": [{"term": {"metadata.tenant": "blue"}}, {"match_all": {}}], "minimum_should_match": 0}},
    {"bool": {"must_not": [{"term": {"metadata.tenant": "red"}}]}},
    {"ids": {"values": ["blue/handbook-vacation.md/0", "blue/recipes-soup.txt/0"]}},
    {"constant_score": {"filter": {"exists": {"field": "metadata.tenant"}}}},
    {"dis_max": {"queries": [{"match_all": {}}, {"term": {"metadata.tenant": "blue"}}]}},
    {"function_score": {"query": {"match_all": {}}, "random_score": {}}},
    {"simple_query_string": {"query": "vacation | blue", "fields": ["*"]}},
    {"wildcard": {"metadata.tenant": {"value": "*"}}},
    {"knn": {"field": "semantic.vector", "query_vector": [0.125] * 64, "k": 10, "num_candidates": 50}},
]
FORBIDDEN = [
    {"query_string": {"query": "*"}},
    {"script_score": {"query": {"match_all": {}}, "script": {"source": "1"}}},
    {"script": {"script": {"source": "true"}}},
    {"terms": {"content": {"index": "INDEX", "id": "blue/handbook-vacation.md/0", "path": "content"}}},
    {"more_like_this": {"fields": ["content"], "like": [{"_id": "blue/handbook-vacation.md/0"}]}},
    {"wrapper": {"query": "eyJtYXRjaF9hbGwiOnt9fQ=="}},
    {"has_child": {"type": "x", "query": {"match_all": {}}}},
    {"percolate": {"field": "q", "index": "INDEX", "id": "1"}},
    {"geo_shape": {"place": {"indexed_shape": {"index": "INDEX", "id": "1", "path": "x"}}}},
    {"pinned": {"ids": ["blue/handbook-vacation.md/0"], "organic": {"match_all": {}}}},
]

queries = st.sampled_from(QUERIES)
filters = st.lists(queries, max_size=2)
leaves = st.one_of(
    st.builds(lambda query, filter: {"standard": {"query": query, "filter": filter}}, queries, filters),
    st.builds(
        lambda filter, k: {
            "knn": {
                "field": "semantic.vector",
                "query_vector": [0.125] * 64,
                "k": k,
                "num_candidates": 50,
                **({"filter": filter} if filter else {}),
            }
        },
        filters,
        st.integers(1, 20),
    ),
)


def compound(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(children, min_size=2, max_size=3)
    return st.one_of(
        st.builds(
            lambda below, extra: {"rrf": {"retrievers": below, "filter": extra, "rank_window_size": 50}},
            several,
            filters,
        ),
        st.builds(lambda below: {"auto": {"retrievers": below, "rank_window_size": 50}}, several),
        st.builds(
            lambda below: {"linear": {"retrievers": [{"retriever": each} for each in below], "rank_window_size": 50}},
            several,
        ),
        st.builds(
            lambda below: {
                "pinned": {
                    "ids": ["blue/handbook-vacation.md/0", "red/handbook-vacation.md/0"],
                    "retriever": below,
                    "rank_window_size": 50,
                }
            },
            children,
        ),
        st.builds(
            lambda below, query: {
                "rescorer": {
                    "retriever": below,
                    "rescore": {"window_size": 50, "query": {"rescore_query": query}},
                }
            },
            leaves,
            queries,
        ),
    )


trees = st.recursive(leaves, compound, max_leaves=4)
extras = st.fixed_dictionaries(
    {},
    optional={
        "aggs": st.sampled_from(
            [
                {"by": {"terms": {"field": "metadata.tenant"}}},
                {"by": {"filter": {"match_all": {}}, "aggs": {"hits": {"top_hits": {"size": 50}}}}},
                {
                    "by": {
                        "filters": {"filters": {"all": {"match_all": {}}}},
                        "aggs": {"t": {"terms": {"field": "metadata.tenant"}}},
                    }
                },
            ]
        ),
        "collapse": st.just({"field": "document_id", "inner_hits": {"name": "more", "size": 20}}),
        "post_filter": queries,
        "highlight": st.just({"fields": {"content": {"highlight_query": {"match_all": {}}}}}),
        "fields": st.just(["*"]),
        "track_total_hits": st.just(True),
    },
)


@settings(max_examples=60, deadline=None)
@given(tree=trees, more=extras)
def test_nothing_in_a_request_widens_what_a_tenant_sees(
    red: httpx.Client, index: str, tree: dict[str, Any], more: dict[str, Any]
) -> None:
    response = red.post("/search", json={"index": index, "retriever": tree, "size": 50, **more})
    # Some combinations are refused, as Elasticsearch does; none may fail otherwise, and none may show more.
    assert response.status_code in (200, 400, 403), response.text
    assert "blue" not in response.text.replace(json.dumps(tree), "")
    if response.status_code == 200:
        for hit in response.json()["hits"]:
            assert hit["source"]["metadata"]["tenant"] == "red"


@pytest.mark.parametrize("query", FORBIDDEN, ids=lambda query: next(iter(query)))
@pytest.mark.parametrize("where", ["query", "filter", "rescore", "highlight", "aggs", "post_filter", "short form"])
def test_what_could_look_beyond_is_refused(red: httpx.Client, index: str, query: dict[str, Any], where: str) -> None:
    said = json.loads(json.dumps(query).replace("INDEX", index))
    everything: dict[str, Any] = {"standard": {"query": {"match_all": {}}}}
    nested = {"bool": {"should": [{"nested": {"path": "x", "query": {"bool": {"must": [said]}}}}]}}
    body: dict[str, Any] = {"index": index}
    match where:
        case "query":
            body["retriever"] = {"rrf": {"retrievers": [{"standard": {"query": nested}}, everything]}}
        case "filter":
            body["retriever"] = {"standard": {"query": {"match_all": {}}, "filter": said}}
        case "rescore":
            rescore = {"window_size": 10, "query": {"rescore_query": said}}
            body["retriever"] = {"rescorer": {"retriever": everything, "rescore": rescore}}
        case "highlight":
            body |= {"retriever": everything, "highlight": {"fields": {"content": {"highlight_query": said}}}}
        case "aggs":
            body |= {
                "retriever": everything,
                "aggs": {"a": {"filter": {"match_all": {}}, "aggs": {"b": {"filter": said}}}},
            }
        case "post_filter":
            body |= {"retriever": everything, "post_filter": said}
        case "short form":
            body |= {"query": "vacation", "filters": [said]}
    response = red.post("/search", json=body)
    assert response.status_code == 400, response.text
    assert "blue" not in response.text.lower().replace("blue/handbook", "")


@pytest.mark.parametrize(
    "more",
    [
        {"aggs": {"all": {"global": {}}}},
        {"aggs": {"x": {"terms": {"field": "a"}, "aggs": {"y": {"global": {}}}}}},
        {"aggs": {"s": {"significant_terms": {"field": "metadata.tenant"}}}},
        {"aggs": {"m": {"scripted_metric": {"map_script": "1", "combine_script": "1", "reduce_script": "1"}}}},
        {"aggs": {"t": {"terms": {"script": {"source": "doc['metadata.tenant'].value"}}}}},
        {
            "aggs": {
                "w": {"terms": {"field": "a", "order": {"_key": "asc"}}, "aggs": {"k": {"children": {"type": "x"}}}}
            }
        },
    ],
)
def test_aggregations_that_look_beyond_are_refused(red: httpx.Client, index: str, more: dict[str, Any]) -> None:
    body = {"index": index, "retriever": {"standard": {"query": {"match_all": {}}}}, **more}
    assert red.post("/search", json=body).status_code == 400
    for key in ("suggest", "runtime_mappings", "script_fields", "sort", "rescore", "knn", "ext", "stored_fields"):
        assert red.post("/search", json={**body, "aggs": {}, key: {}}).status_code == 422


VECTOR = {"field": "semantic.vector", "query_vector": [0.125] * 64, "k": 20, "num_candidates": 50}
GROUPED = {"field": "dataset_id", "inner_hits": {"name": "others", "size": 50}}


@pytest.mark.parametrize(
    "body",
    [
        # Elasticsearch looks for the hits of a group by the query, and here there is none.
        {"retriever": {"knn": VECTOR}, "collapse": GROUPED},
        {"retriever": {"knn": {**VECTOR, "filter": {"match_all": {}}}}, "collapse": GROUPED},
        {"retriever": {"standard": {"query": {"match_all": {}}}}, "collapse": GROUPED},
        {"retriever": {"standard": {"query": {"knn": VECTOR}}}, "collapse": GROUPED},
        {"retriever": {"rrf": {"retrievers": [{"knn": VECTOR}, {"standard": {}}]}}, "collapse": GROUPED},
        *(
            {
                "retriever": {"standard": {"query": {"match_all": {}}}},
                "aggs": {"a": {"filter": {"match_all": {}}, "aggs": {"b": {kind: {**of, "min_doc_count": least}}}}},
            }
            for kind, of in (
                ("terms", {"field": "metadata.tenant"}),
                ("multi_terms", {"terms": [{"field": "metadata.tenant"}, {"field": "dataset_id"}]}),
            )
            for least in (0, "0", 0.5, False, None, -1)
        ),
    ],
)
def test_groups_and_terms_of_others_do_not_come_back(red: httpx.Client, index: str, body: dict[str, Any]) -> None:
    response = red.post("/search", json={"index": index, "size": 20, **body})
    assert response.status_code in (200, 400, 403), response.text
    assert "blue" not in response.text


@pytest.mark.parametrize(
    "body",
    [
        {"query": "x", "fields": ["\ud800"]},
        {"query": "x", "filters": [{"term": {"a": "\ud800"}}]},
        {"query": "x", "filters": [{"term": {"a": 2**70}}]},
        {"query": "x", "rerank": "an-endpoint-of-the-cluster"},
        {"retriever": {"standard": {}}, "aggs": {"a": {"terms": {"field": "\ud800"}}}},
        {"retriever": {"standard": {}}, "aggs": {"a": {"filters": {"filters": 5}}}},
        {
            "retriever": {"rrf": {"retrievers": [{"standard": {}}, {"standard": {}}]}},
            "post_filter": {"term": {"a": 2**70}},
        },
        {
            "retriever": {
                "text_similarity_reranker": {
                    "retriever": {"standard": {}},
                    "field": "content",
                    "inference_text": "x",
                    "inference_id": "an-endpoint-of-the-cluster",
                }
            }
        },
    ],
)
def test_what_cannot_be_sent_is_the_callers_mistake(red: httpx.Client, index: str, body: dict[str, Any]) -> None:
    sent = json.dumps({"index": index, **body})
    response = red.post("/search", content=sent, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text


def test_deeply_nested_bodies_are_the_callers_mistake(red: httpx.Client, index: str) -> None:
    aggs: dict[str, Any] = {"terms": {"field": "a"}}
    for _ in range(300):
        aggs = {"terms": {"field": "a"}, "aggs": {"b": aggs}}
    body = {"index": index, "retriever": {"standard": {}}, "aggs": {"a": aggs}}
    assert red.post("/search", json=body).status_code in (400, 422)
