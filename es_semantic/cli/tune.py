"""``es-semantic tune``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.judging import (
    Dataset,
    Fields,
    JudgementsFile,
    Plot,
    Qrels,
    interval,
    present,
    say_what_is_missing,
    watched,
)
from es_semantic.cli.options import Index, Json, Name, names
from es_semantic.cli.output import out, print_json, say, table
from es_semantic.errors import UsageError
from es_semantic.evaluation.candidates import in_words
from es_semantic.evaluation.plots import require_plot, tuning_figure
from es_semantic.evaluation.tune import FOLDS, Tuning


def tune(
    ctx: typer.Context,
    index: Index,
    dataset: Dataset = None,
    judgements: JudgementsFile = None,
    qrels: Qrels = "test",
    name: Name = None,
    fields: Fields = None,
    folds: Annotated[int, typer.Option("--folds", help="Parts of the queries for cross-validation.")] = FOLDS,
    store: Annotated[
        bool, typer.Option("--store/--no-store", help="Keep the best ranking in the binding if it helps.")
    ] = True,
    reset: Annotated[bool, typer.Option("--reset", help="Only take a ranking that was stored away again.")] = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Fit how hybrid search fuses BM25 and kNN to judged queries, and keep the result if it helps on others."""
    field = ctx.obj.field_name(index, name)
    if reset:
        if dataset is not None or judgements is not None:
            raise UsageError("--reset takes no judgements")
        changed = es_semantic.reset_ranking(ctx.obj.client, index, name=field)
        if as_json:
            print_json({"index": index, "field": field, "reset": changed})
        else:
            out.print(f"{index}: {'the default ranking is back' if changed else 'no ranking was stored'}.")
        return
    require_plot(plot)
    with watched() as progress:
        found = es_semantic.tune(
            ctx.obj.client,
            index,
            dataset=dataset,
            judgements=judgements,
            qrels=qrels,
            config=ctx.obj.config,
            name=field,
            fields=names(fields) if fields is not None else None,
            folds=folds,
            store=store,
            progress=progress,
        )
    for note in found.notes:
        say(note)
    say_what_is_missing(found.missing, found.judged.left_out)
    present(found, show=print_tuning, figure=tuning_figure, title=title(found), plot=plot, as_json=as_json)


def title(found: Tuning) -> str:
    """Return what was tuned by, in one line."""
    return f"{found.index}, {found.field!r}: {found.queries} queries of {found.judged.name}"


def print_tuning(found: Tuning) -> None:
    """Print what was chosen, what it gains, and what became of it."""
    rows = [
        ["in force", in_words(found.current.ranking), f"{found.current.value:.4f}"],
        ["best", in_words(found.best.ranking), f"{found.best.value:.4f}"],
        *([f"fold {number}", in_words(ranking), ""] for number, ranking in enumerate(found.chosen, start=1)),
    ]
    out.print(title(found), soft_wrap=True)
    out.print(table("", "ranking", "nDCG@10", rows=rows))
    out.print(
        f"On queries that had no part in the choice: nDCG@10 {found.held_out:.4f}, a gain of {found.gain:+.4f} "
        f"(95 % interval {interval(found.interval)}).",
        soft_wrap=True,
    )
    out.print(verdict(found), soft_wrap=True)


def verdict(found: Tuning) -> str:
    """Return what became of the best ranking."""
    if found.stored:
        return f"Stored in the binding of {found.index}; undo it with: es-semantic tune {found.index} --reset"
    if found.helps:
        return "It helps, and was not stored."
    if found.best.ranking == found.current.ranking:
        return "Nothing was stored: the ranking in force is the best of those tried."
    return "Nothing was stored: the gain cannot be told from chance."
