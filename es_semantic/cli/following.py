"""The worker's process: signals, log and health pages around :func:`es_semantic.follow`."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import es_semantic
from es_semantic.cli.context import Context
from es_semantic.cli.logs import configure
from es_semantic.cli.output import err
from es_semantic.errors import EsSemanticError
from es_semantic.sync.follow import Events
from es_semantic.sync.health import serve
from es_semantic.sync.metrics import PrometheusObserver
from es_semantic.sync.report import SyncReport

INTERRUPTED = 130

log = logging.getLogger("es_semantic.worker")


def follow(context: Context, indices: Sequence[str], name: str | None, *, partition: str, port: int) -> None:
    """Keep indices up to date until a signal; the second one ends the process at once."""
    configure(as_json=not err.is_terminal, verbose=False)
    log.setLevel(logging.INFO)
    fields = {index: context.field_name(index, name) for index in indices}
    observer = PrometheusObserver()
    with serve(observer, port=port) as bound, _until_signal() as stop:
        log.info("worker started", extra={"indices": sorted(fields), "partition": partition, "health_port": bound})
        es_semantic.follow(
            context.client,
            fields,
            config=context.config,
            partition=partition,
            observer=observer,
            events=Events(_caught_up, _failed),
            stop=stop,
        )
    log.info("worker stopped")


@contextmanager
def _until_signal() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether SIGTERM or SIGINT has come."""
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if came:
            # Threads may wait for the model or the cluster: nothing but this ends them at once, and nothing is lost.
            os._exit(INTERRUPTED)
        came.append(number)
        log.info("stopping after this batch; once more to stop at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _caught_up(report: SyncReport) -> None:
    counts = ("read", "embedded", "unchanged", "empty", "failed", "superseded", "over_long")
    numbers = {key: getattr(report, key) for key in counts}
    seconds = round(report.seconds, 3)
    extra = {"index": report.index, "field": report.field, **numbers, "seconds": seconds, "complete": report.complete}
    log.info("caught up" if report.complete else "going on", extra=extra)
    for note in report.notes:
        log.warning(note)
    for failure in report.failures:
        where = {"index": failure.index, "id": failure.id}
        log.warning("dead letter: %s", failure.reason, extra=where)


def _failed(index: str, error: EsSemanticError, seconds: float) -> None:
    extra = {"index": index, "error_type": type(error).__name__, "retry_in_seconds": round(seconds, 1)}
    log.error("%s", error.what, extra=extra)
