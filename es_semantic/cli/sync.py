"""``es-semantic sync``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.context import Context
from es_semantic.cli.following import follow
from es_semantic.cli.options import Json, Name
from es_semantic.cli.output import out, print_json, rate, say, sync_progress
from es_semantic.errors import UsageError
from es_semantic.sync.partition import parse_partition
from es_semantic.sync.report import SyncReport

DEAD_LETTERS = 3
DEFAULT_PORT = 9464
"""The port that OpenTelemetry's Prometheus exporter has."""

Indices = Annotated[list[str], typer.Argument(metavar="INDEX...", help="Indices, aliases or data streams.")]
Partition = Annotated[str, typer.Option("--partition", help="Part i/n of the documents, by a hash of their ids.")]
InitialLoad = Annotated[
    bool, typer.Option("--initial-load", help="Meanwhile without replicas and refreshes; restored even after a kill.")
]
Port = Annotated[
    int, typer.Option("--port", help="With --follow: /metrics, /healthz and /readyz on this port of 127.0.0.1.")
]


def sync(
    ctx: typer.Context,
    indices: Indices,
    name: Name = None,
    following: Annotated[bool, typer.Option("--follow", help="Go on for ever; stop with Ctrl-C or SIGTERM.")] = False,
    partition: Partition = "1/1",
    initial_load: InitialLoad = False,
    port: Port = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    """Embed every document that lacks a true vector. Exit code 3: done, but some could not be embedded."""
    parse_partition(partition)
    if following:
        if initial_load or as_json:
            raise UsageError("--follow goes with neither --initial-load nor --json", hint="Its log is JSON in a pipe.")
        follow(ctx.obj, indices, name, partition=partition, port=port)
        return
    reports = []
    for index in indices:
        reports.append(_sync_one(ctx.obj, index, name, partition, initial_load))
        if not as_json:
            print_report(reports[-1])
    if as_json:
        print_json(reports[0] if len(reports) == 1 else reports)
    if any(report.dead_letters for report in reports):
        raise typer.Exit(DEAD_LETTERS)


def _sync_one(context: Context, index: str, name: str | None, partition: str, initial_load: bool) -> SyncReport:
    with sync_progress() as progress:
        return es_semantic.sync(
            context.client,
            index,
            config=context.config,
            name=context.field_name(index, name),
            partition=partition,
            initial_load=initial_load,
            progress=progress,
        )


def print_report(report: SyncReport) -> None:
    """Print what a sync has done."""
    for note in report.notes:
        say(note)
    if report.read:
        _print_counts(report)
    else:
        out.print(f"{report.index}: nothing was written since the last sync", soft_wrap=True)
    if report.dead_letters:
        say(f"Documents that could not be embedded, {report.dead_letters} in all: es-semantic failures {report.index}")


def _print_counts(report: SyncReport) -> None:
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
