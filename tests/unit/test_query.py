"""What may be searched for, and the request bodies that come of it."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.legs import bm25_body, knn_body, msearch_request, page_request
from es_semantic.retrieval.query import filter_clauses, require_mode, require_query, require_size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "\x00\x01\x1f",
        "\u200b\u200e",
        "\u00a0\u3000",
        "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "ignore"),
    ],
)
def test_a_query_without_anything_printable_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="empty"):
        require_query(text)


def test_a_query_of_ten_megabytes_is_refused_with_its_size() -> None:
    with pytest.raises(InvalidQuery, match="10,485,760 characters"):
        require_query("x" * (10 * 1024 * 1024))


def test_control_characters_become_spaces() -> None:
    assert require_query(" a\x00b\nc\u2028d ") == "a b c d"


def test_signs_and_emoji_are_queries() -> None:
    assert require_query("C++") == "C++"
    assert require_query("🦆") == "🦆"
    assert require_query("?") == "?"


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert require_query("a\ud800b") == "a?b"


@pytest.mark.parametrize("size", [0, -1, 10_001])
def test_size_has_limits(size: int) -> None:
    with pytest.raises(InvalidQuery, match="between 1 and 10,000"):
        require_size(size)


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidQuery, match="hybrid, knn, bm25"):
        require_mode("sparse")


@pytest.mark.parametrize("wrong", [[{}], [{"term": {}, "range": {}}], ["kind=function"]])
def test_a_filter_is_one_query_clause(wrong: list[dict[str, object]]) -> None:
    with pytest.raises(InvalidQuery, match="one Elasticsearch query clause"):
        filter_clauses(wrong)


def test_filters_go_into_both_legs() -> None:
    clauses = filter_clauses({"term": {"kind": "function"}})
    bm25 = bm25_body("text", ["title"], clauses, size=7)
    knn = knn_body(np.ones(3, dtype=np.float32), "semantic", "model-1", clauses, size=7)
    assert bm25["query"]["bool"]["filter"] == clauses
    assert knn["knn"]["filter"] == [{"term": {"semantic.model": "model-1"}}, *clauses]
    assert (bm25["size"], knn["size"], knn["knn"]["k"]) == (7, 7, 7)
    assert knn["knn"]["num_candidates"] >= 7


def test_num_candidates_stays_within_elasticsearch_s_limit() -> None:
    assert knn_body(np.ones(3, dtype=np.float32), "v", "m", [], size=10_000)["knn"]["num_candidates"] == 10_000


def test_all_legs_go_in_one_request_without_documents() -> None:
    request = msearch_request("my index", [{"size": 1}, {"size": 2}])
    assert isinstance(request.body, list)
    lines = [orjson.loads(line) for line in request.body]
    assert request.path == "/_msearch"
    assert [line["index"] for line in lines[::2]] == ["my index"] * 2
    assert [(line["size"], line["_source"]) for line in lines[1::2]] == [(1, False), (2, False)]


def test_a_page_of_several_indices_asks_each_for_its_own_ids() -> None:
    request = page_request("alias", [("a", "1", ""), ("b", "1", ""), ("a", "2", "r")], excludes=["semantic"])
    assert isinstance(request.body, dict)
    wanted = [clause["bool"]["filter"] for clause in request.body["query"]["bool"]["should"]]
    assert wanted == [
        [{"term": {"_index": "a"}}, {"ids": {"values": ["1", "2"]}}],
        [{"term": {"_index": "b"}}, {"ids": {"values": ["1"]}}],
    ]
    assert request.body["size"] >= 3
