"""What the tools do: procedures over the Python interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.api_search import more_like, search
from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.config import DEFAULT_FIELD_NAME, Config
from es_semantic.errors import UsageError
from es_semantic.integrations.mcp.answers import (
    DocumentInfo,
    Failed,
    Hits,
    Indices,
    Scalar,
    beginning,
    hit_info,
    passage_info,
    short_values,
)
from es_semantic.integrations.mcp.served import MOST_LISTED, Served, listed, require_served
from es_semantic.retrieval.more_like import the_one
from es_semantic.retrieval.tree.nodes import Json
from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.text import source_text

DEADLINE = 30.0
"""Seconds that each part of a search may take."""

Filters = Mapping[str, Scalar | list[Scalar]] | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One index that is served, the name of a semantic field of it, and that field's binding in each index behind."""

    served: Served
    index: str
    name: str
    bindings: Mapping[str, Binding]
    hidden: Sequence[str]

    def shown(self, concrete: str) -> str:
        """Return the name of an index as agents may use it."""
        return self.served.shown(concrete, self.index)

    def text(self, concrete: str, source: Mapping[str, Any]) -> str:
        """Return the canonical text of a document."""
        return source_text(source, self.bindings[concrete].source) if concrete in self.bindings else ""


def list_indices_steps(served: Served) -> Steps[Indices]:
    """Tell what can be searched, the first hundred by name."""
    indices = yield from listed(served)
    return Indices(indices=indices[:MOST_LISTED], more=len(indices) > MOST_LISTED)


def search_steps(
    served: Served,
    config: Config,
    query: str,
    *,
    index: str | None,
    mode: str,
    size: int,
    passages: int,
    filters: Filters,
    field: str | None,
) -> Steps[Hits]:
    """Search, with passages of each hit; what fails is left out and named, if anything is left."""
    asked = yield from _asked(served, index, field)
    found = yield from search.steps(
        asked.index,
        query,
        mode=mode,
        size=size,
        passages=passages,
        filters=_clauses(filters),
        deadline=DEADLINE,
        allow_degraded=True,
        config=config,
        name=asked.name,
    )
    hits = [hit_info(hit, asked.shown(hit.index), [passage_info(each) for each in hit.passages]) for hit in found.hits]
    failed = [Failed(part=each.leg, reason=each.reason) for each in found.degraded]
    return Hits(hits=hits, field=asked.name, failed=failed)


def more_like_steps(
    served: Served,
    index: str,
    id: str,
    *,
    routing: str | None,
    size: int,
    filters: Filters,
    field: str | None,
) -> Steps[Hits]:
    """Find what is nearest to a document, with the beginning of each hit's text."""
    asked = yield from _asked(served, index, field)
    found = yield from more_like.steps(
        asked.index,
        id,
        routing=routing,
        size=size,
        filters=_clauses(filters),
        deadline=DEADLINE,
        name=asked.name,
    )
    hits = [hit_info(hit, asked.shown(hit.index), beginning(asked.text(hit.index, hit.source))) for hit in found.hits]
    return Hits(hits=hits, field=asked.name)


def fetch_steps(
    served: Served, index: str, id: str, *, routing: str | None, start: int, length: int, field: str | None
) -> Steps[DocumentInfo]:
    """Read a document's text, or ``length`` code points of it from ``start`` on.

    Raises:
        InvalidQuery: there is no such document, or several.
    """
    asked = yield from _asked(served, index, field)
    wanted = [{"ids": {"values": [id]}}, *([{"term": {"_routing": routing}}] if routing is not None else [])]
    body: Json = {
        "size": 2,
        "query": {"bool": {"filter": wanted}},
        "_source": {"excludes": list(asked.hidden)},
        "track_total_hits": False,
    }
    params = {"allow_partial_search_results": "false"}
    answer = yield Request("POST", url_path("/{}/_search", asked.index), params, body)
    hit = the_one(answer["hits"]["hits"], asked.index, id, routing)
    source = hit.get("_source") or {}
    text = asked.text(hit["_index"], source)
    part = text[start : start + length]
    return DocumentInfo(
        index=asked.shown(hit["_index"]),
        id=id,
        routing=hit.get("_routing"),
        text=part,
        start=min(start, len(text)),
        end=min(start, len(text)) + len(part),
        length=len(text),
        field=asked.name,
        values=short_values(source),
    )


def _asked(served: Served, index: str | None, field: str | None) -> Steps[Asked]:
    """Find the index, the only one where none is named, and its semantic field.

    Raises:
        UsageError: the index is not served, or has no such semantic field; or one of several has to be named.
    """
    if index is None:
        every = [each.index for each in (yield from listed(served))]
        if len(every) != 1:
            told = f"name one of: {', '.join(every[:MOST_LISTED])}" if every else "none is served that has vectors"
            raise UsageError("which index?", hint=f"There are {len(every)}; {told}")
        index = every[0]
    bindings = yield from require_served(served, index)
    name = _field_name(bindings, index, field)
    fields = {concrete: each.fields[each.place(name)] for concrete, each in bindings.items()}
    return Asked(served, index, name, fields, sorted({place for each in bindings.values() for place in each.hidden()}))


def _field_name(bindings: Mapping[str, Bindings], index: str, field: str | None) -> str:
    """The semantic field that is asked for, else the only one, else the one of the default name."""
    names = sorted(set.intersection(*(set(each.served()) for each in bindings.values())))
    chosen = field or (names[0] if len(names) == 1 else DEFAULT_FIELD_NAME)
    if chosen not in names:
        what = f"has no semantic field {chosen!r}" if field else "has several semantic fields"
        raise UsageError(f"index {index!r} {what}", hint=f"Give as field one of: {', '.join(names) or 'none'}")
    return chosen


def _clauses(filters: Filters) -> list[Json]:
    return [
        {"terms": {name: value}} if isinstance(value, list) else {"term": {name: {"value": value}}}
        for name, value in (filters or {}).items()
    ]
