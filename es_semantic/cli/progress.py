"""Show how far a job is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from es_semantic.cli.output import LINE_EVERY, err, say
from es_semantic.reindex.report import ReindexReport, Watcher


@contextmanager
def reindex_progress() -> Iterator[Watcher]:
    """Show a job's stage, its documents and the time left."""
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("loading the model", total=None)

        def show(report: ReindexReport) -> None:
            total = max(report.total, report.done)
            progress.update(task, description=report.stage, total=total, completed=report.done)

        yield show


class _Lines:
    """A line for each stage, and every few seconds within one, where stderr is not a terminal."""

    def __init__(self) -> None:
        self._stage = ""
        self._next = 0.0

    def __call__(self, report: ReindexReport) -> None:
        if report.stage == self._stage and report.seconds < self._next:
            return
        self._stage, self._next = report.stage, report.seconds + LINE_EVERY
        say(f"{report.target}: {report.stage}, {report.done:,} of {max(report.total, report.done):,} documents")
