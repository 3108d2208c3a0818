"""The searches of a tree's leaves."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.retrieval.leaves import OLD_TIE, PER_PIN, TIE, Leaf, leaf_body, leaves
from es_semantic.retrieval.tree.parse import parse

Json = dict[str, Any]

A, B, C = ({"term": {"tag": tag}} for tag in "abc")
WORDS: Json = {"standard": {"query": {"match": {"title": "oak"}}}}
NEAREST: Json = {"knn": {"field": "vector", "query_vector": [1, 2], "k": 3, "num_candidates": 5, "filter": C}}


def of(tree: Json) -> list[Leaf]:
    return leaves(parse(tree))


def body(tree: Json, **options: Any) -> list[Json]:
    return [leaf_body(leaf, tie=options.pop("tie", TIE), **options) for leaf in of(tree)]


def test_filters_come_down_from_every_level() -> None:
    inner = {"linear": {"retrievers": [{"retriever": WORDS}, {"retriever": NEAREST}], "filter": [B]}}
    tree = {"rrf": {"retrievers": [{"retriever": inner, "weight": 2}, WORDS], "filter": A}}
    found = of(tree)
    assert [leaf.path for leaf in found] == [
        "rrf.retrievers[0].retriever.linear.retrievers[0].retriever.standard",
        "rrf.retrievers[0].retriever.linear.retrievers[1].retriever.knn",
        "rrf.retrievers[1].standard",
    ]
    assert [leaf.filters for leaf in found] == [(A, B), (A, B, C), (A,)]
    words, nearest, alone = body(tree)
    assert words["query"] == {"bool": {"must": [WORDS["standard"]["query"]], "filter": [A, B]}}
    assert nearest["knn"]["filter"] == [A, B, C]
    assert alone["query"]["bool"]["filter"] == [A]


def test_a_leaf_finds_as_many_as_the_retriever_above_it_ranks() -> None:
    inner = {"rrf": {"retrievers": [WORDS, NEAREST], "rank_window_size": 30}}
    tree = {"rrf": {"retrievers": [inner, WORDS], "rank_window_size": 20}}
    assert [each["size"] for each in body(tree)] == [30, 30, 20]


def test_what_travels() -> None:
    (words,) = body({"rrf": {"retrievers": [WORDS]}})
    assert words == {
        "size": 10,
        "_source": False,
        "track_total_hits": False,
        "sort": ["_score", "_shard_doc"],
        "query": {"match": {"title": "oak"}},
    }
    (nearest,) = body({"rrf": {"retrievers": [NEAREST]}}, explain=True)
    assert nearest["knn"] == {
        "field": "vector",
        "query_vector": (1.0, 2.0),
        "k": 3,
        "num_candidates": 5,
        "filter": [C],
    }
    assert nearest["explain"] is True
    (everything,) = body({"rrf": {"retrievers": [{"standard": {}}]}})
    assert everything["query"] == {"match_all": {}}


def test_options_of_a_leaf() -> None:
    options = {"sort": [{"n": "asc"}], "collapse": {"field": "n", "inner_hits": {"name": "x"}}, "min_score": 2}
    (one,) = body({"rrf": {"retrievers": [{"standard": {**WORDS["standard"], **options}}]}}, tie=OLD_TIE)
    assert one["sort"] == [{"n": "asc"}, "_doc"]
    assert one["track_scores"] is True
    assert one["collapse"] == {"field": "n"}
    assert one["min_score"] == 2
    (one,) = body({"rrf": {"retrievers": [{"standard": {**WORDS["standard"], "sort": {"n": "desc"}}}]}})
    assert one["sort"] == [{"n": "desc"}, "_shard_doc"]


@pytest.mark.parametrize("tie", [TIE, OLD_TIE])
def test_a_rescorer_right_above_is_the_leaf_s_own(tie: str) -> None:
    rescore = {"window_size": 7, "query": {"rescore_query": {"match_all": {}}}}
    below = {"rescorer": {"retriever": WORDS, "rescore": rescore}}
    fused = {"rescorer": {"retriever": {"rrf": {"retrievers": [WORDS]}}, "rescore": rescore}}
    assert [each["rescore"] for each in body(below, tie=tie)] == [[rescore]]
    assert ["sort" in each for each in body(below, tie=tie)] == [tie == TIE]
    assert all("rescore" not in each and "sort" in each for each in body(fused, tie=tie))
    twice = {"rescorer": {"retriever": below, "rescore": {**rescore, "window_size": 3}}}
    assert [(each["rescore"], each["size"]) for each in body(twice, tie=tie)] == [([rescore], 7)]


def test_fields_are_carried_for_who_reads_them() -> None:
    diverse = {"retriever": WORDS, "type": "mmr", "field": "vector", "lambda": 1, "rank_window_size": 50}
    reranked = {
        "retriever": {"rrf": {"retrievers": [{"diversify": diverse}, WORDS]}},
        "field": "title",
        "inference_text": "oak",
    }
    assert [leaf.carry for leaf in of({"text_similarity_reranker": reranked})] == [("title", "vector"), ("title",)]


def test_pins_are_a_leaf_of_their_own() -> None:
    docs = [{"_id": "1", "_index": "a"}, {"_id": "2", "_index": "b"}, {"_id": "3", "_index": "a"}, {"_id": "4"}]
    tree = {"pinned": {"docs": docs, "retriever": WORDS, "filter": B, "rank_window_size": 5}}
    pins, words = of(tree)
    assert (pins.path, words.path) == ("pinned.pins", "pinned.retriever.standard")
    assert pins.size == PER_PIN * 4
    clauses = body(tree)[0]["query"]["bool"]["filter"]
    assert clauses[1:] == [B]
    assert [each["bool"] for each in clauses[0]["bool"]["should"]] == [
        {"filter": [{"ids": {"values": ["1", "3"]}}, {"term": {"_index": "a"}}], "_name": "pins:a"},
        {"filter": [{"ids": {"values": ["2"]}}, {"term": {"_index": "b"}}], "_name": "pins:b"},
        {"filter": [{"ids": {"values": ["4"]}}], "_name": "pins"},
    ]


def test_a_leaf_is_called_by_its_name_or_its_path() -> None:
    named = {"standard": {**WORDS["standard"], "_name": "words"}}
    assert [leaf.name for leaf in of({"rrf": {"retrievers": [named, WORDS]}})] == [
        "words",
        "rrf.retrievers[1].standard",
    ]
