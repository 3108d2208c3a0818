"""Weighted sums of normalised scores against their definition, Elastic's documentation, and edge cases."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.linear import linear
from es_semantic.retrieval.fusion.linear import normalized as as_array
from es_semantic.retrieval.fusion.ranked import Place, single

Leg = list[tuple[str, float]]
Case = tuple[list[Leg], list[float], list[str]]

NORMALIZERS = ("none", "minmax", "l2_norm")
SINGLE = 2.0**-24
SCORES = st.floats(2**-10, 1_000, width=32)


def normalized(scores: list[float], normalizer: str) -> list[float]:
    shares: list[float] = as_array(scores, normalizer).tolist()
    return shares


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Up to four legs with weights and normalizers; few keys, so that overlaps are common."""
    ranked = []
    for _ in range(draw(st.integers(1, 4))):
        keys = draw(st.lists(st.sampled_from("abcdefgh"), unique=True))
        scores = draw(st.lists(SCORES | st.sampled_from([1.0, 2.0]), min_size=len(keys), max_size=len(keys)))
        ranked.append(list(zip(keys, sorted(scores, reverse=True), strict=True)))
    weights = draw(st.lists(st.floats(0, 100, width=32), min_size=len(ranked), max_size=len(ranked)))
    normalizers = draw(st.lists(st.sampled_from(NORMALIZERS), min_size=len(ranked), max_size=len(ranked)))
    return ranked, weights, normalizers


def definition(case: Case) -> dict[str, float]:
    """Elastic docs, "Linear retriever": the sum of weight * normalizer(score), minmax in exact arithmetic."""
    totals: dict[str, float] = {}
    for leg, weight, normalizer in zip(*case, strict=True):
        scores = [Fraction(score) for _, score in leg]
        for (key, _), score in zip(leg, scores, strict=True):
            low, high = min(scores), max(scores)
            share = {
                "none": score,
                "minmax": Fraction(1) if high - low < 1e-6 else (score - low) / ((high - low) or 1),
                "l2_norm": score / Fraction(math.sqrt(sum(float(each) ** 2 for each in scores))),
            }[normalizer]
            totals[key] = totals.get(key, 0.0) + weight * float(share)
    return totals


@given(cases())
def test_scores_are_the_definition_in_single_precision(case: Case) -> None:
    ranked, weights, normalizers = case
    fused = linear(ranked, weights=weights, normalizers=normalizers)
    expected = definition(case)
    assert {document.key for document in fused} == set(expected)
    for document in fused:
        # At most five roundings: two differences, the quotient, the product and the sum.
        assert document.score == pytest.approx(expected[document.key], rel=6 * SINGLE, abs=1e-37)
        assert document.score == single(document.score)


@given(cases())
def test_order_is_by_score_and_ties_by_the_first_leg_that_has_either(case: Case) -> None:
    ranked, weights, normalizers = case
    fused = linear(ranked, weights=weights, normalizers=normalizers)
    for first, second in itertools.pairwise(fused):
        assert first.score >= second.score
        if first.score == second.score:
            places = zip(first.places, second.places, strict=True)
            mine, other = next((m, o) for m, o in places if m or o)
            assert mine is not None
            assert other is None or mine.rank < other.rank


@given(cases().flatmap(lambda case: st.tuples(st.just(case), st.permutations(range(len(case[0]))))))
def test_the_order_of_the_legs_changes_only_ties(both: tuple[Case, list[int]]) -> None:
    (ranked, weights, normalizers), order = both
    scores = {document.key: document.score for document in linear(ranked, weights=weights, normalizers=normalizers)}
    shuffled = linear(
        [ranked[place] for place in order],
        weights=[weights[place] for place in order],
        normalizers=[normalizers[place] for place in order],
    )
    # From three numbers on the last digit may depend on their order, as in Elasticsearch.
    most = max((abs(score) for score in scores.values()), default=0.0)
    off = len(ranked) * 2.0**-23 * most if len(ranked) > 2 else 0
    assert {document.key: document.score for document in shuffled} == pytest.approx(scores, rel=0, abs=off)


@given(cases(), st.integers(-8, 8))
def test_a_power_of_two_on_all_weights_changes_nothing_but_the_scale(case: Case, power: int) -> None:
    ranked, weights, normalizers = case
    weights = [weight if weight >= 1 else 0.0 for weight in weights]
    fused = linear(ranked, weights=weights, normalizers=normalizers)
    scaled = linear(ranked, weights=[weight * 2.0**power for weight in weights], normalizers=normalizers)
    if all(score == 0 or score > 1e-20 for score in (document.score for document in fused)):
        assert [document.key for document in scaled] == [document.key for document in fused]
        assert [document.score for document in scaled] == [document.score * 2.0**power for document in fused]


@given(cases())
def test_every_place_is_kept_with_the_score_as_it_was(case: Case) -> None:
    ranked, weights, normalizers = case
    for document in linear(ranked, weights=weights, normalizers=normalizers):
        for leg, place in zip(ranked, document.places, strict=True):
            ranks = {key: Place(rank, score) for rank, (key, score) in enumerate(leg, start=1)}
            assert place == ranks.get(document.key)


@given(st.lists(SCORES))
def test_minmax_lies_between_0_and_1_and_keeps_the_order(scores: list[float]) -> None:
    shares = normalized(sorted(scores, reverse=True), "minmax")
    assert shares == sorted(shares, reverse=True)
    assert not shares or shares[0] == 1
    assert all(share >= 0 for share in shares)


@given(st.lists(SCORES, min_size=1))
def test_the_squares_of_l2_norm_sum_to_1(scores: list[float]) -> None:
    assert math.fsum(share * share for share in normalized(scores, "l2_norm")) == pytest.approx(1, rel=1e-5)


def test_the_example_of_elastic_s_documentation() -> None:
    """Elastic docs, "Retrievers examples": a query and a kNN search with weights 2 and 1.5, both by ``minmax``.

    The scores of both legs are what Elasticsearch 9.4.3 gives for the page's documents. The answer printed on the page
    (3.5, 2.3 and 0.1) is not what its own formula makes of them: the last of the nearest must have 0.
    """
    words, vectors = [("2", 2.8453388), ("1", 2.7929919)], [("1", 1.0), ("2", 0.9649715), ("3", 0.8537522)]
    fused = linear([words, vectors], weights=[2, 1.5], normalizers=["minmax", "minmax"])
    assert [document.key for document in fused] == ["2", "1", "3"]
    by_hand = [2 * 1.0 + 1.5 * (0.9649715 - 0.8537522) / (1.0 - 0.8537522), 2 * 0.0 + 1.5 * 1.0, 1.5 * 0.0]
    assert [document.score for document in fused] == pytest.approx(by_hand, rel=1e-6)
    assert by_hand == pytest.approx([3.14073, 1.5, 0.0], abs=1e-5)


def test_l2_norm_by_hand() -> None:
    """The scores 5 and 12 of one leg, as in Elastic's own tests: their norm is 13."""
    assert normalized([12.0, 5.0], "l2_norm") == [single(12 / 13), single(5 / 13)]
    fused = linear([[("four", 12.0), ("one", 5.0)]], normalizers=["l2_norm"])
    assert [document.score for document in fused] == [single(12 / 13), single(5 / 13)]


def test_without_weights_and_normalizers_scores_are_added() -> None:
    fused = linear([[("a", 3.0), ("b", 2.0)], [("b", 1.5)]])
    assert [(document.key, document.score) for document in fused] == [("b", 3.5), ("a", 3.0)]


def test_equal_scores_are_1_by_minmax() -> None:
    # One document, or several that score the same: Elasticsearch gives 1 since 8.18.3, 8.19 and 9.0.3.
    assert normalized([7.0], "minmax") == [1.0]
    assert normalized([0.0], "minmax") == [1.0]
    assert normalized([0.5, 0.5], "minmax") == [1.0, 1.0]
    assert normalized([1.0000001, 1.0], "minmax") == [1.0, 1.0]
    assert normalized([1.00001, 1.0], "minmax") == [1.0, 0.0]


def test_negative_scores_by_minmax() -> None:
    assert normalized([1.0, 0.0, -3.0], "minmax") == [1.0, 0.75, 0.0]
    assert normalized([-1.0, -3.0], "minmax") == [1.0, 0.0]


def test_scores_of_nothing() -> None:
    for normalizer in NORMALIZERS:
        assert normalized([], normalizer) == []
    assert normalized([0.0, 0.0], "l2_norm") == [0.0, 0.0]
    assert linear([]) == []
    assert linear([[], []], normalizers=["minmax", "l2_norm"]) == []


def test_ties_go_by_the_tie_function_where_there_is_one() -> None:
    legs = [[("a", 1.0), ("b", 1.0)]]
    assert [document.key for document in linear(legs)] == ["a", "b"]
    assert [document.key for document in linear(legs, tie=lambda key: -ord(key))] == ["b", "a"]


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown normalizer \[foo\]"):
        linear([[("a", 1.0)]], normalizers=["foo"])
    with pytest.raises(UsageError, match="1 legs and 2 normalizers"):
        linear([[("a", 1.0)]], normalizers=["none", "none"])
    with pytest.raises(UsageError, match="1 legs and 0 weights"):
        linear([[("a", 1.0)]], weights=[])
    with pytest.raises(UsageError, match="twice"):
        linear([[("a", 1.0), ("a", 1.0)]])
