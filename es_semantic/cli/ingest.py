"""``es-semantic ingest``"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from es_semantic.api_ingest import ingest as ingest_documents
from es_semantic.cli.attach import model_settings
from es_semantic.cli.options import Json, ModelName
from es_semantic.cli.output import LINE_EVERY, err, out, print_json, say, table
from es_semantic.config import DEFAULT_CHUNKS
from es_semantic.ingest.report import IngestReport, Watcher

DEAD_LETTERS = 3


def ingest(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Option("--dataset", help="Name of the dataset that the documents belong to.")],
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH...", help="Files and folders.")] = None,
    jsonl: Annotated[
        Path | None, typer.Option("--jsonl", metavar="FILE", help="A document on each line: id, name, text ...")
    ] = None,
    index: Annotated[str, typer.Option("--index", help="Chunk index; created where it is missing.")] = DEFAULT_CHUNKS,
    model: ModelName = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try files again that could not be read before.")] = False,
    as_json: Json = False,
) -> None:
    """Bring files (PDF, DOCX, HTML, Markdown, text) into a chunk index, with vectors; what is there stays as it is.

    Interrupted in any way, the same command goes on. Exit code 3: done, but some documents could not be read or
    embedded.
    """
    configured = ctx.obj.semantic_field(index, None)
    name = model if model is not None or configured is None else configured.model
    with _progress() as progress:
        report = ingest_documents(
            ctx.obj.client,
            paths or (),
            dataset=dataset,
            jsonl=jsonl,
            index=index,
            model=None if name is None else model_settings(ctx.obj, name),
            config=ctx.obj.config,
            retry=retry,
            progress=progress,
        )
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report.failed or (report.sync is not None and report.sync.failed):
        raise typer.Exit(DEAD_LETTERS)


def _print(report: IngestReport) -> None:
    for note in report.notes:
        say(f"Note: {note}.")
    counts = ("new", "changed", "unchanged", "deleted", "failed")
    rows = [[count, f"{getattr(report, count):,}"] for count in counts]
    rows += [[f"skipped: {reason}", f"{count:,}"] for reason, count in sorted(report.skipped.items())]
    out.print(table("documents", "", rows=rows, title=f"{report.dataset} in {report.index}"))
    out.print(
        f"{report.chunks:,} chunks written, {report.removed:,} removed, {report.embedded:,} embedded, in "
        f"{report.seconds:.1f} s",
        soft_wrap=True,
    )
    for failure in report.failures:
        say(f"failed: {failure.id}: {failure.reason}")
    if report.failed > len(report.failures):
        say(f"... and {report.failed - len(report.failures)} more.")
    if report.failed:
        say("They are tried again when they have changed, or with --retry; what the index had of them stays.")
    if report.sync is not None and report.sync.failed:
        say(f"{report.sync.failed} chunks could not be embedded: es-semantic failures {report.index}")


@contextmanager
def _progress() -> Iterator[Watcher]:
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("starting", total=None)

        def show(report: IngestReport) -> None:
            done, total = _how_far(report)
            progress.update(task, description=report.stage, completed=done, total=max(total, done) if total else None)

        yield show


def _how_far(report: IngestReport) -> tuple[int, int]:
    """Return what is done and the total, 0 where it is unknown: documents, or chunks while these are embedded."""
    if report.stage == "embedding" and report.sync is not None:
        return report.sync.done, report.sync.total
    return report.done, report.total


class _Lines:
    """A line every few seconds where stderr is not a terminal."""

    def __init__(self) -> None:
        self._next = LINE_EVERY

    def __call__(self, report: IngestReport) -> None:
        if report.seconds >= self._next:
            self._next = report.seconds + LINE_EVERY
            done, total = _how_far(report)
            say(f"{report.index}: {report.stage}, {done:,}{f' of {total:,}' if total else ''}")
