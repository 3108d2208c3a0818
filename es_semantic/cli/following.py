"""The worker's process: signals, log and health pages around :func:`es_semantic.follow`."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import get_args

import typer

import es_semantic
from es_semantic.cli.context import Context
from es_semantic.cli.logs import configure
from es_semantic.cli.output import LINE_EVERY, err
from es_semantic.errors import EsSemanticError
from es_semantic.sync.follow import Events
from es_semantic.sync.health import serve
from es_semantic.sync.metrics import PrometheusObserver
from es_semantic.sync.observer import Outcome
from es_semantic.sync.report import SyncReport

INTERRUPTED = 130

log = logging.getLogger("es_semantic.worker")


def follow(context: Context, indices: Sequence[str], name: str | None, *, partition: str, port: int) -> None:
    """Keep indices up to date until a signal; the second one ends the process at once.

    Where the log is JSON, an error that ends the worker is a line of it and not an exception.

    Raises:
        EsSemanticError: somebody has to do something, and stderr is a terminal.
        typer.Exit: with the error's exit code, where stderr is none.
    """
    as_json = not err.is_terminal
    configure(as_json=as_json, verbose=False)
    log.setLevel(logging.INFO)
    try:
        _follow(context, indices, name, partition=partition, port=port)
    except EsSemanticError as error:
        if not as_json:
            raise
        log.critical("%s", error.what, extra={"error_type": type(error).__name__, "hint": error.hint})
        raise typer.Exit(error.exit_code) from error
    except Exception as error:
        if not as_json:
            raise
        log.critical("worker ended by a bug", exc_info=True)
        raise typer.Exit(1) from error


def _follow(context: Context, indices: Sequence[str], name: str | None, *, partition: str, port: int) -> None:
    fields = {index: context.field_name(index, name) for index in indices}
    observer = Telling()
    with serve(observer, port=port) as bound, _until_signal() as stop:
        started = {"indices": ", ".join(sorted(fields)), "partition": partition, "health_port": bound}
        log.info("worker started", extra=started)
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


class Telling(PrometheusObserver):
    """Shows in the log that a long pass is alive: what was done since the last such line, in all indices together."""

    def __init__(self) -> None:
        super().__init__()
        self._done: Counter[str] = Counter()
        self._next = 0.0

    def documents(self, index: str, field: str, outcome: Outcome, count: int) -> None:
        """Count for the next line as well."""
        super().documents(index, field, outcome, count)
        self._done[outcome] += count

    def lag(self, index: str, field: str, documents: int, seconds: float) -> None:
        """Write a line where the pass has gone on for :data:`LINE_EVERY` seconds, and the last is as old."""
        super().lag(index, field, documents, seconds)
        if documents == 0 and seconds == 0:
            self._done.clear()
        elif seconds >= LINE_EVERY and time.monotonic() >= self._next and self._done.total():
            self._next = time.monotonic() + LINE_EVERY
            done, self._done = self._done, Counter()
            counts = {outcome: done[outcome] for outcome in get_args(Outcome)}
            log.info("in progress", extra={"index": index, "field": field, "unread": documents, **counts})


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
