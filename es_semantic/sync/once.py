"""One sync: everything written until now, through short troubles of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from es_semantic.cluster.steps import Pause, Steps, refused_once
from es_semantic.errors import ClusterError, ControlDamaged, Unreachable
from es_semantic.sync.bulk import OVERLOADED, full_jitter
from es_semantic.sync.failures import failures_steps
from es_semantic.sync.initial_load import give_back, hold_back
from es_semantic.sync.observer import SILENT, Observer
from es_semantic.sync.one_pass import checkpoint_of
from es_semantic.sync.report import SyncReport
from es_semantic.sync.shards import refresh
from es_semantic.sync.worker import Worker

MAX_TRIES = 6
"""Tries in a row without progress before a sync gives up."""

FIRST_WAIT = 1.0
LONGEST_WAIT = 20.0


def one_sync(worker: Worker, *, initial_load: bool = False) -> Steps[SyncReport]:
    """Bring everything written until now up to date, and make it visible to searches; see :func:`es_semantic.sync`."""
    report = SyncReport(worker.target.name, worker.name, worker.binding.stamp)
    if not initial_load:
        yield from _restore(worker, report)
        yield from _catch_up(worker, report)
    else:
        try:
            yield from hold_back(worker.target)
            yield from _catch_up(worker, report)
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            yield from _restore_if_possible(worker)
            raise error
        yield from give_back(list(worker.target.indices))
    if worker.writer.letters:
        listed = yield from failures_steps(worker.target, worker.binding, name=worker.name, retry=False)
        report.dead_letters = len(listed.failures)
    if report.embedded or report.empty or report.failed:
        yield from refresh(worker.target)
    return report


def is_passing(error: ClusterError) -> bool:
    """Say whether trying again later can help: no answer, or the cluster is overloaded or not ready."""
    return isinstance(error, Unreachable) or error.status in (*OVERLOADED, 502, 504)


def with_patience(
    attempt: Callable[[], Steps[None]], how_far: Callable[[], Any], *, observer: Observer = SILENT
) -> Steps[None]:
    """Go on from where an attempt stopped, after a pause, where the cluster did not answer or was overloaded.

    ``how_far`` returns something that differs when there was progress: tries without any are limited.

    Raises:
        ClusterError: it does not pass, or there were six tries without progress.
    """
    tries = 0
    while True:
        before = how_far()
        try:
            yield from refused_once(attempt())
        except ClusterError as error:
            tries = tries + 1 if how_far() == before else 1
            if tries >= MAX_TRIES or not is_passing(error):
                raise
            observer.retry("pass")
            yield Pause(full_jitter(tries, FIRST_WAIT, LONGEST_WAIT))
        else:
            return


def _catch_up(worker: Worker, report: SyncReport) -> Steps[None]:
    return with_patience(
        lambda: worker.catch_up(report), lambda: checkpoint_of(worker.positions), observer=worker.options.observer
    )


def _restore(worker: Worker, report: SyncReport) -> Steps[None]:
    for index in (yield from give_back(list(worker.target.indices))):
        report.notes.append(f"{index!r}: replicas and refresh_interval restored, which a killed initial load held back")


def _restore_if_possible(worker: Worker) -> Steps[None]:
    try:
        yield from give_back(list(worker.target.indices))
    except (ClusterError, ControlDamaged):
        # What went wrong first matters more; the next sync restores them.
        return
