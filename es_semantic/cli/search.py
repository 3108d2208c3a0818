"""``es-semantic search``"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

import es_semantic
from es_semantic.cli.options import Index, Json, Name, names
from es_semantic.cli.output import out, print_json, table
from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion import Place
from es_semantic.retrieval.query import DEFAULT_SIZE
from es_semantic.retrieval.results import Hit


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
    if as_json:
        print_json(result)
        return
    rows = [
        [str(rank), hit.id, f"{hit.score:.4f}", place(hit.legs.get("bm25")), place(hit.legs.get("knn")), excerpt(hit)]
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


def excerpt(hit: Hit, length: int = 120) -> str:
    """Return the beginning of the document's texts, in one line."""
    texts = " | ".join(str(value) for value in hit.source.values() if isinstance(value, str))
    line = " ".join(texts.split())
    return line if len(line) <= length else line[: length - 1] + "…"
