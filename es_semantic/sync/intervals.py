"""Sets of whole numbers kept as closed intervals: which sequence numbers of a shard are known already."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

Interval = tuple[int, int]
"""First and last number, both included."""


class Intervals:
    """A set of whole numbers; adding neighbours merges them, so that a run of numbers costs one pair."""

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        """Start with these intervals, in any order."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in intervals:
            self.add(first, last)

    def __iter__(self) -> Iterator[Interval]:
        """Go through the intervals in ascending order; no two of them touch."""
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """Number of intervals."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        """Say whether the number is in the set."""
        at = bisect.bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def add(self, first: int, last: int | None = None) -> None:
        """Add the numbers from ``first`` to ``last``, or just ``first``."""
        last = first if last is None else last
        start = bisect.bisect_left(self._lasts, first - 1)
        end = bisect.bisect_right(self._firsts, last + 1)
        if start < end:
            first, last = min(first, self._firsts[start]), max(last, self._lasts[end - 1])
        self._firsts[start:end] = [first]
        self._lasts[start:end] = [last]

    def forget_through(self, number: int) -> None:
        """Remove every number up to and including this one."""
        end = bisect.bisect_right(self._lasts, number)
        del self._firsts[:end], self._lasts[:end]
        if self._firsts and self._firsts[0] <= number:
            self._firsts[0] = number + 1

    def gaps(self, after: int, through: int) -> Iterator[Interval]:
        """Go through what is missing from the numbers above ``after`` up to and including ``through``."""
        first = after + 1
        for start in range(bisect.bisect_left(self._lasts, first), len(self._firsts)):
            if self._firsts[start] > through:
                break
            if first < self._firsts[start]:
                yield first, self._firsts[start] - 1
            first = max(first, self._lasts[start] + 1)
        if first <= through:
            yield first, through
