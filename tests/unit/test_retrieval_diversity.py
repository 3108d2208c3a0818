"""Maximal marginal relevance against its definition, and pins."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from es_semantic.retrieval.diversity import diversified, vectors_of
from es_semantic.retrieval.found import Key, Ranking
from es_semantic.retrieval.pins import MAX_ORGANIC_SCORE, pinned
from es_semantic.retrieval.tree.nodes import Diversify, PinnedDocument, contained
from es_semantic.retrieval.tree.parse import parse

SEED = int(os.environ.get("ES_SEMANTIC_SEED", "20261121"))

Chunks = list[list[float]]
"""A document's vectors."""

component = st.integers(-3, 3).map(float)
vectors = st.lists(component, min_size=2, max_size=2)
weights = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


def key(number: int) -> Key:
    return "index", str(number), ""


def node(field: str = "vector", **options: Any) -> Diversify:
    standard = parse({"standard": {}})
    return Diversify(retriever=contained(standard), type="mmr", field=field, rank_window_size=100, **options)


def similarity(one: Chunks, other: Chunks) -> float:
    """Lucene's scaled maximum inner product; the most similar pair counts."""
    dot = max(sum(a * b for a, b in zip(left, right, strict=True)) for left in one for right in other)
    return 1 / (1 - dot) if dot < 0 else dot + 1


def by_definition(documents: list[Chunks], query: list[float] | None, weight: float, wanted: int) -> set[int]:
    there = [number for number, document in enumerate(documents) if document]
    to_query = {number: similarity(documents[number], [query]) if query else 0.0 for number in there}
    taken: list[int] = []
    while there and len(taken) < wanted:

        def marginal(number: int) -> float:
            like = max((similarity(documents[number], documents[other]) for other in taken), default=None)
            # The first one is the most similar, whatever the weight.
            return to_query[number] if like is None else weight * to_query[number] - (1 - weight) * like

        best = max(there, key=lambda number: (np.float32(marginal(number)), -number))
        taken.append(best)
        there.remove(best)
    return set(taken)


@seed(SEED)
@settings(max_examples=300, deadline=None, database=None)
@given(
    documents=st.lists(st.lists(vectors, max_size=2), max_size=8),
    query=st.none() | vectors,
    weight=weights,
    wanted=st.integers(1, 10),
)
def test_what_is_taken(documents: list[Chunks], query: list[float] | None, weight: float, wanted: int) -> None:
    ranking: Ranking = [(key(number), 9.0 - number) for number in range(len(documents))]
    carried = {
        key(number): {"parts": [{"vector": vector} for vector in document]} for number, document in enumerate(documents)
    }
    options: dict[str, Any] = {} if query is None else {"query_vector": tuple(query)}
    kept = diversified(node("parts.vector", lambda_=weight, size=wanted, **options), ranking, carried)
    expected = by_definition(documents, query, weight, wanted)
    assert [int(doc_id) for (_, doc_id, _), _ in kept] == sorted(expected)
    assert all(score == 9.0 - int(doc_id) for (_, doc_id, _), score in kept)


def test_vectors_of_nested_fields() -> None:
    chunks = {"semantic.chunks": [{"vector": [1.0, 2.0], "start": [0]}, {"start": [7]}, {"vector": [3.0, 4.0]}]}
    assert vectors_of(chunks, "semantic.chunks.vector").tolist() == [[1, 2], [3, 4]]
    twice = {"a": [{"b": [{"vector": [1.0]}]}, {"b": [{"vector": [2.0]}, {"vector": [3.0]}]}]}
    assert vectors_of(twice, "a.b.vector").tolist() == [[1], [2], [3]]
    assert vectors_of({"vector": [1.0, 2.0]}, "vector").tolist() == [[1, 2]]
    assert len(vectors_of({"title": ["x"]}, "vector")) == 0
    assert len(vectors_of({"a": [{"c": [1]}]}, "a.b")) == 0


def test_a_query_of_other_dimensions() -> None:
    with pytest.raises(ValueError, match="vector dimensions differ: 2!=3"):
        diversified(node(lambda_=0.5, query_vector=(1.0, 2.0, 3.0)), [(key(1), 1.0)], {key(1): {"vector": [1.0, 2.0]}})


def test_a_thousand_documents_are_a_moment() -> None:
    """No loop in Python over pairs: a window of ten thousand must not take minutes."""
    generator = np.random.default_rng(7)
    count = 1_000
    carried = {key(number): {"vector": generator.standard_normal(64).tolist()} for number in range(count)}
    ranking: Ranking = [(key(number), float(count - number)) for number in range(count)]
    kept = diversified(node(lambda_=0.5, size=100), ranking, carried)
    assert len(kept) == 100


def pin(doc_id: str, index: str | None = None) -> PinnedDocument:
    return PinnedDocument(id=doc_id, index=index)


def is_pinned(pin: PinnedDocument, key: Key) -> bool:
    return pin.id == key[1] and pin.index in (None, key[0])


def test_pins_stand_first_in_their_order() -> None:
    organic: Ranking = [(("a", "1", ""), 3.0), (("b", "2", ""), 2.0), (("a", "2", ""), 1.0)]
    there: Ranking = [(("a", "2", ""), 0.0), (("b", "2", ""), 0.0), (("a", "7", "x"), 0.0)]
    pins = [pin("7"), pin("2", "a"), pin("missing")]
    found = pinned(pins, there, organic, is_pinned, lambda key: key)
    assert [key for key, _ in found] == [("a", "7", "x"), ("a", "2", ""), ("a", "1", ""), ("b", "2", "")]
    scores = [score for _, score in found]
    # One after the other of single precision's numbers, the last pin's two above the limit.
    steps = [np.float32(MAX_ORGANIC_SCORE)]
    for _ in range(4):
        steps.append(np.nextafter(steps[-1], np.float32(math.inf)))
    assert scores == [float(steps[4]), float(steps[3]), 3.0, 2.0]


def test_a_pin_for_every_index_is_one_place() -> None:
    there: Ranking = [(("b", "1", ""), 0.0), (("a", "1", ""), 0.0)]
    found = pinned([pin("1"), pin("1", "a")], there, [], is_pinned, lambda key: key)
    assert [key for key, _ in found] == [("a", "1", ""), ("b", "1", "")]
    assert len({score for _, score in found}) == 1


def test_others_are_cut_off_below_the_pins() -> None:
    found = pinned([pin("1")], [(("a", "1", ""), 0.0)], [(("a", "2", ""), 3e38)], is_pinned, lambda key: key)
    assert found[1] == (("a", "2", ""), MAX_ORGANIC_SCORE)
    assert found[0][1] > MAX_ORGANIC_SCORE
