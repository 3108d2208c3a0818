"""Reciprocal rank fusion against its definition, Elastic's documentation, and its rules for ties and weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import Fused, Place, single
from es_semantic.retrieval.fusion.rrf import rrf

Leg = list[tuple[str, float]]

SINGLE = 2.0**-24
"""Half the distance between two neighbouring numbers of single precision around 1: what one rounding changes."""


@st.composite
def legs(draw: st.DrawFn) -> list[Leg]:
    """Up to four legs over few keys and few scores, so that overlaps and ties are common."""
    ranked = []
    for _ in range(draw(st.integers(1, 4))):
        keys = draw(st.lists(st.sampled_from("abcdefgh"), unique=True))
        scores = sorted(draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=len(keys), max_size=len(keys))))
        ranked.append(list(zip(keys, reversed(scores), strict=True)))
    return ranked


@st.composite
def weighted_legs(draw: st.DrawFn) -> tuple[list[Leg], list[float]]:
    """Legs with a weight for each, of single precision as every weight that Elasticsearch reads."""
    ranked = draw(legs())
    weights = st.floats(0, 1_000, width=32, allow_subnormal=False)
    return ranked, draw(st.lists(weights, min_size=len(ranked), max_size=len(ranked)))


def definition(ranked: list[Leg], weights: Sequence[float], rank_constant: int) -> dict[str, Fraction]:
    """Cormack, Clarke and Buettcher 2009, weighted: the sum over the legs of w / (k + rank), in exact arithmetic."""
    totals: dict[str, Fraction] = {}
    for weight, leg in zip(weights, ranked, strict=True):
        for rank, (key, _) in enumerate(leg, start=1):
            totals[key] = totals.get(key, Fraction(0)) + Fraction(weight) / (rank_constant + rank)
    return totals


@given(weighted_legs(), st.integers(1, 100))
def test_scores_are_the_definition_in_single_precision(both: tuple[list[Leg], list[float]], rank_constant: int) -> None:
    ranked, weights = both
    totals = definition(ranked, weights, rank_constant)
    fused = rrf(ranked, weights=weights, rank_constant=rank_constant)
    assert {document.key for document in fused} == set(totals)
    for document in fused:
        # Three roundings: of the reciprocal, of its product with the weight, and of the sum.
        assert document.score == pytest.approx(float(totals[document.key]), rel=4 * SINGLE, abs=1e-40)
        assert document.score == single(document.score)


@given(weighted_legs())
def test_order_is_by_score(both: tuple[list[Leg], list[float]]) -> None:
    ranked, weights = both
    scores = [document.score for document in rrf(ranked, weights=weights)]
    assert scores == sorted(scores, reverse=True)


@given(weighted_legs().flatmap(lambda both: st.tuples(st.just(both), st.permutations(range(len(both[0]))))))
def test_the_order_of_the_legs_changes_only_ties(case: tuple[tuple[list[Leg], list[float]], list[int]]) -> None:
    (ranked, weights), order = case
    scores = {document.key: document.score for document in rrf(ranked, weights=weights)}
    shuffled = rrf([ranked[place] for place in order], weights=[weights[place] for place in order])
    # Two numbers add up to the same in any order; from three on the last digit may differ, as in Elasticsearch.
    rel = len(ranked) * SINGLE if len(ranked) > 2 else 0
    assert {document.key: document.score for document in shuffled} == pytest.approx(scores, rel=rel, abs=0)


def test_three_legs_are_added_one_after_the_other_as_elasticsearch_does() -> None:
    def leg(*keys: str) -> Leg:
        return [(key, 1.0) for key in keys]

    # x at the ranks 2, 3, 1 and y at 1, 2, 3: the same three numbers, and not the same sum.
    first, second, third = rrf([leg("y", "x"), leg("a", "y", "x"), leg("x", "b", "y")])[:3]
    fused = {one.key: one.score for one in (first, second, third)}
    one, two, three = (np.float32(1) / np.float32(60 + rank) for rank in (1, 2, 3))
    assert (fused["x"], fused["y"]) == (float((two + three) + one), float((one + two) + three))
    assert fused["y"] > fused["x"]
    assert first.key == "y"


@given(legs())
def test_every_place_is_kept(ranked: list[Leg]) -> None:
    for document in rrf(ranked):
        for leg, place in zip(ranked, document.places, strict=True):
            ranks = {key: Place(rank, score) for rank, (key, score) in enumerate(leg, start=1)}
            assert place == ranks.get(document.key)


@given(weighted_legs(), st.integers(-8, 8))
def test_a_power_of_two_on_all_weights_changes_nothing_but_the_scale(
    both: tuple[list[Leg], list[float]], power: int
) -> None:
    ranked, weights = both
    weights = [weight if weight >= 1 else 0.0 for weight in weights]  # Far from where small numbers lose digits.
    fused = rrf(ranked, weights=weights)
    scaled = rrf(ranked, weights=[weight * 2.0**power for weight in weights])
    assert [document.key for document in scaled] == [document.key for document in fused]
    assert [document.score for document in scaled] == [document.score * 2.0**power for document in fused]


@given(legs())
def test_without_weights_every_leg_weighs_one(ranked: list[Leg]) -> None:
    assert rrf(ranked) == rrf(ranked, weights=[1.0] * len(ranked))


@given(legs(), legs())
def test_a_leg_of_weight_zero_adds_documents_but_no_score(ranked: list[Leg], others: list[Leg]) -> None:
    alone = {document.key: document.score for document in rrf(ranked)}
    fused = rrf([*ranked, *others], weights=[1.0] * len(ranked) + [0.0] * len(others))
    assert {document.key: document.score for document in fused if document.score} == alone


def beats(a: tuple[Place | None, ...], b: tuple[Place | None, ...]) -> bool:
    """The rule for two documents of equal score: the first leg that has either decides, by rank."""
    mine, other = next((m, o) for m, o in zip(a, b, strict=True) if m or o)
    return mine is not None and (other is None or mine.rank < other.rank)


@given(legs())
def test_ties_go_to_the_first_leg_that_has_either(ranked: list[Leg]) -> None:
    for first, second in itertools.combinations(rrf(ranked), 2):
        if first.score == second.score:
            assert beats(first.places, second.places)


@given(weighted_legs())
def test_ties_go_by_the_tie_function_where_there_is_one(both: tuple[list[Leg], list[float]]) -> None:
    ranked, weights = both
    for first, second in itertools.combinations(rrf(ranked, weights=weights, tie=lambda key: -ord(key)), 2):
        assert (first.score, first.key) > (second.score, second.key)


def keys(fused: list[Fused[str]]) -> list[str]:
    return [document.key for document in fused]


def test_the_example_of_elastic_s_documentation() -> None:
    """Elastic docs, "Retrievers examples": rank_constant 1, ranks (1, 2), (2, 1) and (-, 3)."""
    fused = rrf([[("1", 0.9), ("2", 0.8)], [("2", 0.9), ("1", 0.8), ("3", 0.7)]], rank_constant=1)
    assert [(document.key, f"{document.score:.7g}") for document in fused] == [
        ("1", "0.8333334"),
        ("2", "0.8333334"),
        ("3", "0.25"),
    ]


def test_hand_computed_with_weights() -> None:
    fused = rrf([[("a", 9.0), ("b", 8.0)], [("b", 0.9), ("c", 0.8)]], weights=[0.5, 4], rank_constant=2)
    # b: 0.5 / 4 + 4 / 3, c: 4 / 4, a: 0.5 / 3
    assert keys(fused) == ["b", "c", "a"]
    assert [document.score for document in fused] == pytest.approx([35 / 24, 1.0, 1 / 6], rel=2 * SINGLE)


def test_a_tie_in_single_precision_that_doubles_would_tell_apart() -> None:
    # 1/61 + 1/63 and 1/62 + 1/62 differ; 1/(k+1) and 1/(k+2) do not, where k is so large.
    fused = rrf([[("a", 2.0), ("b", 1.0)]], rank_constant=2**30)
    assert fused[0].score == fused[1].score
    assert keys(rrf([[("a", 2.0), ("b", 1.0)]], rank_constant=2**30, tie=lambda key: -ord(key))) == ["b", "a"]


def test_a_tie_is_decided_by_rank_and_not_by_score() -> None:
    # Both have ranks 1 and 2; that the second leg scores higher does not matter.
    assert keys(rrf([[("a", 0.1), ("b", 0.0)], [("b", 99.0), ("a", 1.0)]])) == ["a", "b"]
    assert keys(rrf([[("b", 5.0), ("a", 5.0)], [("a", 0.9), ("b", 0.8)]])) == ["b", "a"]


def test_in_a_tie_present_beats_absent() -> None:
    assert keys(rrf([[("a", 1.0)], [("b", 99.0)]])) == ["a", "b"]
    assert keys(rrf([[], [("b", 1.0)], [("a", 99.0)]])) == ["b", "a"]


def test_nothing_fuses_to_nothing() -> None:
    assert rrf([]) == []
    assert rrf([[], []]) == []


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="rank_constant"):
        rrf([[("a", 1.0)]], rank_constant=0)
    with pytest.raises(UsageError, match="twice"):
        rrf([[("a", 1.0), ("a", 1.0)]])
    with pytest.raises(UsageError, match="1 legs and 2 weights"):
        rrf([[("a", 1.0)]], weights=[1, 2])
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="a weight must be 0 or more"):
            rrf([[("a", 1.0)]], weights=[weight])
