"""``es-semantic search``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.hits import (
    AllowDegraded,
    Deadline,
    Filter,
    From,
    Names,
    Rerank,
    Size,
    Window,
    field_names,
    print_hits,
    read_filter,
    say_that_a_model_loads,
    say_what_is_missing,
)
from es_semantic.cli.options import Index, Json, names
from es_semantic.cli.output import print_json
from es_semantic.retrieval.query import DEFAULT_SIZE


def search(
    ctx: typer.Context,
    index: Index,
    text: Annotated[str, typer.Argument(help="What to search for.")],
    mode: Annotated[str, typer.Option("--mode", help="hybrid, knn, bm25, or exact: every vector compared.")] = "hybrid",
    size: Size = DEFAULT_SIZE,
    from_: From = 0,
    window: Window = None,
    filters: Filter = None,
    fields: Annotated[str | None, typer.Option("--fields", help="Fields of the BM25 leg.")] = None,
    name: Names = None,
    rerank: Rerank = None,
    highlight: Annotated[bool, typer.Option("--highlight", help="Show fragments in which words stand.")] = False,
    passages: Annotated[int, typer.Option("--passages", help="Passages of each hit that answer the query.")] = 0,
    deadline: Deadline = None,
    allow_degraded: AllowDegraded = False,
    as_json: Json = False,
) -> None:
    """Search by meaning and by words: BM25 and kNN, fused."""
    if mode != "bm25":
        say_that_a_model_loads(ctx.obj, index)
    searched = field_names(ctx.obj, index, name)
    result = es_semantic.search(
        ctx.obj.client,
        index,
        text,
        mode=mode,
        size=size,
        from_=from_,
        rank_window_size=window,
        filters=[read_filter(item) for item in filters or []],
        fields=names(fields) if fields is not None else None,
        rerank=rerank,
        highlight=highlight,
        passages=passages,
        deadline=deadline,
        allow_degraded=allow_degraded,
        config=ctx.obj.config,
        name=searched,
    )
    say_what_is_missing(ctx.obj, result, searched)
    if as_json:
        print_json(result)
    else:
        print_hits(ctx.obj, result, searched, start=from_)
