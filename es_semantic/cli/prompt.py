"""``es-semantic context``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.hits import (
    AllowDegraded,
    Deadline,
    Filter,
    Names,
    Rerank,
    Size,
    field_names,
    read_filter,
    say_that_a_model_loads,
    say_what_is_missing,
)
from es_semantic.cli.options import Index, Json, names
from es_semantic.cli.output import out, print_json, say
from es_semantic.retrieval.context import DEFAULT_PASSAGES
from es_semantic.retrieval.query import DEFAULT_SIZE
from es_semantic.schema.text import source_text


def context(
    ctx: typer.Context,
    index: Index,
    text: Annotated[str, typer.Argument(help="What to search for.")],
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Most tokens of the text, headers included.")],
    size: Size = DEFAULT_SIZE,
    passages: Annotated[int, typer.Option("--passages", help="Passages of each document, at most.")] = DEFAULT_PASSAGES,
    title: Annotated[
        str | None, typer.Option("--title", help="The field that stands above each passage. Default: the id.")
    ] = None,
    mode: Annotated[str, typer.Option("--mode", help="hybrid, knn, bm25 or exact.")] = "hybrid",
    filters: Filter = None,
    fields: Annotated[str | None, typer.Option("--fields", help="Fields of the BM25 leg.")] = None,
    name: Names = None,
    rerank: Rerank = None,
    deadline: Deadline = None,
    allow_degraded: AllowDegraded = False,
    as_json: Json = False,
) -> None:
    """Search, and print passages with citations for a prompt, within a number of tokens."""
    if mode != "bm25":
        say_that_a_model_loads(ctx.obj, index)
    searched = field_names(ctx.obj, index, name)
    found = es_semantic.context(
        ctx.obj.client,
        index,
        text,
        max_tokens=max_tokens,
        size=size,
        passages=passages,
        title=title,
        mode=mode,
        filters=[read_filter(item) for item in filters or []],
        fields=names(fields) if fields is not None else None,
        rerank=rerank,
        deadline=deadline,
        allow_degraded=allow_degraded,
        config=ctx.obj.config,
        name=searched,
    )
    say_what_is_missing(ctx.obj, found.result, searched)
    if (
        title is not None
        and found.result.hits
        and not any(source_text(hit.source, [title]) for hit in found.result.hits)
    ):
        say(f"No hit has a text in the field {title!r}: passages stand under their document's id.")
    if as_json:
        print_json(found)
        return
    out.print(found.text, soft_wrap=True)
    cited = len({(each.index, each.id, each.routing) for each in found.citations})
    say(f"{found.tokens:,} of {max_tokens:,} tokens, {len(found.citations)} passages of {cited} documents")
