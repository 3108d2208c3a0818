"""``es-semantic compare``"""

from __future__ import annotations

from pathlib import Path
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
    mode_columns,
    mode_rows,
    present,
    print_comparisons,
    say_what_is_missing,
    watched,
)
from es_semantic.cli.options import Json, Name, names
from es_semantic.cli.output import out, say, table
from es_semantic.errors import UsageError
from es_semantic.evaluation.compare import OVERLAP, ModelComparison, ModelResult
from es_semantic.evaluation.plots import comparison_figure, require_plot
from es_semantic.evaluation.searches import ModeScores


def compare(
    ctx: typer.Context,
    index: Annotated[
        str | None, typer.Argument(help="Whose documents; without one those of the folder's corpus.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model of the settings file, or a SentenceTransformers model; repeatable."),
    ] = None,
    dataset: Dataset = None,
    judgements: JudgementsFile = None,
    qrels: Qrels = "test",
    queries: Annotated[
        Path | None, typer.Option("--queries", help="Without judgements: a file with one query a line.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", help="Documents, judged ones first; 0: all. Default: 10000 of an index."),
    ] = None,
    name: Name = None,
    fields: Fields = None,
    analyzer: Analyzer = None,
    language: Language = None,
    chunk: Annotated[
        str | None, typer.Option("--chunk", help="never, always or auto. Default: as the index is attached.")
    ] = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Put several models side by side on your own documents, in scratch indices that are removed afterwards."""
    require_plot(plot)
    wanted = models or []
    if len(set(wanted)) < len(wanted):
        raise UsageError("--model names one model twice")
    with watched() as progress:
        found = es_semantic.compare_models(
            ctx.obj.client,
            {model: model_settings(ctx.obj, model) for model in wanted},
            index,
            dataset=dataset,
            judgements=judgements,
            qrels=qrels,
            queries=queries,
            sample=sample,
            config=ctx.obj.config,
            name=ctx.obj.field_name(index or "", name),
            fields=names(fields) if fields is not None else None,
            analyzer=analyzer_of(analyzer, language),
            chunk=chunk,
            progress=progress,
        )
    for note in found.notes:
        say(note)
    for result in found.models.values():
        for note in result.notes:
            say(f"{result.name}: {note}")
    say_what_is_missing(found.missing, found.judged.left_out if found.judged is not None else None)
    present(found, show=print_comparison, figure=comparison_figure, title=title(found), plot=plot, as_json=as_json)


def title(found: ModelComparison) -> str:
    """Return what was compared on, in one line."""
    return f"{found.subject}: {found.documents:,} documents, {len(found.queries)} queries ({found.queries_from})"


def print_comparison(found: ModelComparison) -> None:
    """Print the tables."""
    rows: dict[str, ModeScores] = {"bm25": found.bm25}
    for name, result in found.models.items():
        rows |= {f"{name}: {mode}": scores for mode, scores in result.modes.items() if mode != "bm25"}
    out.print(title(found), soft_wrap=True)
    out.print(table("", *mode_columns(rows), rows=mode_rows(rows)))
    columns = ("model", "dims", "vectors", "bytes a vector", "docs/s", "ANN recall@10")
    out.print(table(*columns, rows=[cost(result) for result in found.models.values()], title="What they cost"))
    shared = [[f"{each.first} and {each.second}", each.mode, f"{each.value:.3f}"] for each in found.overlaps]
    out.print(table("", "mode", f"overlap@{OVERLAP}", rows=shared, title="What their hits have in common"))
    for mode, comparisons in found.comparisons.items():
        print_comparisons(comparisons, title=f"What the differences are worth, {mode}, paired by query")


def cost(result: ModelResult) -> list[str]:
    """Return the row of one model: size, speed, and how exact its approximate search is."""
    return [
        result.name,
        str(result.dims),
        f"{result.vectors:,}",
        f"{result.bytes_per_vector:,.0f}" if result.bytes_per_vector is not None else "-",
        f"{result.documents_per_second:.0f}" if result.documents_per_second is not None else "-",
        f"{result.ann_recall.at_10:.4f}" if result.ann_recall is not None else "-",
    ]
