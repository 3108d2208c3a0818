"""From a ranking to the searches for a page, and from their answers to hits."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.documents import documents_query, has_key, ranked_query
from es_semantic.retrieval.found import LEAST, MOST, Found, Key, Ranking, at_least, key_of, shown
from es_semantic.retrieval.leaves import leaves
from es_semantic.retrieval.matched import matched, only_ranked_count
from es_semantic.retrieval.page import (
    LOWEST_SENT,
    MAX_ORDERED,
    Page,
    in_order,
    max_score,
    page_searches,
    read_hits,
    shaped,
    with_true_scores,
)
from es_semantic.retrieval.tree.nodes import kind
from es_semantic.retrieval.tree.parse import parse

SEED = int(os.environ.get("ES_SEMANTIC_SEED", "20261121"))

Json = dict[str, Any]

RANKING: Ranking = [(("a", "1", ""), 3.0), (("b", "1", ""), 2.0), (("a", "2", "x"), 1.0), (("a", "3", ""), 1.0)]
OAK: Json = {"bool": {"must": [{"match": {"title": "oak"}}]}}


def key(number: int) -> Key:
    return "a", f"{number:04}", ""


def searches(page: Page, *, ranking: Ranking = RANKING, matched: list[Json] | None = None, only_ranked: bool = False):  # type: ignore[no-untyped-def]
    found = [OAK] if matched is None else matched
    return page_searches(page, ranking, found, length=page.length(len(ranking)), only_ranked=only_ranked)


def test_documents_by_index_and_routing() -> None:
    routed, plain = {"term": {"_routing": "x"}}, [{"exists": {"field": "_routing"}}]
    assert documents_query(key for key, _ in RANKING) == {
        "bool": {
            "filter": [
                {
                    "bool": {
                        "should": [
                            {
                                "bool": {
                                    "filter": [{"term": {"_index": "a"}}, {"ids": {"values": ["1", "3"]}}],
                                    "must_not": plain,
                                }
                            },
                            {
                                "bool": {
                                    "filter": [{"term": {"_index": "b"}}, {"ids": {"values": ["1"]}}],
                                    "must_not": plain,
                                }
                            },
                            {"bool": {"filter": [{"term": {"_index": "a"}}, {"ids": {"values": ["2"]}}, routed]}},
                        ]
                    }
                }
            ]
        }
    }
    assert documents_query([]) == ranked_query([]) == {"match_none": {}}
    scored = ranked_query(RANKING)["bool"]["should"][0]["bool"]["must"][0]["bool"]["should"]
    assert scored == [{"ids": {"values": ["1"], "boost": 3.0}}, {"ids": {"values": ["3"], "boost": 1.0}}]


def test_keys_are_found_at_any_depth() -> None:
    query = {"bool": {"must": [{"nested": {"path": "p", "inner_hits": {}}}, ({"match": {"_name": 1}},)]}}
    assert has_key(query, frozenset(["inner_hits"]))
    assert has_key(query, frozenset(["other", "_name"]))
    assert not has_key(query, frozenset(["p"]))
    assert not has_key(None, frozenset(["p"]))


@pytest.mark.parametrize(
    ("size", "start", "ids"),
    [(2, 0, "11"), (2, 1, "12"), (None, 0, "1123"), (None, 2, "23"), (5, 3, "3"), (5, 4, ""), (5, 9, ""), (0, 0, "")],
)
def test_the_part_that_is_wanted(size: int | None, start: int, ids: str) -> None:
    page = Page(size, start)
    assert "".join(doc_id for (_, doc_id, _), _ in page.of(RANKING)) == ids
    assert page.length(len(RANKING)) == len(ids)


def test_a_plain_page_is_fetched_by_ids_and_all_matches_are_counted_beside_it() -> None:
    fetch, count = searches(Page(1, 1, {"_source": ["title"], "aggs": {"n": {"max": {"field": "n"}}}}))
    assert fetch == {
        "_source": ["title"],
        "size": 1,
        "track_total_hits": False,
        "query": documents_query([RANKING[1][0]]),
    }
    assert (count["size"], count["aggs"]) == (0, {"n": {"max": {"field": "n"}}})
    (everything,) = count["query"]["bool"]["filter"]
    assert everything["bool"]["should"] == [documents_query(key for key, _ in RANKING), OAK]
    (everything,) = searches(Page(1), only_ranked=True)[1]["query"]["bool"]["filter"]
    assert everything["bool"]["should"] == [documents_query(key for key, _ in RANKING)]


def test_where_nothing_is_counted_there_is_one_search() -> None:
    assert len(searches(Page(1, 0, {"track_total_hits": False}))) == 1
    assert len(searches(Page(1, 0, {"track_total_hits": False, "runtime_mappings": {}}))) == 1
    assert len(searches(Page(1, 0, {"track_total_hits": False, "suggest": {}}))) == 2
    assert searches(Page(1, 0, {"track_total_hits": 7}))[1]["track_total_hits"] == 7
    assert "track_total_hits" not in searches(Page(1))[1]


@pytest.mark.parametrize(
    ("body", "matched", "takes_part"),
    [
        ({}, [OAK], False),
        ({"highlight": {"fields": {}}}, [OAK], True),
        ({}, [{"bool": {**OAK["bool"], "_name": "words"}}], True),
        ({}, [{"bool": {"must": [{"nested": {"path": "p", "inner_hits": {}}}]}}], True),
    ],
)
def test_queries_of_leaves_take_part_where_hits_need_them(body: Json, matched: list[Json], takes_part: bool) -> None:
    fetch = searches(Page(1, 0, body), matched=matched)[0]
    wanted = documents_query([RANKING[0][0]])
    assert fetch["query"] == ({"bool": {"must": [wanted], "should": matched}} if takes_part else wanted)


@pytest.mark.parametrize(
    "body",
    [
        {"collapse": {"field": "n"}},
        {"post_filter": {"match_all": {}}},
        {"script_fields": {}},
        {"aggs": {"n": {"terms": {"field": "n"}, "aggs": {"best": {"top_hits": {}}}}}},
        {"aggs": {"n": {"max": {"script": "_score"}}}},
    ],
)
def test_where_elasticsearch_must_know_the_ranking_there_is_one_search(body: Json) -> None:
    page = Page(2, 1, body)
    (search,) = searches(page)
    assert (search["from"], search["size"]) == (1, 2)
    ranked, others = search["query"]["bool"]["should"]
    assert ranked == ranked_query(RANKING)
    assert others["function_score"]["weight"] == 0
    assert others["function_score"]["query"]["bool"]["should"] == [OAK]
    (search,) = searches(page, only_ranked=True)
    assert search["min_score"] == LOWEST_SENT
    (search,) = searches(Page(2, 1, {**body, "track_total_hits": False}))
    assert (search["query"] == ranked_query(RANKING)) == ("aggs" not in body)
    long: Ranking = [(key(number), 1.0) for number in range(MAX_ORDERED + 1)]
    with pytest.raises(InvalidQuery, match=r"at most 1,000 ranked documents, not 1,001"):
        searches(page, ranking=long)


def test_the_page_never_reaches_beyond_what_is_ranked() -> None:
    sizes = [searches(Page(size, 2, {"collapse": {"field": "n"}}))[0]["size"] for size in (None, 1, 2, 3)]
    assert sizes == [2, 1, 2, 2]


def hit(key: Key, **more: Any) -> Json:
    return {"_index": key[0], "_id": key[1], **({"_routing": key[2]} if key[2] else {}), "_score": 0.0, **more}


def test_hits_come_in_the_order_of_the_ranking() -> None:
    page = Page(3, 1)
    response = {"hits": {"hits": [hit(RANKING[2][0]), hit(RANKING[1][0], _source={"n": 1})]}}
    found = read_hits(page, RANKING, response)
    # One was deleted meanwhile.
    assert found == [
        (RANKING[1][0], hit(RANKING[1][0], _source={"n": 1}) | {"_score": 2.0}),
        (RANKING[2][0], hit(RANKING[2][0]) | {"_score": 1.0}),
    ]
    ordered = Page(3, 1, {"collapse": {"field": "n"}})
    assert [key for key, _ in read_hits(ordered, RANKING, response)] == [RANKING[2][0], RANKING[1][0]]


def test_what_is_not_wanted_of_a_hit_is_taken_away() -> None:
    fetched = hit(("a", "1", "x"), _source={})
    assert shaped(Page(), fetched, {}, None) == {**fetched, "_legs": {}}
    none = Page(body={"stored_fields": "_none_"})
    assert shaped(none, fetched, {}, {"value": 1}) == {
        "_index": "a",
        "_score": 0.0,
        "_explanation": {"value": 1},
        "_legs": {},
    }
    assert searches(none)[0]["_source"] is False


def test_the_highest_score() -> None:
    assert max_score(Page(1, 3), RANKING, 1, {}) == 3.0
    assert max_score(Page(0), RANKING, 0, {}) is None
    assert max_score(Page(1), [], 1, {}) is None
    assert max_score(Page(1, 0, {"post_filter": {}}), RANKING, 1, {"hits": {"max_score": 0.5}}) == 0.5


@seed(SEED)
@settings(max_examples=200, deadline=None, database=None)
@given(
    scores=st.lists(st.sampled_from([LEAST, 1.0, 1.5, 1 / 61, 2.0**127, MOST / 2]), max_size=20),
    shuffled=st.randoms(use_true_random=False),
    by_itself=st.booleans(),
)
def test_scores_that_keep_an_order(scores: list[float], shuffled: Any, by_itself: bool) -> None:
    """Sorted by them, and equal ones as Elasticsearch sorts these, documents come in the order of the ranking."""
    numbers = list(range(len(scores)))
    shuffled.shuffle(numbers)
    ranking: Ranking = [
        (key(number), score) for number, score in zip(numbers, sorted(scores, reverse=True), strict=True)
    ]
    sent = in_order(ranking, (lambda key: key) if by_itself else None)
    assert sorted(sent, key=lambda one: (-np.float32(one[1]), one[0] if by_itself else "")) == sent
    assert [key for key, _ in sent] == [key for key, _ in ranking]
    assert all(score > 0 for _, score in sent)
    if not by_itself:
        assert len({np.float32(score) for _, score in sent}) == len(sent)
    for (_, true), (_, score) in zip(ranking, sent, strict=True):
        assert score == pytest.approx(max(true, LOWEST_SENT), rel=1e-5)
    printed = [shown(score) for _, score in sent]
    answer = {"hits": {"max_score": printed[0] if sent else None, "hits": [{"_score": score} for score in printed]}}
    restored = with_true_scores({"aggregations": [answer]}, sent, ranking)["aggregations"][0]["hits"]
    assert [each["_score"] for each in restored["hits"]] == [shown(true) for _, true in ranking]
    assert restored["max_score"] == (shown(ranking[0][1]) if ranking else None)


def test_scores_are_of_single_precision() -> None:
    assert [shown(score) for score in (1 / 3 + 0.5, 0.1, 1.4e-45, 1e-50, 2.0**127)] == [
        0.8333333,
        0.1,
        1.4e-45,
        1.4e-45,
        1.7014118e38,
    ]
    ranking: Ranking = [(key(1), 0.7), (key(2), float(np.float32(0.7))), (key(3), 0.69999)]
    assert [doc for (_, doc, _), _ in at_least(ranking, 0.7)] == ["0001", "0002"]
    found = Found(ties={key(number): (number, key(number)) for number in range(4)})
    ranked = found.by_score([(key(2), -1.0), (key(3), 9e38), (key(1), 0.0), (key(0), 1.0)])
    assert ranked == [(key(3), MOST), (key(0), 1.0), (key(1), LEAST), (key(2), LEAST)]
    assert key_of({"_index": "a", "_id": "1", "_routing": "r"}) == ("a", "1", "r")


def test_what_leaves_have_matched() -> None:
    nearest: Json = {"knn": {"field": "v", "query_vector": [1], "k": 1, "num_candidates": 1, "_name": "near"}}
    words: Json = {"standard": {"query": {"match": {"title": "oak"}}}}
    both: Json = {"linear": {"retrievers": [{"retriever": nearest}, {"retriever": words}], "_name": "both"}}
    root = parse({"pinned": {"ids": ["9"], "retriever": {"rrf": {"retrievers": [both, words, {"standard": {}}]}}}})
    legs = leaves(root)
    paths = [leg.path for leg in legs]
    found = Found(rankings={path: [(key(number), 1.0)] for number, path in enumerate(paths) if number != 4})
    pins, near, *_ = paths
    assert (pins.endswith("pins"), near.endswith("knn")) == (True, True)
    clauses = matched(root, kind(root), {leg.path: leg for leg in legs}, found)
    # The last leaf has failed.
    assert clauses == [
        {
            "bool": {
                "should": [
                    {"bool": {"filter": [documents_query([key(1)])], "_name": "near"}},
                    {"bool": {"must": [words["standard"]["query"]]}},
                ],
                "_name": "both",
            }
        },
        {"bool": {"must": [words["standard"]["query"]]}},
        {"bool": {"filter": [documents_query([key(0)])]}},
    ]


@pytest.mark.parametrize(
    ("tree", "body", "alone"),
    [
        ({"rrf": {"retrievers": [{"standard": {}}]}}, {}, False),
        ({"rrf": {"retrievers": [{"standard": {}}]}}, {"min_score": 0}, True),
        ({"rrf": {"retrievers": [{"standard": {"min_score": 1}}]}}, {}, True),
        ({"rrf": {"retrievers": [{"standard": {}}], "min_score": 1}}, {}, True),
    ],
)
def test_under_a_least_score_only_what_is_ranked_counts(tree: Json, body: Json, alone: bool) -> None:
    assert only_ranked_count(parse(tree), body) is alone
