"""What is not JSON, too deep, endless or damaged is refused: in few words, and without quoting texts."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.nodes import NAMES, Retriever, Standard, to_json, walk
from es_semantic.retrieval.tree.parse import MAX_DEPTH, parse
from es_semantic.retrieval.tree.plain import MAX_JSON_DEPTH
from tests.trees import EVERY_KIND, KNN, QUERY, STANDARD, Json, refused

ILLEGAL = "illegal_argument_exception"


def rrf(**fields: Any) -> Json:
    return {"rrf": fields}


def test_what_is_not_json_is_refused_with_its_path() -> None:
    def reason(value: Any) -> tuple[str, str]:
        error = refused({"standard": {"query": {"bool": {"filter": [QUERY, {"term": {"a": value}}]}}}})
        assert error.type == ILLEGAL
        return error.path, error.reason

    path = "standard.query.bool.filter[1].term.a"
    assert reason(float("nan")) == (path, "[a] must be a finite number")
    assert reason(float("-inf")) == (path, "[a] must be a finite number")
    assert reason(2**64) == (path, "[a] must be an integer of at most 64 bits")
    assert reason(-(2**64)) == (path, "[a] must be an integer of at most 64 bits")
    assert reason(b"x") == (path, "[a] is a Python bytes, which is not JSON")
    assert reason({1, 2}) == (path, "[a] is a Python set, which is not JSON")
    assert reason("\ud800") == (path, "[a] holds half a surrogate pair, which cannot be sent")
    assert reason({5: 1}) == (path, "[a] has a key that is not a string")
    assert refused({5: {}}).reason == "[retriever] has a key that is not a string"


def test_numbers_must_be_finite_in_single_precision() -> None:
    for value in (float("nan"), float("inf"), 1e39, "1e39", 10**400):
        error = refused({"standard": {"min_score": value}})
        assert (error.path, error.type) == ("standard.min_score", ILLEGAL)
        error = refused({"knn": {**KNN["knn"], "query_vector": [0.5, value]}})
        assert (error.path, error.type) == ("knn.query_vector[1]" if value != "1e39" else "knn.query_vector", ILLEGAL)
    assert refused(rrf(rank_window_size=float("inf"))).reason == "[rank_window_size] must be a finite number"
    assert refused({"knn": {**KNN["knn"], "query_vector": []}}).reason == "[query_vector] must not be empty"


def test_no_error_quotes_what_was_searched_for() -> None:
    secret = "patient 4711 has"
    trees = [
        rrf(query=[secret]),
        rrf(query="x", fields=[f"title^{secret}"]),
        {"standard": {"query": {"match": secret}}},
        {"standard": {"query": secret}},
        {"standard": {"query": {"match": {"a": [secret, float("nan")]}}}},
        {"knn": {**KNN["knn"], "query_vector": [secret]}},
        {
            "knn": {
                **KNN["knn"],
                "query_vector": "00",
                "query_vector_builder": {"text_embedding": {"model_text": [secret]}},
            }
        },
        {"text_similarity_reranker": {"inference_text": [secret]}},
        {"text_similarity_reranker": {"inference_text": secret, "foo": 1}},
        {"pinned": {"ids": [[secret]]}},
    ]
    for tree in trees:
        assert "4711" not in str(refused(tree))


def test_long_names_are_cut_off() -> None:
    error = refused({"x" * 10_000: {}})
    assert len(str(error)) < 400
    assert refused({"standard": {"y" * 10_000: 1}}).reason == f"[standard] unknown field [{'y' * 50}…]"
    assert "…" in refused({"standard": {"terminate_after": 10**5_000}}).reason


def nested(levels: int) -> Json:
    tree = STANDARD
    for _ in range(levels - 1):
        tree = rrf(retrievers=[tree])
    return tree


def nested_query(levels: int) -> Json:
    # match and its field are two levels, each bool with its array three.
    query: Json = QUERY
    for _ in range((levels - 2) // 3):
        query = {"bool": {"must": [query]}}
    return query


def test_the_depth_of_retrievers_has_a_limit() -> None:
    assert sum(1 for _ in walk(parse(nested(MAX_DEPTH)))) == MAX_DEPTH
    for levels in (MAX_DEPTH + 1, 1_000, 100_000):
        error = refused(nested(levels))
        assert error.path == "rrf" + ".retrievers[0].rrf" * (MAX_DEPTH - 1) + ".retrievers[0]"
        assert error.reason == f"retrievers are nested more than [{MAX_DEPTH}] levels deep"


def test_the_depth_of_queries_has_a_limit() -> None:
    assert isinstance(parse({"standard": {"query": nested_query(MAX_JSON_DEPTH)}}), Standard)
    for levels in (MAX_JSON_DEPTH + 3, 1_000, 100_000):
        deep = nested_query(levels)
        for tree, path in (
            ({"standard": {"query": deep}}, "standard.query"),
            (rrf(query="x", filter=[QUERY, deep]), "rrf.filter[1]"),
            (
                {"rescorer": {"retriever": STANDARD, "rescore": {"query": {"rescore_query": deep}}}},
                "rescorer.rescore.query.rescore_query",
            ),
        ):
            error = refused(tree)
            assert (error.path, error.type) == (path, ILLEGAL)
            assert f"is nested more than [{MAX_JSON_DEPTH}] levels deep" in error.reason


def test_lists_that_hold_themselves_come_to_an_end() -> None:
    endless: list[Any] = [1]
    endless += [endless, endless]
    assert "levels deep" in refused({"standard": {"query": {"terms": {"a": endless}}}}).reason
    doubling: list[Any] = [1]
    for _ in range(60):
        doubling = [doubling, doubling]
    assert "has more than [300000] values" in refused({"standard": {"query": {"terms": {"a": doubling}}}}).reason


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5", "1e400", "0x1", "mmr", "none", "\ud800"])
)
WORDS = st.sampled_from(
    [
        *NAMES,
        *(
            "retriever",
            "retrievers",
            "weight",
            "normalizer",
            "query",
            "filter",
            "fields",
            "k",
            "num_candidates",
            "sort",
        ),
        *("query_vector", "query_vector_builder", "text_embedding", "model_text", "rescore", "rescore_query", "ids"),
        *("docs", "_id", "field", "lambda", "size", "type", "rank_window_size", "window_size", "min_score", "_name"),
        *("inference_text", "collapse", "search_after", "terminate_after", "rescore_vector", "oversample", "foo"),
    ]
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=20
)


def read_or_refused(tree: Any) -> None:
    """Nothing but a tree that can be sent and read again, or a short error."""
    outcome = read(tree)
    if isinstance(outcome, InvalidRetriever):
        assert outcome.path
        assert outcome.reason
        assert len(str(outcome).encode()) < 4_000
    else:
        assert parse(orjson.loads(orjson.dumps(to_json(outcome)))) == outcome


def read(tree: Any) -> Retriever | InvalidRetriever:
    try:
        return parse(tree)
    except InvalidRetriever as error:
        return error


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_is_read_or_refused(tree: Any) -> None:
    read_or_refused(tree)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A tree of every kind of retriever in which one value has become something else."""

    def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [way, *(place for step, each in inner for place in places(each, (*way, step)))]

    way = draw(st.sampled_from(places(EVERY_KIND)))
    new = draw(JSON)

    def put(value: Any, rest: tuple[Any, ...]) -> Any:
        if not rest:
            return new
        step, *further = rest
        if isinstance(value, dict):
            return {name: put(each, tuple(further)) if name == step else each for name, each in value.items()}
        return [put(each, tuple(further)) if place == step else each for place, each in enumerate(value)]

    return put(EVERY_KIND, way)


@given(damaged())
@settings(max_examples=300, deadline=None)
def test_a_damaged_tree_is_read_or_refused(tree: Any) -> None:
    read_or_refused(tree)
