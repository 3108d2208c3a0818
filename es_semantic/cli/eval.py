"""``es-semantic eval``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.attach import model_settings
from es_semantic.cli.judging import (
    Analyzer,
    Dataset,
    Fields,
    JudgementsFile,
    Language,
    Plot,
    Qrels,
    analyzer_of,
    ann_words,
    mode_columns,
    mode_rows,
    present,
    print_changes,
    print_comparisons,
    say_what_is_missing,
    watched,
)
from es_semantic.cli.options import Json, ModelName, Name, names
from es_semantic.cli.output import out, say, table
from es_semantic.evaluation.evaluate import Comparison, Evaluation
from es_semantic.evaluation.metrics import NDCG
from es_semantic.evaluation.plots import evaluation_figure, require_plot


def eval(
    ctx: typer.Context,
    index: Annotated[
        str | None, typer.Argument(help="An attached index; without one the folder's corpus in a scratch index.")
    ] = None,
    dataset: Dataset = None,
    judgements: JudgementsFile = None,
    qrels: Qrels = "test",
    model: ModelName = None,
    name: Name = None,
    fields: Fields = None,
    analyzer: Analyzer = None,
    language: Language = None,
    chunk: Annotated[
        str, typer.Option("--chunk", help="Of a scratch index: never, always or auto, as for attach.")
    ] = "never",
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Measure BM25, kNN and hybrid search by judged queries: nDCG@10, recall@100, MRR@10, MAP and latency."""
    require_plot(plot)
    with watched() as progress:
        found = es_semantic.evaluate(
            ctx.obj.client,
            index,
            dataset=dataset,
            judgements=judgements,
            qrels=qrels,
            model=model_settings(ctx.obj, model) if model is not None or index is None else None,
            config=ctx.obj.config,
            name=ctx.obj.field_name(index or "", name),
            fields=names(fields) if fields is not None else None,
            analyzer=analyzer_of(analyzer, language),
            chunk=chunk,
            progress=progress,
        )
    for note in found.notes:
        say(note)
    say_what_is_missing(found.missing, found.judged.left_out)
    present(found, show=print_evaluation, figure=evaluation_figure, title=title(found), plot=plot, as_json=as_json)


def title(found: Evaluation) -> str:
    """Return what was evaluated, in one line."""
    return (
        f"{found.judged.name}: {len(found.judged.queries)} queries, {found.documents:,} documents"
        f"{f' of {found.index}' if found.index else ''}, {found.model}"
    )


def print_evaluation(found: Evaluation) -> None:
    """Print the tables."""
    out.print(title(found), soft_wrap=True)
    out.print(table("", *mode_columns(found.modes), rows=mode_rows(found.modes)))
    out.print(ann_words(found.ann_recall), soft_wrap=True)
    out.print()
    print_comparisons(found.comparisons, title="What the differences are worth, paired by query")
    print_changes(against_the_better_leg(found))


def against_the_better_leg(found: Evaluation) -> Comparison:
    """Return the comparison of hybrid search with the leg that is better alone."""
    legs = {mode: scores.metrics[NDCG] for mode, scores in found.modes.items() if mode != "hybrid"}
    better = max(legs, key=lambda leg: legs[leg])
    return next(
        each for each in found.comparisons if (each.first, each.second, each.metric) == ("hybrid", better, NDCG)
    )
