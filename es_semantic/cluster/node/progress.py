"""Show how much of a download is done: a bar on a terminal, else a few lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

Report = Callable[[str], None]
Update = Callable[[int], None]

_STEP = 25


@contextmanager
def download_progress(what: str, total: int | None, report: Report) -> Iterator[Update]:
    """Yield a function that takes the number of bytes done so far; ``total`` is None when it is not known."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
    else:
        report(f"{what} ({total / 1e6:.0f} MB)" if total else what)
        yield _steps(what, total, report)


def _steps(what: str, total: int | None, report: Report) -> Update:
    shown = 0

    def update(done: int) -> None:
        nonlocal shown
        percent = done * 100 // total // _STEP * _STEP if total else 0
        if shown < percent < 100:
            shown = percent
            report(f"{what}: {percent} %")

    return update
