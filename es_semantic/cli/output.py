"""Printing: results on stdout, everything else on stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from es_semantic.errors import EsSemanticError
from es_semantic.sync.report import Progress as ProgressCallback
from es_semantic.sync.report import SyncReport

out = Console(highlight=False, emoji=False, markup=False)
err = Console(stderr=True, highlight=False, emoji=False, markup=False)

LINE_EVERY = 10.0
"""Seconds between progress lines where stderr is not a terminal."""


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=_json_value).decode()
    except TypeError:
        # Documents may hold integers beyond 64 bits and lone surrogates, which only the standard library writes.
        text = json.dumps(value, indent=2, default=dataclasses.asdict)
    sys.stdout.write(text + "\n")


def print_error(error: EsSemanticError, *, as_json: bool) -> None:
    """Print what happened and what to do next; with ``--json`` also as a document on stdout."""
    err.print(Text.assemble(("Error: ", "bold red"), _printable(error.what)), soft_wrap=True)
    if error.hint:
        say(error.hint)
    if as_json:
        print_failure(type(error).__name__, error.what, error.hint)


def print_failure(kind: str, what: str, hint: str = "") -> None:
    """Print an error as the one JSON document on stdout."""
    print_json({"error": {"type": kind, "what": what, "hint": hint}})


def say(text: str) -> None:
    """Tell the person at the terminal something that is not a result."""
    err.print(Text(_printable(text)), soft_wrap=True)


def table(*columns: str, rows: list[list[str]], title: str = "") -> Table:
    """Return a table of plain text."""
    grid = Table(*columns, title=Text(title) if title else None, title_justify="left", header_style="bold")
    for row in rows:
        grid.add_row(*(Text(_printable(cell)) for cell in row))
    return grid


@contextmanager
def sync_progress() -> Iterator[ProgressCallback]:
    """Show a sync's progress with documents per second and the time left."""
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("loading the model", total=None, rate="")

        def show(report: SyncReport) -> None:
            progress.update(
                task,
                description="embedding",
                total=max(report.total, report.done),
                completed=report.done,
                rate=rate(report),
            )

        yield show


def rate(report: SyncReport) -> str:
    """Documents embedded per second."""
    return f"{report.embedded / report.seconds:.0f} docs/s" if report.seconds and report.embedded else ""


class _Lines:
    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, report: SyncReport) -> None:
        if report.seconds >= self._next:
            self._next = report.seconds + LINE_EVERY
            say(f"{report.index}: {report.done} of {report.total} documents {rate(report)}".rstrip())


def _json_value(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else str(value)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
