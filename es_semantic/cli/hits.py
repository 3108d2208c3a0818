"""Hits as people see them, and what verbs that search have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import orjson
import typer

from es_semantic.cli.context import Context
from es_semantic.cli.output import out, say, table
from es_semantic.cluster.steps import run
from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import Place
from es_semantic.retrieval.results import Hit, SearchResult
from es_semantic.schema.binding import Bindings
from es_semantic.schema.lookup import bindings_of
from es_semantic.schema.text import source_text
from es_semantic.schema.vectors import any_vectors

EXCERPT = 120
"""Characters of a document in a table, and of each of its passages."""

Size = Annotated[int, typer.Option("--size", help="Hits wanted.")]
From = Annotated[int, typer.Option("--from", help="Hits to skip: the next page.")]
Window = Annotated[
    int | None, typer.Option("--window", help="Documents ranked by each leg. Default: 100, or --size if larger.")
]
Filter = Annotated[
    list[str] | None, typer.Option("--filter", help="FIELD=VALUE or an Elasticsearch query clause; repeatable.")
]
Names = Annotated[
    list[str] | None, typer.Option("--name", help="Name of the semantic field; repeatable. Default: semantic.")
]
Rerank = Annotated[str | None, typer.Option("--rerank", help="A configured reranker, to order the hits anew.")]
Deadline = Annotated[
    float | None, typer.Option("--deadline", help="Seconds for each leg, for embedding and for reranking.")
]
AllowDegraded = Annotated[
    bool, typer.Option("--allow-degraded", help="Leave out what fails or takes too long, and say so.")
]


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


def field_names(context: Context, index: str, names: Sequence[str] | None) -> list[str]:
    """Return the semantic fields to search: those asked for, else the one configured for this index."""
    return list(names) if names else [context.field_name(index, None)]


def say_that_a_model_loads(context: Context, index: str) -> None:
    """Tell why a search takes a while, once it is clear that there is something to search."""
    if any(each.fields for each in run(context.client, bindings_of(index)).values()):
        say("Loading the model takes some seconds in every new process ...")


def say_what_is_missing(context: Context, result: SearchResult, searched: Sequence[str]) -> None:
    """Tell which parts of a search failed, and that there are no vectors yet in the semantic fields ``searched``."""
    for each in result.degraded:
        say(f"Without {each.leg}, which failed: {each.reason}")
    if result.mode == "bm25" or result.degraded or any(hit.legs.keys() - {"bm25"} for hit in result.hits):
        return
    # The hits shown may be those of few, and the best of all by their words alone.
    if not run(context.client, any_vectors(result.index, searched)):
        say(f"No document has a vector; if that is unexpected: es-semantic sync {result.index}")


def print_hits(context: Context, result: SearchResult, names: Sequence[str], *, start: int = 0) -> None:
    """Print a table: a row for each hit, a column for each leg that found one, and what answers the query."""
    if not result.hits:
        out.print(f"{result.index}, {result.mode}: no hits in {result.took_ms:.0f} ms")
        return
    bindings = run(context.client, bindings_of(result.index))
    legs = leg_columns(result)
    rows = [
        [
            str(rank),
            hit.id,
            f"{hit.score:.4f}",
            *(place(hit.legs.get(leg)) for leg in legs),
            shown(hit, source_fields(hit, bindings, names)),
        ]
        for rank, hit in enumerate(result.hits, start + 1)
    ]
    title = f"{result.index}, {result.mode}: {len(rows)} hits in {result.took_ms:.0f} ms"
    out.print(table("", "id", "score", *legs, "document", rows=rows, title=title))


def leg_columns(result: SearchResult) -> list[str]:
    """Return the names of the legs that have found a hit: words first, then as they come."""
    names = dict.fromkeys(leg for hit in result.hits for leg in hit.legs)
    return sorted(names, key=lambda leg: leg != "bm25")


def place(place: Place | None) -> str:
    """Return a leg's rank and score, or a dash where the leg did not find the document."""
    return f"{place.rank} ({place.score:.3f})" if place else "-"


def source_fields(hit: Hit, bindings: Mapping[str, Bindings], names: Sequence[str]) -> list[str]:
    """Return the source fields of the semantic fields searched, as the hit's index has them."""
    here = bindings.get(hit.index, Bindings())
    searched = [here.fields[place] for place in map(here.place, names) if place in here.fields]
    return list(dict.fromkeys(field for binding in searched for field in binding.source))


def shown(hit: Hit, fields: Sequence[str]) -> str:
    """Return what answers the query: passages or highlights, a line each, else the beginning of the source fields."""
    parts = [passage.text for passage in hit.passages] or [each for found in hit.highlights.values() for each in found]
    return "\n".join(map(excerpt, parts or [source_text(hit.source, fields)]))


def excerpt(text: str) -> str:
    """Return the beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
