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
    """Counts of documents of one pass.

    ``total`` were there at its start; ``read`` of them were looked at; ``unchanged`` were true already; ``embedded``
    got a new vector; ``empty`` have no text; ``failed`` are dead letters, of which ``failures`` names the first 20;
    ``superseded`` were written or deleted by somebody else meanwhile, so a later pass will see them; ``over_long`` are
    longer than the model's window, so that their vector stands for their beginning only. ``seconds`` is wall time.
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
    seconds: float = 0.0
    failures: list[Failure] = dataclasses.field(default_factory=list)

    def fail(self, index: str, doc_id: str, reason: str) -> None:
        """Count a dead letter."""
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(Failure(index, doc_id, reason))


Progress = Callable[[SyncReport], None]
"""Called after every page and every write with the report so far; it must not change it."""


def silent(report: SyncReport) -> None:
    """Report no progress."""
