"""What a sync has done so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

KEPT_FAILURES = 20


@dataclass(slots=True)
class Failure:
    """One document that has no vector although it has text."""

    index: str
    id: str
    reason: str


@dataclass(slots=True)
class SyncReport:
    """Counts of documents of one sync.

    ``total`` is the most that it may have to look at, as known at its start; ``read`` were looked at; ``unchanged`` of
    them were true already; ``embedded`` got new vectors; ``empty`` have no text; ``failed`` are dead letters, of which
    ``failures`` names the first 20; ``superseded`` were written or deleted by somebody else meanwhile, so a later sync
    will see them; ``over_long`` are longer than the model's window, so that their vector stands for their beginning
    only. ``dead_letters`` are in the control index at the end, those of earlier syncs and other partitions included.
    ``seconds`` is wall time.

    ``checkpoint`` is, for every index and shard, a sequence number: every document of this partition that was last
    written at or below it has vectors of its current text, or no text, or a dead letter. -1 where nothing was read.
    ``notes`` tell what people should know, such as an index that was re-created. ``complete`` is False when the sync
    was asked to stop before it had read everything.
    """

    index: str
    field: str
    model: str
    total: int = 0
    read: int = 0
    unchanged: int = 0
    embedded: int = 0
    empty: int = 0
    failed: int = 0
    superseded: int = 0
    over_long: int = 0
    dead_letters: int = 0
    seconds: float = 0.0
    failures: list[Failure] = dataclasses.field(default_factory=list)
    checkpoint: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    complete: bool = True

    @property
    def done(self) -> int:
        """Documents dealt with so far."""
        return self.unchanged + self.embedded + self.empty + self.failed + self.superseded

    def fail(self, index: str, doc_id: str, reason: str) -> None:
        """Count a dead letter."""
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(Failure(index, doc_id, reason))


Progress = Callable[[SyncReport], None]
"""Called after every page and every write with the report so far; it must not change it."""


def silent(report: SyncReport) -> None:
    """Report no progress."""


def go_on() -> bool:
    """Never ask a sync to stop."""
    return False
