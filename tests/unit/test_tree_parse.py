"""Reading retriever trees: what is accepted, what errors say, and where."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from typing import Any

import numpy as np
import orjson
import pytest

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.tree.nodes import (
    NAMES,
    Diversify,
    Knn,
    Linear,
    Pinned,
    PinnedDocument,
    Rescorer,
    Rrf,
    Standard,
    TextSimilarityReranker,
    kind,
    to_json,
    walk,
)
from es_semantic.retrieval.tree.parse import parse
from tests.trees import EVERY_KIND, KNN, QUERY, STANDARD, Json, refused

ILLEGAL = "illegal_argument_exception"
PARSING = "parsing_exception"
X_CONTENT = "x_content_parse_exception"
VALIDATION = "action_request_validation_exception"


def rrf(**fields: Any) -> Json:
    return {"rrf": fields}


def linear(**fields: Any) -> Json:
    return {"linear": fields}


def weighing(**fields: Any) -> Json:
    return {"linear": {"retrievers": [{"retriever": STANDARD, **fields}]}}


def pinned(**fields: Any) -> Json:
    return {"pinned": {"retriever": STANDARD, **fields}}


def reranked(**fields: Any) -> Json:
    return {"text_similarity_reranker": {"retriever": STANDARD, "field": "t", "inference_text": "x", **fields}}


# Retrievers that are paid features, and our own. What others say is compared with a node in
# tests/integration/test_tree_wordings.py.
REFUSED = [
    (rrf(foo=1), "rrf.foo", X_CONTENT, "[rrf] unknown field [foo]"),
    (rrf(retrievers={}), "rrf.retrievers", PARSING, "retriever component must contain a retriever"),
    (rrf(retrievers=[5]), "rrf.retrievers[0]", PARSING, "expected object but found [VALUE_NUMBER]"),
    (rrf(retrievers=[{"weight": 1}]), "rrf.retrievers[0]", PARSING, "retriever component must contain a retriever"),
    (
        rrf(retrievers=[STANDARD, {"retriever": KNN, "boost": 1}]),
        "rrf.retrievers[1]",
        PARSING,
        "unknown field [boost], expected [retriever] or [weight]",
    ),
    (
        rrf(retrievers=[{**STANDARD, "weight": 2}]),
        "rrf.retrievers[0]",
        PARSING,
        "unknown field [weight] after retriever",
    ),
    (rrf(retrievers=[{"retriever": 5}]), "rrf.retrievers[0].retriever", PARSING, "retriever must be an object"),
    (
        rrf(retrievers=[{"retriever": STANDARD, "weight": -1}]),
        "rrf.retrievers[0].weight",
        ILLEGAL,
        "[weight] must be non-negative, found [-1.0]",
    ),
    (
        rrf(retrievers=[STANDARD, {"retriever": {"knn": {**KNN["knn"], "k": "many"}}}]),
        "rrf.retrievers[1].retriever.knn.k",
        X_CONTENT,
        "[knn] failed to parse field [k]",
    ),
    (
        rrf(retrievers=[STANDARD, {"knn": {**KNN["knn"], "k": "many"}}]),
        "rrf.retrievers[1].knn.k",
        X_CONTENT,
        "[knn] failed to parse field [k]",
    ),
    (rrf(retrievers=[{"knnn": {}}]), "rrf.retrievers[0].knnn", PARSING, "unknown retriever [knnn] did you mean [knn]?"),
    (
        rrf(rank_constant=0, query="x"),
        "rrf.rank_constant",
        ILLEGAL,
        "[rank_constant] must be greater or equal to [1] for [rrf]",
    ),
    (
        rrf(rank_window_size=True),
        "rrf.rank_window_size",
        X_CONTENT,
        "[rrf] rank_window_size doesn't support values of type: VALUE_BOOLEAN",
    ),
    (rrf(query=5), "rrf.query", X_CONTENT, "[rrf] query doesn't support values of type: VALUE_NUMBER"),
    (rrf(query="x", fields=["a^-1"]), "rrf.fields[0]", ILLEGAL, "[rrf] per-field weights must be non-negative"),
    (rrf(query="x", fields=["b", "a^x"]), "rrf.fields[1]", X_CONTENT, "[rrf] failed to parse field [fields]"),
    (rrf(query="x", fields=[]), "rrf", VALIDATION, "Validation Failed: 1: [rrf] [fields] cannot be empty;"),
    (
        rrf(fields=[]),
        "rrf",
        VALIDATION,
        "Validation Failed: 1: [rrf] [query] must be provided when [fields] is specified;",
    ),
    (rrf(query="x", fields=[["a"]]), "rrf.fields", X_CONTENT, "[rrf] failed to parse field [fields]"),
    (rrf(query="x", fields=[None]), "rrf.fields", X_CONTENT, "[rrf] failed to parse field [fields]"),
    (linear(retrievers=[{}]), "linear.retrievers[0]", ILLEGAL, "Required [retriever]"),
    (
        linear(retrievers=[STANDARD]),
        "linear.retrievers[0].standard",
        X_CONTENT,
        "[retriever-component] unknown field [standard]",
    ),
    (
        linear(retrievers=[5]),
        "linear.retrievers[0]",
        X_CONTENT,
        "[retriever-component] Expected START_OBJECT but was: VALUE_NUMBER",
    ),
    (weighing(weight=-0.5), "linear.retrievers[0].weight", ILLEGAL, "[weight] must be non-negative"),
    (weighing(normalizer="foo"), "linear.retrievers[0].normalizer", ILLEGAL, "Unknown normalizer [foo]"),
    (
        weighing(normalizer=None),
        "linear.retrievers[0].normalizer",
        X_CONTENT,
        "[retriever-component] normalizer doesn't support values of type: VALUE_NULL",
    ),
    (linear(query="x", normalizer="foo"), "linear.normalizer", ILLEGAL, "Unknown normalizer [foo]"),
    (
        linear(query="x", normalizer="none", min_score=-1),
        "linear.min_score",
        ILLEGAL,
        "[min_score] must be greater than or equal to 0, was: [-1.0]",
    ),
    (pinned(foo=1), "pinned.foo", PARSING, "[pinned] unknown field [foo]"),
    ({"pinned": {"ids": ["1"]}}, "pinned", PARSING, "Required [retriever]"),
    (
        pinned(),
        "pinned",
        PARSING,
        "Either 'ids' or 'docs' must be provided and non-empty for pinned retriever",
    ),
    (
        pinned(ids=[]),
        "pinned",
        PARSING,
        "Either 'ids' or 'docs' must be provided and non-empty for pinned retriever",
    ),
    (
        pinned(ids=["1"], docs=[]),
        "pinned",
        PARSING,
        "Both 'ids' and 'docs' cannot be specified at the same time",
    ),
    (pinned(ids=["1", "2", "1"]), "pinned.ids[2]", ILLEGAL, "[pinned] duplicate id found in list: 1"),
    (pinned(ids=list(map(str, range(101)))), "pinned.ids", ILLEGAL, "[pinned] Max of 100 ids exceeded: 101 provided."),
    (pinned(docs=[{"_index": "a"}]), "pinned.docs[0]", ILLEGAL, "Required [_id]"),
    (
        pinned(docs=[{"_id": "1", "_index": "a*"}]),
        "pinned.docs[0]._index",
        ILLEGAL,
        "Item index cannot contain wildcard expressions",
    ),
    (
        pinned(docs=[{"_id": "1", "routing": "a"}]),
        "pinned.docs[0].routing",
        X_CONTENT,
        "[item] unknown field [routing]",
    ),
    (
        {"text_similarity_reranker": {}},
        "text_similarity_reranker",
        ILLEGAL,
        "Required [retriever, inference_text, field]",
    ),
    (
        reranked(allow_rerank_failures="yes"),
        "text_similarity_reranker.allow_rerank_failures",
        ILLEGAL,
        "Failed to parse value [yes] as only [true] or [false] are allowed.",
    ),
    (
        reranked(chunk_rescorer={"size": 0}),
        "text_similarity_reranker.chunk_rescorer.size",
        ILLEGAL,
        "size must be greater than 0, was: 0",
    ),
    (reranked(field=[]), "text_similarity_reranker.field", ILLEGAL, "[field] must name at least one field"),
    ({"auto": {}}, "auto", ILLEGAL, "Required [retrievers]"),
    ({"auto": {"retrievers": []}}, "auto.retrievers", ILLEGAL, "[auto] [retrievers] cannot be empty"),
    (
        {"auto": {"retrievers": [{"retriever": STANDARD}]}},
        "auto.retrievers[0].retriever",
        PARSING,
        "unknown retriever [retriever]",
    ),
]


@pytest.mark.parametrize(("tree", "path", "type", "reason"), REFUSED)
def test_refused(tree: Json, path: str, type: str, reason: str) -> None:
    error = refused(tree)
    assert (error.path, error.type, error.reason) == (path, type, reason)
    assert isinstance(error, InvalidQuery)
    assert error.what == f"{path}: {reason}"


def test_the_first_error_in_the_order_of_the_request_is_told() -> None:
    assert refused(rrf(rank_window_size="x", foo=1)).path == "rrf.rank_window_size"
    assert refused(rrf(foo=1, rank_window_size="x")).path == "rrf.foo"


def test_every_kind_of_retriever() -> None:
    root = parse(EVERY_KIND)
    assert {kind(node) for _, node in walk(root)} == set(NAMES)
    assert parse(to_json(root)) == root


def test_values_are_read_as_elasticsearch_reads_them() -> None:
    node = parse(
        {"knn": {**KNN["knn"], "k": "5", "num_candidates": 10.9, "query_vector": ["1", 2], "similarity": "0.5"}}
    )
    assert isinstance(node, Knn)
    assert (node.k, node.num_candidates, node.query_vector, node.similarity) == (5, 10, (1.0, 2.0), 0.5)
    diversify = parse({"diversify": {"retriever": STANDARD, "type": "MMR", "field": "v", "query_vector": 5}})
    assert isinstance(diversify, Diversify)
    assert (diversify.type, diversify.query_vector, diversify.lambda_) == ("mmr", (5.0,), None)
    normalized = parse(weighing(normalizer="MinMax"))
    assert isinstance(normalized, Linear)
    assert normalized.retrievers[0].normalizer == "minmax"
    pins = parse(pinned(ids=[7, True, "x"]))
    assert isinstance(pins, Pinned)
    assert pins.ids == ("7", "true", "x")
    rescored = parse(
        {"rescorer": {"retriever": STANDARD, "rescore": {"window_size": "50", "query": {"rescore_query": QUERY}}}}
    )
    assert isinstance(rescored, Rescorer)
    assert rescored.window == 50


def test_one_and_several_are_the_same() -> None:
    one = parse({"standard": {"query": QUERY, "filter": QUERY}})
    assert one == parse({"standard": {"query": QUERY, "filter": [QUERY]}})
    docs = parse(pinned(docs={"_id": "1"}))
    assert isinstance(docs, Pinned)
    assert docs.pins == (PinnedDocument(id="1"),)
    fused = parse(rrf(retrievers=STANDARD))
    assert isinstance(fused, Rrf)
    assert len(fused.children) == 1


def test_the_weights_of_fields_are_kept() -> None:
    fused = parse(rrf(query="x", fields=["title^2", "body^0"]))
    assert isinstance(fused, Rrf)
    assert fused.fields == ("title^2", "body^0")


def test_fields_to_rerank() -> None:
    for field, expected in (("a", "a"), (["a"], "a"), (["a", "b"], ("a", "b"))):
        node = parse(reranked(field=field))
        assert isinstance(node, TextSimilarityReranker)
        assert node.field == expected


def test_an_empty_sort_is_none() -> None:
    nothing: list[Any] = [[], {}]
    for sort in nothing:
        node = parse({"standard": {"query": QUERY, "sort": sort}})
        assert isinstance(node, Standard)
        assert node.sort is None


def test_what_the_client_sends_as_json_is_json() -> None:
    day, number = datetime.date(2024, 2, 1), uuid.UUID(int=7)
    query = {"terms": {"a": (day, number, decimal.Decimal("1.5"), np.float32(2.5), np.float64(4.5), np.int64(3))}}
    node = parse({"standard": {"query": query}})
    assert isinstance(node, Standard)
    expected = {"terms": {"a": ["2024-02-01", str(number), 1.5, 2.5, 4.5, 3]}}
    assert node.query == expected
    assert orjson.loads(orjson.dumps(node.query)) == expected
    nearest = parse({"knn": {**KNN["knn"], "query_vector": np.array([1.0, 2.0], dtype=np.float32)}})
    assert isinstance(nearest, Knn)
    assert nearest.query_vector == (1.0, 2.0)


def test_later_changes_to_the_input_do_no_harm() -> None:
    tree = {"standard": {"query": {"terms": {"a": [1]}}, "sort": [{"a": {"order": "asc"}}]}}
    root = parse(tree)
    before = to_json(root)
    tree["standard"]["query"]["terms"]["a"].append(2)  # type: ignore[index]
    tree["standard"]["sort"][0]["a"]["order"] = "desc"  # type: ignore[index]
    assert to_json(root) == before == {"standard": {"query": {"terms": {"a": [1]}}, "sort": [{"a": {"order": "asc"}}]}}


def resolve(tree: Any, path: str) -> Any:
    """Follow a path through JSON as a reader would."""
    for step in re.findall(r"[^.\[\]]+", path):
        tree = tree[int(step)] if isinstance(tree, list) else tree[step]
    return tree


def test_paths_lead_to_the_nodes() -> None:
    root = parse(EVERY_KIND)
    for path, node in walk(root):
        assert parse({kind(node): resolve(EVERY_KIND, path)}) == node
