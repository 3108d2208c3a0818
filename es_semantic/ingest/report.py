"""What an ingestion has done so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from es_semantic.sync.report import KEPT_FAILURES, Failure, SyncReport

BLANK = "without text"
"""Why a file that is blank is skipped."""

Stage = Literal["reading", "embedding", "removing", "done"]


@dataclass(slots=True)
class IngestReport:
    """Counts of documents of one ingestion into a dataset of a chunk index.

    ``total`` is how many files there are, 0 where it is unknown; ``new``, ``changed`` and ``unchanged`` ones are in
    the index; ``deleted`` ones have left it, because their files are gone; ``failed`` ones are dead letters, of which
    ``failures`` names the first 20: what the index had of them stays. ``skipped`` counts by reason files that are no
    documents. ``chunks`` were written, of which those that were there with the same text keep their vectors;
    ``removed`` were deleted; ``embedded`` got vectors, those that an earlier run left behind included. ``seconds`` is
    wall time. ``sync`` is the report of the sync at the end.
    """

    index: str
    dataset: str
    stage: Stage = "reading"
    total: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    chunks: int = 0
    removed: int = 0
    embedded: int = 0
    seconds: float = 0.0
    failures: list[Failure] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    sync: SyncReport | None = None

    @property
    def done(self) -> int:
        """Documents dealt with so far."""
        return self.new + self.changed + self.unchanged + self.failed + self.skipped.get(BLANK, 0)

    def fail(self, label: str, reason: str) -> None:
        """Count a dead letter."""
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(Failure(self.index, label, reason))

    def skip(self, reason: str, count: int = 1) -> None:
        """Count what is no document."""
        self.skipped[reason] = self.skipped.get(reason, 0) + count


Watcher = Callable[[IngestReport], None]
"""Called whenever something was done; it must not change the report."""


def unwatched(report: IngestReport) -> None:
    """Report no progress."""
