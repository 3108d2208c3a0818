"""The short form: it builds Elastic's JSON, without what is not set, and what it builds can be read."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.errors import UsageError
from es_semantic.retrieval.tree import build, reading
from es_semantic.retrieval.tree.build import (
    Tree,
    auto,
    diversify,
    knn,
    linear,
    match,
    pinned,
    rerank,
    rescore,
    rrf,
    standard,
)
from es_semantic.retrieval.tree.nodes import (
    Diversify,
    Knn,
    Linear,
    Pinned,
    Rescorer,
    Rrf,
    Standard,
    kind,
    to_json,
    walk,
)
from es_semantic.retrieval.tree.parse import parse

QUERY = {"term": {"colour": "red"}}


def test_examples_in_the_documentation() -> None:
    for module in (build, reading):
        outcome = doctest.testmod(module)
        assert outcome.attempted
        assert not outcome.failed


def test_only_what_is_set_appears() -> None:
    leaf = {"standard": {"query": QUERY}}
    assert standard() == {"standard": {}}
    assert standard(QUERY) == leaf
    assert knn("v", vector=[1, 2]) == {"knn": {"field": "v", "query_vector": [1.0, 2.0], "k": 10, "num_candidates": 15}}
    assert rrf(leaf, leaf) == {"rrf": {"retrievers": [leaf, leaf]}}
    assert rrf(query="x") == {"rrf": {"query": "x"}}
    assert linear(leaf, normalizer=None) == {"linear": {"retrievers": [{"retriever": leaf}]}}
    assert linear(query="x", fields=["a^2"]) == {"linear": {"query": "x", "fields": ["a^2"], "normalizer": "minmax"}}
    assert auto(leaf) == {"auto": {"retrievers": [leaf]}}
    assert rerank(leaf, "x", field="a") == {
        "text_similarity_reranker": {"retriever": leaf, "inference_text": "x", "field": "a"}
    }
    assert rescore(leaf, QUERY) == {"rescorer": {"retriever": leaf, "rescore": {"query": {"rescore_query": QUERY}}}}
    assert pinned(leaf, ids=("1", "2")) == {"pinned": {"retriever": leaf, "ids": ["1", "2"]}}
    assert diversify(leaf, field="v", lambda_=0) == {
        "diversify": {"retriever": leaf, "type": "mmr", "field": "v", "lambda": 0}
    }


def test_what_is_set_is_read_with_the_same_values() -> None:
    base: dict[str, Any] = {"filter": [QUERY, QUERY], "min_score": 0.5, "name": "mine"}
    leaf = parse(
        standard(match("x", "a"), sort=["n"], search_after=[1], terminate_after=3, collapse={"field": "a"}, **base)
    )
    assert leaf == Standard(
        query={"multi_match": {"query": "x", "fields": ["a"]}},
        sort=["n"],
        search_after=[1],
        terminate_after=3,
        collapse={"field": "a"},
        filter=(QUERY, QUERY),
        min_score=0.5,
        name="mine",
    )
    nearest = parse(
        knn(
            "v",
            text="red",
            model="small",
            k=5,
            num_candidates=9,
            similarity=0.1,
            oversample=2,
            visit_percentage=1,
            **base,
        )
    )
    assert isinstance(nearest, Knn)
    assert nearest.query_vector_builder is not None
    assert nearest.query_vector_builder.text_embedding.model_text == "red"
    assert nearest.query_vector_builder.text_embedding.model_id == "small"
    assert nearest.rescore_vector is not None
    assert (nearest.k, nearest.num_candidates, nearest.similarity, nearest.rescore_vector.oversample) == (5, 9, 0.1, 2)
    assert (nearest.visit_percentage, nearest.name) == (1, "mine")
    rescored = parse(
        rescore(
            standard(),
            QUERY,
            window_size=20,
            query_weight=0.5,
            rescore_query_weight=2,
            score_mode="max",
            **base,
        )
    )
    assert isinstance(rescored, Rescorer)
    assert rescored.rescore == (
        {
            "window_size": 20,
            "query": {"rescore_query": QUERY, "query_weight": 0.5, "rescore_query_weight": 2, "score_mode": "max"},
        },
    )
    spread = parse(diversify(standard(), field="v", lambda_=0.5, size=3, vector=(1, 2), rank_window_size=20, **base))
    assert isinstance(spread, Diversify)
    assert (spread.lambda_, spread.size, spread.query_vector, spread.window) == (0.5, 3, (1.0, 2.0), 20)
    fused = parse(
        linear(standard(), standard(), weights=[2, 1], normalizer=["none", None], rank_window_size=20, **base)
    )
    assert isinstance(fused, Linear)
    assert [(entry.weight, entry.normalizer) for entry in fused.retrievers] == [(2, "none"), (1, None)]


def test_candidates_are_those_of_elastic_s_documentation() -> None:
    for k, candidates in ((1, 1), (2, 3), (10, 15), (101, 151), (6_666, 9_999), (7_000, 10_000), (10_000, 10_000)):
        assert knn("v", vector=[1], k=k)["knn"]["num_candidates"] == candidates
        assert isinstance(parse(knn("v", vector=[1], k=k)), Knn)


def test_vectors_may_be_arrays_or_elasticsearch_s_own_strings() -> None:
    array = np.array([0.5, 2], dtype=np.float32)
    assert knn("v", vector=array)["knn"]["query_vector"] == [0.5, 2.0]  # type: ignore[arg-type]
    assert knn("v", vector="P4AAAEAAAAA=")["knn"]["query_vector"] == "P4AAAEAAAAA="


def test_pins_may_be_pairs_or_elastic_s_own_objects() -> None:
    node = parse(pinned(standard(QUERY), docs=[("a", "1"), {"_id": "2"}]))
    assert isinstance(node, Pinned)
    assert [(pin.index, pin.id) for pin in node.pins] == [("a", "1"), (None, "2")]


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(UsageError, match="vector or a text"):
        knn("v")
    with pytest.raises(UsageError, match="vector or a text"):
        knn("v", vector=[1], text="x")
    with pytest.raises(UsageError, match="vector or a text"):
        diversify(standard(), field="v", lambda_=1, vector=[1], text="x")
    with pytest.raises(UsageError, match="2 retrievers and 1 weights"):
        rrf(standard(), standard(), weights=[1])
    with pytest.raises(UsageError, match="1 retrievers and 2 normalizers"):
        linear(standard(), normalizer=["none", "minmax"])
    with pytest.raises(UsageError, match="ids or docs"):
        pinned(standard())
    with pytest.raises(UsageError, match="ids or docs"):
        pinned(standard(), ids=["1"], docs=[("a", "1")])


# Numbers that single precision tells exactly, so that what is read is what was written.
WEIGHTS = st.integers(0, 40).map(lambda number: number / 4)
NAMES = st.text("abc", min_size=1, max_size=3)
QUERIES = st.builds(lambda field, value: {"term": {field: value}}, NAMES, st.text(max_size=5) | st.integers(-9, 9))
BASE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"filter": QUERIES | st.lists(QUERIES, max_size=2), "min_score": WEIGHTS, "name": NAMES}
)
TEXTS = st.text(min_size=1, max_size=10)
VECTORS = st.lists(WEIGHTS, min_size=1, max_size=4)
LEAVES = st.one_of(
    st.builds(lambda query, base: standard(query, **base), st.none() | QUERIES, BASE),
    st.builds(lambda text, fields, base: standard(match(text, fields), **base), TEXTS, st.lists(NAMES), BASE),
    st.builds(lambda vector, k, base: knn("v", vector=vector, k=k, **base), VECTORS, st.integers(1, 10_000), BASE),
    st.builds(lambda text, k, base: knn("v", text=text, k=k, **base), TEXTS, st.integers(1, 10_000), BASE),
)


@st.composite
def above(draw: st.DrawFn, inner: st.SearchStrategy[Tree]) -> Tree:
    """A retriever of any kind over others."""
    one, several = draw(inner), draw(st.lists(inner, min_size=1, max_size=3))
    base, window = draw(BASE), draw(st.none() | st.integers(1, 100))
    weights = draw(st.none() | st.lists(WEIGHTS, min_size=len(several), max_size=len(several)))
    normalizers = st.sampled_from(["none", "minmax", "l2_norm"])
    normalizer = draw(st.none() | normalizers | st.lists(normalizers, min_size=len(several), max_size=len(several)))
    return draw(
        st.sampled_from(
            [
                rrf(*several, weights=weights, rank_window_size=window, rank_constant=draw(st.integers(1, 99)), **base),
                linear(*several, weights=weights, normalizer=normalizer, rank_window_size=window, **base),
                auto(*several, rank_window_size=window, **base),
                rerank(
                    one, draw(TEXTS), field=draw(NAMES | st.lists(NAMES, min_size=2)), rank_window_size=window, **base
                ),
                rescore(one, draw(QUERIES), window_size=window, query_weight=draw(WEIGHTS), **base),
                pinned(one, ids=draw(st.lists(NAMES, min_size=1, unique=True)), rank_window_size=window, **base),
                diversify(one, field="v", lambda_=draw(st.sampled_from([0, 0.5, 1])), rank_window_size=window, **base),
            ]
        )
    )


@settings(deadline=None)
@given(st.recursive(LEAVES, above, max_leaves=4))
def test_what_is_built_can_be_read_and_means_the_same(tree: Tree) -> None:
    root = parse(tree)
    assert parse(to_json(root)) == root
    for path, node in walk(root):
        said = follow(tree, path)
        assert set(said) - {"filter"} <= {field.alias or name for name, field in type(node).model_fields.items()}
        if isinstance(node, Rrf | Linear):
            weights = [entry.get("weight", 1.0) for entry in said["retrievers"]]
            assert [entry.weight for entry in node.retrievers] == weights
        for name in ("query", "k", "num_candidates", "rank_constant", "inference_text", "min_score"):
            if name in said:
                assert getattr(node, name) == said[name]
        if "rank_window_size" in said:
            assert node.window == said["rank_window_size"]
        assert kind(node) == path.rpartition(".")[2]


def follow(tree: Any, path: str) -> Any:
    for step in path.replace("[", ".").replace("]", "").split("."):
        tree = tree[int(step)] if isinstance(tree, list) else tree[step]
    return tree
