"""``es-semantic search``"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

import es_semantic
from es_semantic.cli.options import Index, Json, Name, names
from es_semantic.cli.output import out, print_json, say, table
from es_semantic.cluster.steps import run
from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import Place
from es_semantic.retrieval.query import DEFAULT_SIZE
from es_semantic.retrieval.results import Hit
from es_semantic.schema.lookup import find_binding
from es_semantic.schema.text import source_text


def search(
    ctx: typer.Context,
    index: Index,
    text: Annotated[str, typer.Argument(help="What to search for.")],
    mode: Annotated[str, typer.Option("--mode", help="hybrid, knn or bm25.")] = "hybrid",
    size: Annotated[int, typer.Option("--size", help="Hits wanted.")] = DEFAULT_SIZE,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="FIELD=VALUE or an Elasticsearch query clause; repeatable.")
    ] = None,
    fields: Annotated[str | None, typer.Option("--fields", help="Fields of the BM25 leg.")] = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Search by meaning and by words: BM25 and kNN fused by reciprocal rank."""
    if mode != "bm25":
        say("Loading the model takes some seconds in every new process ...")
    result = es_semantic.search(
        ctx.obj.client,
        index,
        text,
        mode=mode,
        size=size,
        filters=[read_filter(item) for item in filters or []],
        fields=names(fields) if fields is not None else None,
        config=ctx.obj.config,
        name=ctx.obj.field_name(index, name),
    )
    if mode != "bm25" and not any("knn" in hit.legs for hit in result.hits):
        say(f"No document with a vector was found; if that is unexpected: es-semantic sync {index}")
    if as_json:
        print_json(result)
        return
    if not result.hits:
        out.print(f"{result.index}, {result.mode}: no hits in {result.took_ms:.0f} ms")
        return
    binding, _ = run(ctx.obj.client, find_binding(index, ctx.obj.field_name(index, name)))
    rows = [
        [
            str(rank),
            hit.id,
            f"{hit.score:.4f}",
            place(hit.legs.get("bm25")),
            place(hit.legs.get("knn")),
            excerpt(hit, binding.source),
        ]
        for rank, hit in enumerate(result.hits, start=1)
    ]
    title = f"{result.index}, {result.mode}: {len(rows)} hits in {result.took_ms:.0f} ms"
    out.print(table("", "id", "score", "bm25", "knn", "document", rows=rows, title=title))


def read_filter(text: str) -> dict[str, Any]:
    """Return the query clause for one ``--filter``.

    Raises:
        UsageError: it is neither FIELD=VALUE nor a JSON object.
    """
    if text.lstrip().startswith("{"):
        try:
            clause: dict[str, Any] = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"--filter is not JSON: {error}") from error
        return clause
    field, equals, value = text.partition("=")
    if not equals or not field.strip():
        raise UsageError(f"--filter {text!r} is neither FIELD=VALUE nor a JSON query clause")
    return {"term": {field.strip(): value}}


def place(place: Place | None) -> str:
    """Return a leg's rank and score, or a dash where the leg did not find the document."""
    return f"{place.rank} ({place.score:.3f})" if place else "-"


def excerpt(hit: Hit, fields: list[str], length: int = 120) -> str:
    """Return the beginning of the document's source fields, in one line."""
    line = " ".join(source_text(hit.source, fields).split())
    return line if len(line) <= length else line[: length - 1] + "…"
