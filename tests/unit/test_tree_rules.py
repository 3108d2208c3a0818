"""Rules between the retrievers of a tree, and its limits; more in tests/integration/test_tree_wordings.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.nodes import Retriever
from es_semantic.retrieval.tree.parse import parse
from es_semantic.retrieval.tree.rules import MAX_LEAVES, MAX_RESULT_WINDOW, check
from tests.trees import KNN, QUERY, STANDARD, Json

VALIDATION = "action_request_validation_exception"


def rrf(*retrievers: Json, **fields: Any) -> Json:
    return {"rrf": {"retrievers": list(retrievers) or [STANDARD], **fields}}


def pinned(retriever: Json, **fields: Any) -> Json:
    return {"pinned": {"retriever": retriever, "ids": ["1"], **fields}}


def rescorer(retriever: Json, window: int) -> Json:
    return {"rescorer": {"retriever": retriever, "rescore": rescore(window)}}


def rescore(window: int) -> Json:
    return {"window_size": window, "query": {"rescore_query": QUERY}}


def refused(tree: Json, size: int | None = None, **options: Any) -> InvalidRetriever:
    with pytest.raises(InvalidRetriever) as refusal:
        check(parse(tree), size=size, **options)
    return refusal.value


def linear(**fields: Any) -> Json:
    return {"linear": fields}


VALIDATED = [
    (rrf(rank_window_size=5), 10, "[rrf] requires [rank_window_size: 5] be greater than or equal to [size: 10]"),
    (rrf(), 11, "[rrf] requires [rank_window_size: 10] be greater than or equal to [size: 11]"),
    (
        {"auto": {"retrievers": [STANDARD]}},
        11,
        "[auto] requires [rank_window_size: 10] be greater than or equal to [size: 11]",
    ),
    (rrf(rank_window_size=-1), None, "[rank_window_size] parameter cannot be negative, found [-1]"),
    (
        rrf(rrf(rank_window_size=10), rank_window_size=20),
        None,
        "[rrf] requires [rank_window_size: 20] to be smaller than or equal to its sub retriever's rrf "
        "[rank_window_size: 10]",
    ),
    (
        rrf(STANDARD, rescorer(KNN, 5)),
        None,
        "[rrf] requires [rank_window_size: 10] to be smaller than or equal to its sub retriever's rescorer "
        "[window_size: 5]",
    ),
    ({"rrf": {}}, None, "[rrf] must provide [retrievers] or [query]"),
    ({"rrf": {"retrievers": []}}, None, "[rrf] must provide [retrievers] or [query]"),
    ({"rrf": {"fields": ["a"]}}, None, "[rrf] [query] must be provided when [fields] is specified"),
    ({"rrf": {"query": ""}}, None, "[rrf] [query] cannot be empty"),
    (rrf(query="x"), None, "[rrf] cannot combine [retrievers] and [query]"),
    (linear(query="x"), None, "[linear] [normalizer] must be provided when [query] is specified"),
    (linear(normalizer="minmax"), None, "[linear] must provide [retrievers] or [query]"),
]


@pytest.mark.parametrize(("tree", "size", "reason"), VALIDATED)
def test_validated(tree: Json, size: int | None, reason: str) -> None:
    error = refused(tree, size)
    assert (error.type, error.reason) == (VALIDATION, f"Validation Failed: 1: {reason};")
    assert error.path == next(iter(tree))


def test_all_that_is_wrong_is_numbered_and_every_path_named() -> None:
    error = refused(rrf(linear(query="", rank_window_size=5), query="x"), 12)
    assert error.reason == (
        "Validation Failed: "
        "1: [rrf] requires [rank_window_size: 10] be greater than or equal to [size: 12];"
        "2: [linear] requires [rank_window_size: 5] be greater than or equal to [size: 12];"
        "3: [linear] [query] cannot be empty;"
        "4: [linear] [normalizer] must be provided when [query] is specified;"
        "5: [rrf] requires [rank_window_size: 10] to be smaller than or equal to its sub retriever's linear "
        "[rank_window_size: 5];"
        "6: [rrf] cannot combine [retrievers] and [query];"
    )
    assert error.path == "rrf, rrf.retrievers[0].linear"


def test_a_tree_that_fits() -> None:
    tree = rrf(rescorer(STANDARD, 20), {"linear": {"query": "x", "normalizer": "minmax", "rank_window_size": 30}})
    tree["rrf"]["rank_window_size"] = 20
    for size in (None, 0, 20):
        check(parse(tree), size=size)


def test_the_window_of_what_pinned_holds_may_be_smaller() -> None:
    check(parse(pinned(rrf(rank_window_size=5))), size=5)
    assert refused(pinned(rrf(rank_window_size=5)), 6).path == "pinned.retriever.rrf"


def test_windows_and_pages_have_limits() -> None:
    error = refused(rrf(rank_window_size=MAX_RESULT_WINDOW + 1))
    assert (error.path, error.reason) == ("rrf.rank_window_size", "[rank_window_size] cannot exceed [10000]")
    error = refused(rrf(rescorer(STANDARD, 10_001), rank_window_size=10))
    assert (error.path, error.reason) == ("rrf.retrievers[0].rescorer.rescore", "[window_size] cannot exceed [10000]")
    check(parse(rrf(rank_window_size=MAX_RESULT_WINDOW)), size=MAX_RESULT_WINDOW)
    check(parse(STANDARD), size=10, from_=9_990)
    assert "but was [10001]" in refused(STANDARD, 10, from_=9_991).reason
    assert "but was [10005]" in refused(STANDARD, None, from_=9_995).reason
    assert refused(STANDARD, -1).reason == "[size] parameter cannot be negative, found [-1]"
    assert refused(STANDARD, 1, from_=-1).reason == "[from] parameter cannot be negative but was [-1]"
    for size in (True, "10", 1.5):
        assert refused(STANDARD, size).reason == "[size] must be an integer"  # type: ignore[arg-type]


def test_the_number_of_leaves_has_a_limit() -> None:
    check(parse(rrf(*[STANDARD] * MAX_LEAVES)), size=10)
    error = refused(rrf(rrf(*[STANDARD] * (MAX_LEAVES - 1)), STANDARD, KNN))
    assert error.reason == "a tree may have at most [32] retrievers without others below, but has [33]"


def test_what_children_may_not_ask_for() -> None:
    for field, value in (("search_after", [1]), ("terminate_after", 5)):
        child = {"standard": {"query": QUERY, "sort": ["n"], field: value}}
        error = refused(rrf(KNN, {"retriever": child, "weight": 2}))
        assert error.path == f"rrf.retrievers[1].retriever.standard.{field}"
        assert error.reason == f"[{field}] cannot be used in children of compound retrievers"
        check(parse(child), size=10)


@pytest.mark.parametrize(
    "sort", [["n"], {"n": "desc"}, [{"_score": "asc"}], {"_score": {"order": "asc"}}, ["_score", "n"]]
)
def test_sorting_below_a_rescorer(sort: Any) -> None:
    error = refused(rescorer({"standard": {"query": QUERY, "sort": sort}}, 20))
    assert error.path == "rescorer.retriever.standard.sort"
    assert error.reason == "Cannot use [sort] option in conjunction with [rescore]."
    check(parse(rrf({"standard": {"query": QUERY, "sort": sort}})), size=10)


@pytest.mark.parametrize("sort", [[], {}, ["_score"], "desc", [{"_score": "desc"}], {"_score": {"order": "desc"}}])
def test_sorting_by_score_below_a_rescorer(sort: Any) -> None:
    sort = {"_score": sort} if sort == "desc" else sort
    check(parse(rescorer({"standard": {"query": QUERY, "sort": sort}}, 20)), size=10)


def test_pinned_needs_a_query_by_score() -> None:
    error = refused(pinned({"standard": {"query": QUERY, "sort": ["_score", {"_id": "desc"}]}}))
    assert error.path == "pinned.retriever.standard.sort"
    assert error.reason == "[pinned] retriever only supports sorting by score, invalid sort criterion: _id"
    for sort in (["_score"], [{"_score": {"order": "asc"}}, "_shard_doc"]):
        check(parse(pinned({"standard": {"query": QUERY, "sort": sort}})), size=10)
    error = refused(rrf(pinned({"standard": {}})))
    assert error.path == "rrf.retrievers[0].pinned.retriever.standard"
    assert error.reason == "pinned retriever requires retriever with associated query"
    check(parse(pinned({"standard": {"filter": QUERY}})), size=10)
    check(parse(rrf(pinned({"standard": {}}), filter=QUERY)), size=10)


def fusions(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    windows = st.integers(-2, 30)
    return st.builds(
        lambda trees, window: rrf(*trees, rank_window_size=window), st.lists(inner, min_size=1), windows
    ) | (st.builds(rescorer, inner, windows))


@settings(deadline=None)
@given(st.recursive(st.sampled_from([STANDARD, KNN]), fusions, max_leaves=5), st.none() | st.integers(0, 30))
def test_windows_never_grow_from_the_leaves_to_the_page(tree: Json, size: int | None) -> None:
    root = parse(tree)
    assert passes(root, size) == all(wanted <= given for wanted, given in windows(root, size or 0))


def passes(root: Retriever, size: int | None) -> bool:
    try:
        check(root, size=size)
    except InvalidRetriever:
        return False
    return True


def windows(node: Retriever, wanted: int) -> list[tuple[int, int]]:
    """What is wanted of each window in a tree, and what it gives; never less than nothing."""
    if not node.children:
        return []
    inner = [each for _, child in node.children for each in windows(child, node.window)]
    return [(max(wanted, 0), node.window), *inner]
