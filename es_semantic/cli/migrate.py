"""``es-semantic migrate``"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.attach import model_settings
from es_semantic.cli.compare import print_comparison, title
from es_semantic.cli.context import Context
from es_semantic.cli.judging import Dataset, JudgementsFile, Plot, Qrels, present, say_what_is_missing, watched
from es_semantic.cli.options import Index, Json, ModelName, Name
from es_semantic.cli.output import out, print_json, say, sync_progress, table
from es_semantic.cli.sync import DEAD_LETTERS, print_report
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.errors import UsageError
from es_semantic.evaluation.plots import comparison_figure, require_plot
from es_semantic.migration.state import Migration
from es_semantic.sync.status import Status


class Step(StrEnum):
    """What to do with a change of models."""

    prepare = "prepare"
    status = "status"
    compare = "compare"
    switch = "switch"
    rollback = "rollback"
    drop = "drop"
    cancel = "cancel"


NEXT = {
    "none": "Begin with: es-semantic migrate {at} --model NEW",
    "preparing": "Go on with: es-semantic migrate {at} --model NEW (the same), or let a worker do it: es-semantic sync",
    "ready": "Next: es-semantic migrate {at} compare; es-semantic migrate {at} switch (or cancel, to give it up)",
    "switched": "Next: es-semantic migrate {at} drop, to remove the old model's vectors (or rollback)",
    "dropping": "Go on with: es-semantic migrate {at} drop",
}


def migrate(
    ctx: typer.Context,
    index: Index,
    step: Annotated[
        Step | None, typer.Argument(help="Default: prepare with --model, else status.", show_default=False)
    ] = None,
    model: ModelName = None,
    chunk: Annotated[str | None, typer.Option("--chunk", help="prepare: never, always or auto. Default: auto.")] = None,
    name: Name = None,
    dataset: Dataset = None,
    judgements: JudgementsFile = None,
    qrels: Qrels = "test",
    queries: Annotated[Path | None, typer.Option("--queries", help="compare: a file with one query a line.")] = None,
    plot: Plot = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="switch: though documents have no vector of the new model.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Change the model of a live index: prepare, compare, switch, rollback, drop. No query fails or mixes models.

    Interrupted in any way, the same command goes on. Exit codes: 3 prepared, but some documents could not be embedded;
    4 not switched, because documents would be lost to vector search.
    """
    context: Context = ctx.obj
    step = step or (Step.prepare if model is not None else Step.status)
    field = context.field_name(index, name)
    judging = {"--dataset": dataset, "--judgements": judgements, "--queries": queries, "--plot": plot}
    _require_only(step, {"--model": model, "--chunk": chunk}, Step.prepare)
    _require_only(step, judging, Step.compare)
    _require_only(step, {"--allow-missing": allow_missing or None}, Step.switch)
    match step:
        case Step.prepare:
            _prepare(context, index, field, model, chunk, as_json=as_json)
        case Step.compare:
            _compare(context, index, field, dataset, judgements, qrels, queries, plot, as_json=as_json)
        case Step.status:
            _print(es_semantic.migration(context.client, index, name=field), as_json=as_json)
        case Step.switch:
            with sync_progress() as progress:
                switched = es_semantic.switch_migration(
                    context.client,
                    index,
                    config=context.config,
                    name=field,
                    allow_missing=allow_missing,
                    progress=progress,
                )
            _print(switched, as_json=as_json)
        case Step.rollback:
            _print(es_semantic.roll_back_migration(context.client, index, name=field), as_json=as_json)
        case Step.drop | Step.cancel:
            _remove(context, index, field, step, as_json=as_json)


def _require_only(step: Step, options: Mapping[str, object], of: Step) -> None:
    given = [option for option, value in options.items() if value is not None]
    if given and step is not of:
        raise UsageError(f"{' and '.join(given)} belong to `migrate INDEX {of}`, not to `{step}`")


def _prepare(context: Context, index: str, field: str, model: str | None, chunk: str | None, *, as_json: bool) -> None:
    if model is None:
        raise UsageError("which model?", hint=f"es-semantic migrate {index} --model NEW")
    with sync_progress() as progress:
        prepared = es_semantic.migrate(
            context.client,
            index,
            model=model_settings(context, model),
            config=context.config,
            name=field,
            chunk=chunk or "auto",
            progress=progress,
        )
    if as_json:
        print_json(prepared)
    else:
        print_report(prepared.report)
        _print(prepared.state, as_json=False)
    if prepared.report.dead_letters:
        raise typer.Exit(DEAD_LETTERS)


def _compare(
    context: Context,
    index: str,
    field: str,
    dataset: Path | None,
    judgements: Path | None,
    qrels: str,
    queries: Path | None,
    plot: Path | None,
    *,
    as_json: bool,
) -> None:
    require_plot(plot)
    with watched() as progress:
        found = es_semantic.compare_migration(
            context.client,
            index,
            dataset=dataset,
            judgements=judgements,
            qrels=qrels,
            queries=queries,
            config=context.config,
            name=field,
            progress=progress,
        )
    for note in found.notes:
        say(note)
    say_what_is_missing(found.missing, found.judged.left_out if found.judged is not None else None)
    present(found, show=print_comparison, figure=comparison_figure, title=title(found), plot=plot, as_json=as_json)


def _remove(context: Context, index: str, field: str, step: Step, *, as_json: bool) -> None:
    remove = es_semantic.drop_migration if step is Step.drop else es_semantic.cancel_migration
    with watched() as progress:
        state = remove(
            context.client,
            index,
            name=field,
            progress=lambda removed: progress("removing vectors from documents", removed, 0),
        )
    _print(state, as_json=as_json)


def _print(state: Migration, *, as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    for note in state.notes:
        say(note)
    columns = ("", "field", "model", "dims", "ready", "pending", "failed", "empty")
    rows = [_row("serves", state.serving)]
    if state.other is not None:
        rows.append(_row("old" if state.phase == "switched" else "new", state.other))
    rows += [["leaving", field, *("-" for _ in columns[2:])] for field in state.leaving]
    out.print(table(*columns, rows=rows, title=f"{state.index}, {state.name}: {state.phase}"))
    option = "" if state.name == DEFAULT_FIELD_NAME else f" --name {state.name}"
    say(NEXT[state.phase].format(at=f"{state.index}{option}"))


def _row(what: str, field: Status) -> list[str]:
    counts = (field.dims, field.ready, field.pending, field.failed, field.empty)
    return [what, field.field, field.model, *(f"{count:,}" for count in counts)]
