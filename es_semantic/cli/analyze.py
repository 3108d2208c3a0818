"""``es-semantic analyze``"""

from __future__ import annotations

import typer

import es_semantic
from es_semantic.cli.options import Index, Json, Name
from es_semantic.cli.output import out, print_json, say
from es_semantic.sync.analyze import AnalyzeReport

LINE_EVERY = 10.0
"""Seconds between lines of progress."""


def analyze(ctx: typer.Context, index: Index, name: Name = None, as_json: Json = False) -> None:
    """Bring documents from before attach --language into the analysed sub-fields. Embeds nothing, runs no pipeline."""
    report = es_semantic.analyze(ctx.obj.client, index, name=ctx.obj.field_name(index, name), progress=_Lines())
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report.failed:
        raise typer.Exit(1)


def _print(report: AnalyzeReport) -> None:
    fields = ", ".join(report.fields)
    for note in report.notes:
        say(note)
    for failure in report.failures:
        say(f"refused: {failure.index}/{failure.id}: {failure.reason}")
    if report.failed > len(report.failures):
        say(f"... and {report.failed - len(report.failures)} more.")
    if report.complete and not report.written:
        out.print(f"{report.index}: every document is in {fields}", soft_wrap=True)
        return
    left = f"; {report.left} are not" if report.left else ""
    out.print(f"{report.index}: {report.written} documents more are in {fields}{left}, in {report.seconds:.1f} s")


class _Lines:
    def __init__(self) -> None:
        self._next = LINE_EVERY

    def __call__(self, report: AnalyzeReport) -> None:
        if report.seconds >= self._next:
            self._next = report.seconds + LINE_EVERY
            say(f"{report.index}: {report.written} of {report.total} documents")
