"""What the feed asks for covers every unread sequence number exactly once."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from es_semantic.sync.feed import MAX_RANGES, above, take
from es_semantic.sync.intervals import Intervals

unread = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))).map(
    lambda pairs: list(Intervals(pairs))
)


def numbers(ranges: list[tuple[int, int]]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


@given(unread, st.integers(1, 50))
def test_taking_goes_through_all_in_order(ranges: list[tuple[int, int]], span: int) -> None:
    left, seen = deque(ranges), []
    while left:
        part = take(left, span)
        assert 1 <= len(part) <= MAX_RANGES
        assert 1 <= len(numbers(part)) <= span
        seen += numbers(part)
    assert seen == numbers(ranges)


@given(unread, st.integers(-1, 420))
def test_a_full_page_leaves_what_is_above_it(ranges: list[tuple[int, int]], number: int) -> None:
    assert numbers(above(ranges, number)) == [each for each in numbers(ranges) if each > number]
