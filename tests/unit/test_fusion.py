"""Reciprocal rank fusion against its definition and against Elastic's rule for ties."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import Place, named
from es_semantic.retrieval.fusion.rrf import rrf

Leg = list[tuple[str, float]]


@st.composite
def legs(draw: st.DrawFn) -> list[Leg]:
    """Up to four legs over few keys and few scores, so that overlaps and ties are common."""
    ranked = []
    for _ in range(draw(st.integers(1, 4))):
        keys = draw(st.lists(st.sampled_from("abcdefgh"), unique=True))
        scores = sorted(draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=len(keys), max_size=len(keys))))
        ranked.append(list(zip(keys, reversed(scores), strict=True)))
    return ranked


def definition(ranked: list[Leg], rank_constant: int) -> dict[str, Fraction]:
    """Cormack, Clarke and Buettcher 2009: the sum over the legs of 1 / (k + rank), in exact arithmetic."""
    totals: dict[str, Fraction] = {}
    for leg in ranked:
        for rank, (key, _) in enumerate(leg, start=1):
            totals[key] = totals.get(key, Fraction(0)) + Fraction(1, rank_constant + rank)
    return totals


@given(legs(), st.integers(1, 100))
def test_scores_are_the_definition(ranked: list[Leg], rank_constant: int) -> None:
    totals = definition(ranked, rank_constant)
    fused = rrf(ranked, rank_constant=rank_constant)
    assert {document.key for document in fused} == set(totals)
    for document in fused:
        assert document.score == pytest.approx(float(totals[document.key]), rel=1e-12)


@given(legs())
def test_order_is_by_score(ranked: list[Leg]) -> None:
    scores = [document.score for document in rrf(ranked)]
    assert scores == sorted(scores, reverse=True)


@given(legs().flatmap(lambda ranked: st.tuples(st.just(ranked), st.permutations(ranked))))
def test_the_order_of_the_legs_changes_only_ties(both: tuple[list[Leg], list[Leg]]) -> None:
    ranked, shuffled = both
    scores = {document.key: document.score for document in rrf(ranked)}
    assert {document.key: document.score for document in rrf(shuffled)} == scores


@given(legs())
def test_every_place_is_kept(ranked: list[Leg]) -> None:
    for document in rrf(ranked):
        for leg, place in zip(ranked, document.places, strict=True):
            ranks = {key: Place(rank, score) for rank, (key, score) in enumerate(leg, start=1)}
            assert place == ranks.get(document.key)


def beats(a: tuple[Place | None, ...], b: tuple[Place | None, ...]) -> bool:
    """Elastic's rule for two documents of equal score, leg by leg, as the documentation of this module has it."""
    for mine, other in zip(a, b, strict=True):
        if mine is None and other is None:
            continue
        if mine is None or other is None:
            return mine is not None
        if mine.score != other.score:
            return mine.score > other.score
    both = next((m, o) for m, o in zip(a, b, strict=True) if m and o)
    return both[0].rank < both[1].rank


@given(legs())
def test_ties_follow_the_rule(ranked: list[Leg]) -> None:
    fused = rrf(ranked)
    for first, second in itertools.combinations(fused, 2):
        if first.score == second.score:
            assert beats(first.places, second.places)


def test_hand_computed() -> None:
    fused = rrf([[("a", 9.0), ("b", 8.0)], [("b", 0.9), ("c", 0.8)]])
    assert [document.key for document in fused] == ["b", "a", "c"]
    assert [document.score for document in fused] == [1 / 62 + 1 / 61, 1 / 61, 1 / 62]


def test_a_tie_goes_to_the_higher_score_in_the_first_leg_that_tells_them_apart() -> None:
    fused = rrf([[("a", 5.0), ("b", 4.0)], [("b", 0.9), ("a", 0.8)]])
    assert [document.key for document in fused] == ["a", "b"]
    fused = rrf([[("b", 5.0), ("a", 5.0)], [("a", 0.9), ("b", 0.8)]])
    assert [document.key for document in fused] == ["a", "b"]


def test_in_a_tie_present_beats_absent() -> None:
    fused = rrf([[("a", 1.0)], [("b", 99.0)]])
    assert [document.key for document in fused] == ["a", "b"]


def test_a_complete_tie_keeps_the_first_leg_s_order() -> None:
    fused = rrf([[("b", 1.0), ("a", 1.0)], [("a", 1.0), ("b", 1.0)]])
    assert [document.key for document in fused] == ["b", "a"]


def test_nothing_fuses_to_nothing() -> None:
    assert rrf([]) == []
    assert rrf([[], []]) == []


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="rank_constant"):
        rrf([[("a", 1.0)]], rank_constant=0)
    with pytest.raises(UsageError, match="twice"):
        rrf([[("a", 1.0), ("a", 1.0)]])


def test_named_leaves_out_legs_that_did_not_find_it() -> None:
    assert named((None, Place(1, 2.0)), ("bm25", "knn")) == {"knn": Place(1, 2.0)}
