"""Automatic fusion against examples by hand and against what it promises of any legs."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.auto import auto, weights
from es_semantic.retrieval.fusion.ranked import Place

Leg = list[tuple[str, float]]

SINGLE = 1e-6
"""Fused scores are of single precision."""

SCORES = st.one_of(st.integers(-40, 40).map(lambda quarters: quarters / 4), st.sampled_from([0.0, 1.0, 2.0]))


@st.composite
def a_leg(draw: st.DrawFn, *, keys: str = "abcdefghijklmnopqrst") -> Leg:
    """Up to twenty hits, best first; some scores are equal."""
    found = draw(st.lists(st.sampled_from(keys), unique=True))
    scores = draw(st.lists(SCORES, min_size=len(found), max_size=len(found)))
    return list(zip(found, sorted(scores, reverse=True), strict=True))


LEGS = st.lists(a_leg(), min_size=1, max_size=4)


def scores_of(legs: list[Leg]) -> dict[str, float]:
    return {document.key: document.score for document in auto(legs)}


def exponential(count: int, *, keys: str = "k", top: float = 1.0) -> Leg:
    """The scores that an exponential distribution gives on average: nothing stands out. ``top`` multiplies the best."""
    quantiles = [math.log(count / (rank + 0.5)) for rank in range(count)]
    return [(f"{keys}{rank}", score * (top if rank == 0 else 1.0)) for rank, score in enumerate(quantiles)]


def test_hand_computed() -> None:
    legs = [[("a", 9.0), ("b", 5.0), ("c", 1.0)], [("b", 0.9), ("d", 0.8)]]
    # First leg: minimum 1, mean 5, so the scale is (5 - 1) * 3/2 = 6 and the last hit has 1/3.
    a, b, c = 1 / 3 + 8 / 6, 1 / 3 + 4 / 6, 1 / 3
    # Second leg: scale (0.85 - 0.8) * 2 = 0.1, last hit 1/2; two hits where the other leg has three.
    rare = math.log(3 / 2)
    second_b, d = 1.5 + rare, 0.5 + rare
    first_sharp = (a * a + b * b + c * c) / (a + b + c)
    second_sharp = (second_b * second_b + d * d) / (second_b + d)
    first, second = (sharp / (first_sharp + second_sharp) for sharp in (first_sharp, second_sharp))

    assert weights(legs) == pytest.approx([first, second])
    fused = auto(legs)
    assert [document.key for document in fused] == ["b", "a", "d", "c"]
    expected = [first * b + second * second_b, first * a, second * d, first * c]
    assert [document.score for document in fused] == pytest.approx(expected, rel=SINGLE)
    assert fused[0].places == (Place(2, 5.0), Place(1, 0.9))
    assert fused[1].places == (Place(1, 9.0), None)


def test_the_lowest_tenth_does_not_set_the_scale() -> None:
    leg = [(f"d{score}", float(score)) for score in range(20, 10, -1)]
    outlier = [*leg[:-1], ("d11", -1000.0)]
    expected = [document.score for document in auto([leg])]
    assert [document.score for document in auto([outlier])] == pytest.approx(expected, rel=SINGLE)
    # Nine tenths of the hits: scale (16 - 12) * 9/8 = 4.5, and log(10/9) + 1/9 for the lowest of them, 12.
    assert expected[0] == pytest.approx(math.log(10 / 9) + 1 / 9 + 8 / 4.5, rel=SINGLE)
    assert expected[-1] == pytest.approx(1 / 10, rel=SINGLE)


def test_a_leg_counts_more_the_more_its_best_hits_stand_out() -> None:
    shares = [weights([exponential(50), exponential(50, keys="s", top=top)])[1] for top in (1.0, 2.0, 4.0, 8.0)]
    assert shares[0] == pytest.approx(0.5)
    assert shares == sorted(shares)
    assert shares[-1] > 0.8


def test_few_hits_are_rare_hits() -> None:
    many, few = exponential(100), [("r1", 3.0), ("r2", 2.0)]
    assert auto([many, few])[0].key == "r1"
    assert weights([many, few])[1] > 0.5


def test_a_leg_that_was_asked_for_few_hits_does_not_count_more_for_that() -> None:
    many = exponential(100)
    few = exponential(100, keys="s")[:10]
    assert weights([many, few])[1] > 0.6
    assert weights([many, few], windows=[100, 10])[1] == pytest.approx(0.5, abs=0.05)
    # One that was asked for more and has found no more is what it was without windows.
    assert weights([many, few], windows=[100, 100]) == weights([many, few])


@given(LEGS)
def test_scores_are_finite_and_ordered(legs: list[Leg]) -> None:
    fused = auto(legs)
    assert {document.key for document in fused} == {key for leg in legs for key, _ in leg}
    scores = [document.score for document in fused]
    assert all(math.isfinite(score) and score > 0 for score in scores)
    assert scores == sorted(scores, reverse=True)
    assert fused == auto(legs)


@given(LEGS)
def test_weights_are_shares(legs: list[Leg]) -> None:
    shares = weights(legs)
    assert [share > 0 for share in shares] == [bool(leg) for leg in legs]
    assert sum(shares) == pytest.approx(1.0 if any(legs) else 0.0)


@given(LEGS.flatmap(lambda legs: st.tuples(st.just(legs), st.permutations(legs))))
def test_the_order_of_the_legs_changes_only_ties(both: tuple[list[Leg], list[Leg]]) -> None:
    legs, shuffled = both
    assert scores_of(legs) == scores_of(shuffled)


@given(LEGS, st.data())
def test_a_factor_and_a_constant_change_nothing(legs: list[Leg], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(legs) - 1))
    factor, constant = data.draw(st.floats(0.001, 1000)), data.draw(st.floats(-1000, 1000))
    moved = [(key, factor * score + constant) for key, score in legs[number]]
    after = [*legs[:number], moved, *legs[number + 1 :]]
    assert weights(after) == pytest.approx(weights(legs), rel=1e-5)
    assert scores_of(after) == pytest.approx(scores_of(legs), rel=1e-5)


@given(a_leg(), st.integers(0, 3), st.integers(0, 3))
def test_empty_legs_leave_the_other_s_order(leg: Leg, before: int, after: int) -> None:
    fused = auto([*[[]] * before, leg, *[[]] * after])
    assert [document.key for document in fused] == [key for key, _ in leg]


@given(LEGS)
def test_what_no_leg_ranks_lower_is_never_lower(legs: list[Leg]) -> None:
    fused = auto(legs)
    for first, second in itertools.combinations(fused, 2):
        pairs = list(zip(first.places, second.places, strict=True))
        behind = all(b is not None and (a is None or b.rank < a.rank) for a, b in pairs if a is not None or b)
        assert not behind, f"{second.key} is before {first.key} in every leg that has either"


@given(a_leg(), st.floats(-1e308, 1e308))
def test_equal_scores_keep_their_order(leg: Leg, score: float) -> None:
    equal = [(key, score) for key, _ in leg]
    fused = auto([equal])
    assert [document.key for document in fused] == [key for key, _ in leg]
    assert all(document.score == pytest.approx(1.0) for document in fused)


@pytest.mark.parametrize("scores", [(1.7e308, -1.7e308), (5e-324, 0.0), (1.0, 1.0 - 2**-53), (3e38, 1e-38)])
def test_extreme_scores_are_scores(scores: tuple[float, float]) -> None:
    fused = auto([[("a", scores[0]), ("b", scores[1])], [("b", 2.0), ("c", 1.0)]])
    assert all(math.isfinite(document.score) and document.score > 0 for document in fused)


def test_a_tie_is_the_caller_s_to_break() -> None:
    legs = [[("b", 1.0)], [("a", 1.0)]]
    assert [document.key for document in auto(legs)] == ["b", "a"]
    assert [document.key for document in auto(legs, tie=lambda key: key)] == ["a", "b"]


def test_nothing_fuses_to_nothing() -> None:
    assert auto([]) == []
    assert auto([[], []]) == []
    assert weights([]) == []
    assert weights([[], []]) == [0.0, 0.0]


@pytest.mark.parametrize("score", [math.inf, -math.inf, math.nan])
def test_scores_that_are_no_numbers_are_refused(score: float) -> None:
    legs = [[("a", 2.0)], [("a", score), ("b", 1.0)]]
    for function in (auto, weights):
        with pytest.raises(UsageError, match="leg 1 has a score that is not a finite number"):
            function(legs)


def test_a_key_that_a_leg_names_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        auto([[("a", 2.0), ("a", 1.0)]])


@pytest.mark.parametrize("windows", [[10], [10, 10, 10], [10, 0]])
def test_windows_that_do_not_fit_are_refused(windows: list[int]) -> None:
    with pytest.raises(UsageError, match="windows"):
        auto([[("a", 2.0)], []], windows=windows)
