"""How long one reranking may take: a search waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from es_semantic import deadline as waiting
from es_semantic.errors import RerankerUnavailable

T = TypeVar("T")


class Deadline:
    """A number of seconds from now on, for the reranker ``name``."""

    def __init__(self, seconds: float, name: str) -> None:
        self._seconds = seconds
        self.name = name
        self.end = time.monotonic() + min(seconds, waiting.LONGEST)

    def left(self) -> float:
        """Return the seconds that are left, more than 0.

        Raises:
            RerankerUnavailable: there are none.
        """
        left = self.end - time.monotonic()
        # Written so that NaN counts as nothing left.
        if not left > 0:
            raise self.passed()
        return left

    def passed(self) -> RerankerUnavailable:
        """The error that says so."""
        return RerankerUnavailable(
            f"reranker {self.name!r} did not finish within {self._seconds:g} seconds",
            hint="Rerank fewer or shorter texts, choose a faster model, or allow more time: rerankers.*.timeout.",
        )


def within(deadline: Deadline, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, or raise what it raises, if it ends before the deadline.

    Neither looking up a host's name nor a server that sends one byte now and then can be interrupted; what has not
    ended by then must look at the deadline to end soon.

    Raises:
        RerankerUnavailable: the deadline has passed.
    """
    try:
        # A daemon, so that a program can end while a server keeps it waiting.
        return waiting.within(deadline.left(), work, of=deadline.name, daemon=True)
    except waiting.Late:
        raise deadline.passed() from None
