"""``es-semantic more-like``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.hits import Deadline, Filter, From, Size, Window, print_hits, read_filter
from es_semantic.cli.options import Index, Json, Name
from es_semantic.cli.output import print_json
from es_semantic.retrieval.query import DEFAULT_SIZE


def more_like(
    ctx: typer.Context,
    index: Index,
    id: Annotated[str, typer.Argument(help="The document's id.", metavar="ID")],
    routing: Annotated[
        str | None, typer.Option("--routing", help="The document's routing, where its id stands there more than once.")
    ] = None,
    mode: Annotated[str, typer.Option("--mode", help="knn, or exact: every vector compared.")] = "knn",
    size: Size = DEFAULT_SIZE,
    from_: From = 0,
    window: Window = None,
    filters: Filter = None,
    name: Name = None,
    deadline: Deadline = None,
    as_json: Json = False,
) -> None:
    """Find the documents nearest to one that is there, by its stored vector: no model is loaded."""
    field = ctx.obj.field_name(index, name)
    result = es_semantic.more_like(
        ctx.obj.client,
        index,
        id,
        routing=routing,
        mode=mode,
        size=size,
        from_=from_,
        rank_window_size=window,
        filters=[read_filter(item) for item in filters or []],
        deadline=deadline,
        name=field,
    )
    if as_json:
        print_json(result)
    else:
        print_hits(ctx.obj, result, [field], start=from_)
