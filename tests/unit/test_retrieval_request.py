"""Reading the arguments of ``client.search``."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.errors import InvalidQuery, InvalidRetriever
from es_semantic.retrieval.native import unheeded
from es_semantic.retrieval.page import Page
from es_semantic.retrieval.request import read_request
from es_semantic.retrieval.tree.parse import parse

Json = dict[str, Any]

TREE: Json = {"rrf": {"retrievers": [{"standard": {"query": {"match_all": {}}}}], "rank_window_size": 50}}


def page(**arguments: Any) -> Page:
    return read_request("index", {"retriever": TREE, **arguments}).page


def test_arguments_have_the_client_s_names() -> None:
    query = read_request(
        ["a", "b-*"],
        {
            **{"retriever": TREE, "from_": 5, "size": 10, "explain": True, "source": ["title"], "fields": ["n"]},
            **{"routing": ["x", "y"], "ignore_unavailable": True, "expand_wildcards": ["open", "hidden"]},
            **{"aggregations": {"n": {}}, "pretty": True, "batched_reduce_size": 5, "highlight": None},
        },
    )
    assert query.index == "a,b-*"
    assert query.page == Page(10, 5, {"_source": ["title"], "fields": ["n"], "aggs": {"n": {}}}, True)
    assert query.params == {"routing": "x,y", "ignore_unavailable": "true", "expand_wildcards": "open,hidden"}


def test_a_body_holds_what_is_not_an_argument() -> None:
    body = {"size": 3, "from": 2, "_source": False, "aggregations": {"n": {}}, "explain": True}
    assert page(body=body) == Page(3, 2, {"_source": False, "aggs": {"n": {}}}, True)
    assert page(body=body, size=7).size == 7
    assert read_request("index", {"body": {"retriever": TREE}}).root == parse(TREE)
    assert body["size"] == 3


@pytest.mark.parametrize(
    ("arguments", "source"),
    [
        ({"source_includes": ["a", "b"]}, {"includes": ["a", "b"]}),
        ({"source_includes": "a,b", "source_excludes": "c"}, {"includes": ["a", "b"], "excludes": ["c"]}),
        ({"source_exclude_vectors": False}, {"exclude_vectors": False}),
        ({"source": {"includes": ["a"]}, "source_exclude_vectors": True}, {"includes": ["a"], "exclude_vectors": True}),
        ({"source": False}, False),
        ({"source": True, "source_excludes": ["c"]}, {"excludes": ["c"]}),
    ],
)
def test_which_parts_of_documents(arguments: Json, source: Any) -> None:
    assert page(**arguments).body["_source"] == source


def test_unknown_arguments_are_named() -> None:
    with pytest.raises(InvalidQuery, match="cannot search with pit, profile and a retriever here"):
        page(profile=True, pit={"id": "x"})
    with pytest.raises(InvalidQuery, match="there is no"):
        read_request("index", {"size": 1})


def test_scripts_are_found_in_the_whole_request() -> None:
    script = {"script": {"script": "true"}}
    by_script = {"_script": {"script": "1", "type": "number"}}
    for name, value in (
        ("post_filter", script),
        ("aggs", {"n": {"max": {"script": "1"}}}),
        ("collapse", {"field": "n", "inner_hits": {"name": "x", "sort": [by_script]}}),
        ("runtime_mappings", {"n": {"type": "long", "script": "emit(1)"}}),
        ("highlight", {"fields": {"n": {"highlight_query": script}}}),
    ):
        assert page(**{name: value}).body[name] == value
        with pytest.raises(InvalidRetriever, match="cannot execute") as caught:
            read_request("index", {"retriever": TREE, name: value}, allow_scripts=False)
        assert caught.value.path.startswith(name)


@pytest.mark.parametrize(
    ("tree", "is_unheeded"),
    [
        ({"standard": {"min_score": 1, "filter": {"match_all": {}}}}, False),
        ({"rrf": {"retrievers": [{"standard": {}}], "min_score": 1, "filter": {"match_all": {}}}}, False),
        ({"rrf": {"retrievers": [{"knn": {"field": "v", "query_vector": [1], "k": 1, "num_candidates": 1}}]}}, False),
        ({"knn": {"field": "v", "query_vector": [1], "k": 1, "num_candidates": 1, "min_score": 0}}, True),
        (
            {
                "rescorer": {
                    "retriever": {"standard": {}},
                    "rescore": {"query": {"rescore_query": {"match_all": {}}}},
                    "min_score": 1,
                }
            },
            True,
        ),
        (
            {
                "diversify": {
                    "retriever": {"standard": {}},
                    "type": "mmr",
                    "field": "v",
                    "lambda": 1,
                    "filter": {"match_all": {}},
                }
            },
            True,
        ),
    ],
)
def test_what_elasticsearch_does_not_heed(tree: Json, is_unheeded: bool) -> None:
    assert unheeded(parse(tree)) is is_unheeded
