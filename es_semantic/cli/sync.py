"""``es-semantic sync``"""

from __future__ import annotations

import typer

import es_semantic
from es_semantic.cli.options import Index, Json, Name
from es_semantic.cli.output import out, print_json, rate, say, sync_progress
from es_semantic.sync.report import SyncReport

DEAD_LETTERS = 3


def sync(ctx: typer.Context, index: Index, name: Name = None, as_json: Json = False) -> None:
    """Embed every document that lacks a true vector. Exit code 3: done, but some documents could not be embedded."""
    with sync_progress() as progress:
        report = es_semantic.sync(
            ctx.obj.client, index, config=ctx.obj.config, name=ctx.obj.field_name(index, name), progress=progress
        )
    if as_json:
        print_json(report)
    else:
        print_report(report)
    if report.failed:
        raise typer.Exit(DEAD_LETTERS)


def print_report(report: SyncReport) -> None:
    """Print what a pass has done."""
    speed = rate(report)
    out.print(
        f"{report.index}: {report.embedded} embedded, {report.unchanged} already true, {report.empty} without text, "
        f"{report.failed} failed, in {report.seconds:.1f} s" + (f" ({speed})" if speed else ""),
        soft_wrap=True,
    )
    if report.superseded:
        say(f"{report.superseded} documents were changed or deleted meanwhile; run sync again to see them.")
    if report.over_long:
        say(
            f"{report.over_long} documents are longer than the model's window; their vectors stand for their beginning."
        )
    for failure in report.failures:
        say(f"failed: {failure.index}/{failure.id}: {failure.reason}")
    if report.failed > len(report.failures):
        say(f"... and {report.failed - len(report.failures)} more.")
