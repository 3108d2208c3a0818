"""When to stop because so many documents fail that it is hardly the documents' fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from es_semantic.errors import TooManyFailures

MAX_FAILURES = 1000
"""Dead letters of one run."""

MAX_FAILED_BATCHES = 10
"""Batches in a row of which every document failed, with as many different documents or more: who follows has batches of
one, and one document that is written again and again says nothing about the others."""

MAX_SHARE = 0.15
"""Failed documents among those of a window."""

WINDOW = 512
"""Documents over which the share is counted; a smaller number says too little about the rest."""


@dataclass(slots=True)
class FailureLimits:
    """Counts the failures of one run."""

    failed: int = 0
    failed_batches: int = 0
    _in_a_row: set[str] = field(default_factory=set)
    _window: int = 0
    _window_failed: int = 0

    def new_run(self) -> None:
        """Everything is up to date: what failed until now counts no more towards the most of one run."""
        self.failed = 0

    def count(self, documents: int, failed: Mapping[str, str]) -> None:
        """Take one batch into account: how many documents it had, and the reasons by the places of those that failed.

        Raises:
            TooManyFailures: a limit is exceeded.
        """
        if not documents:
            return
        last = list(failed.values())[-1] if failed else ""
        self.failed += len(failed)
        self._window += documents
        self._window_failed += len(failed)
        if len(failed) == documents:
            self.failed_batches += 1
            self._in_a_row |= failed.keys()
        else:
            self.failed_batches = 0
            self._in_a_row.clear()
        if self.failed > MAX_FAILURES:
            self._stop(f"{self.failed} documents failed", last)
        if min(self.failed_batches, len(self._in_a_row)) >= MAX_FAILED_BATCHES:
            self._stop(f"every document of {self.failed_batches} batches in a row failed", last)
        if self._window >= WINDOW:
            if self._window_failed > MAX_SHARE * self._window:
                self._stop(f"{self._window_failed} of the last {self._window} documents failed", last)
            self._window = self._window_failed = 0

    def _stop(self, what: str, last: str) -> None:
        raise TooManyFailures(
            f"stopped, because {what}; the last: {last}",
            hint="See `es-semantic failures INDEX`; mend the cause; `es-semantic failures INDEX --retry`, and sync.",
        )
