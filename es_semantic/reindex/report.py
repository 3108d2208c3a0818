"""What a job that re-indexes has done so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from es_semantic.reindex.job import Counts
from es_semantic.sync.report import KEPT_FAILURES, Failure


@dataclass(slots=True)
class Check:
    """One thing that was verified: ``what`` in words, what was ``found``, and whether it is as it must be."""

    what: str
    found: str
    ok: bool


@dataclass(slots=True)
class ReindexReport:
    """What one run of a job has done, and where the job is.

    ``stage`` is a word for people: ``copying``, ``deletes``, ``verifying``, ``switching``, ``switched`` and so on.
    ``total`` documents are in the source, ``done`` of them (about) in the target, those of earlier runs included;
    ``counts`` are those of all runs. ``refused`` documents are not in the target, and ``failures`` names the first 20
    of them and of those without vectors. ``seconds`` is wall time of this run's copying. ``aliases`` are the names that
    mean the target now, none before the switch; ``old`` is where the old index is, None where it was not kept.
    """

    source: str
    target: str
    field: str
    model: str
    stage: str = "copying"
    total: int = 0
    done: int = 0
    counts: Counts = dataclasses.field(default_factory=Counts)
    refused: int = 0
    failures: list[Failure] = dataclasses.field(default_factory=list)
    checks: list[Check] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    switched: bool = False
    aliases: list[str] = dataclasses.field(default_factory=list)
    old: str | None = None
    resumed: bool = False
    complete: bool = True
    seconds: float = 0.0

    def fail(self, doc_id: str, reason: str) -> None:
        """Name a document that is a dead letter."""
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(Failure(self.target, doc_id, reason))


Watcher = Callable[[ReindexReport], None]
"""Called whenever something was done; it must not change the report."""


def unwatched(report: ReindexReport) -> None:
    """Report no progress."""
