"""Intervals are a set of numbers, whatever the order in which they are added."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from es_semantic.sync.intervals import Intervals

pairs = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)).map(lambda pair: (pair[0], sum(pair))))


def members(intervals: Intervals) -> set[int]:
    return {number for first, last in intervals for number in range(first, last + 1)}


def naive(added: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in added for number in range(first, last + 1)}


@given(pairs)
def test_what_is_added_is_in_it_and_nothing_else(added: list[tuple[int, int]]) -> None:
    intervals = Intervals(added)
    assert members(intervals) == naive(added)
    assert {number for number in range(-2, 70) if number in intervals} == naive(added)
    listed = list(intervals)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(listed))
    assert len(intervals) == len(listed)


@given(pairs, st.integers(-2, 70))
def test_forgetting(added: list[tuple[int, int]], number: int) -> None:
    intervals = Intervals(added)
    intervals.forget_through(number)
    assert members(intervals) == {each for each in naive(added) if each > number}


@given(pairs, st.integers(-1, 70), st.integers(-1, 70))
def test_gaps_are_the_rest(added: list[tuple[int, int]], after: int, through: int) -> None:
    gaps = list(Intervals(added).gaps(after, through))
    assert naive(gaps) == set(range(after + 1, through + 1)) - naive(added)
    assert all(first <= last for first, last in gaps)


def test_a_run_of_numbers_costs_one_pair() -> None:
    intervals = Intervals()
    for number in [5, 3, 4, 9, 8, 7, 6]:
        intervals.add(number)
    assert list(intervals) == [(3, 9)]
