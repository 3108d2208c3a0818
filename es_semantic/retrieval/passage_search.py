"""Find the passages of a page's hits: one more request for all chunks, one for all highlights, each only if needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from es_semantic.cluster.failures import failure
from es_semantic.cluster.steps import Request, Steps
from es_semantic.deadline import in_milliseconds
from es_semantic.errors import ClusterError, RequestFailed
from es_semantic.retrieval.found import Degraded, Key, key_of
from es_semantic.retrieval.passages import (
    Passage,
    chunk_passages,
    chunks_body,
    highlight_passages,
    highlights_body,
    read_chunks,
)
from es_semantic.retrieval.results import Hit
from es_semantic.retrieval.semantic import Group
from es_semantic.retrieval.tree.nodes import Json, Vector
from es_semantic.retrieval.words import plain
from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.text import source_text

Found = dict[Key, tuple[Passage, ...]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many passages each hit of a search for ``text`` in ``index`` shall have.

    ``sourced`` says that the hits carry their documents. ``deadline`` is in seconds, for each search. With
    ``allow_degraded`` a search that fails is left out and named.
    """

    index: str
    text: str
    count: int
    sourced: bool = True
    deadline: float | None = None
    allow_degraded: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A hit and the semantic field that its passages come from; ``group`` is the number of that field's group."""

    hit: Hit
    group: int
    name: str
    binding: Binding

    def text(self, response: Mapping[str, Any]) -> str:
        """Return the canonical text: of the hit's document, else of what this response brings of it."""
        return source_text(self.hit.source or response.get("_source") or {}, self.binding.source)


def passages_steps(
    wanted: Wanted,
    hits: Sequence[Hit],
    members: Sequence[Group],
    legs: Sequence[str],
    vectors: Mapping[int, Vector],
    bindings: Mapping[str, Bindings],
) -> Steps[tuple[tuple[Hit, ...], list[Degraded]]]:
    """Return the hits with their passages, and what failed.

    ``legs`` are the names of the vector legs of ``members``, ``vectors`` the query's by the same numbers. Of several
    semantic fields of a hit's index the one whose leg ranks the hit best gives the passages. A document in chunks has
    its nearest chunks, if they are of its text as it is now; else it has what a document with one vector has:
    highlights, or the beginning of the text where nothing is highlighted.

    Raises:
        ClusterError: a search failed, and a degraded answer is not allowed.
    """
    places = places_of(hits, members, legs, bindings)
    found: Found = {}
    degraded: list[Degraded] = []
    for way in (_chunks(wanted, places, vectors, found), _highlights(wanted, places, found)):
        try:
            yield from way
        except ClusterError as error:
            if not wanted.allow_degraded:
                raise
            degraded.append(Degraded("passages", error.what))
    return tuple(replace(hit, passages=found.get(hit.key, ())) for hit in hits), degraded


def places_of(
    hits: Iterable[Hit], members: Sequence[Group], legs: Sequence[str], bindings: Mapping[str, Bindings]
) -> dict[Key, Place]:
    """Return where each hit's passages come from; a hit of an index that came up since the search began has none."""
    places = {}
    for hit in hits:
        having = [number for number, group in enumerate(members) if hit.index in group.indices]
        if having:
            best = min(having, key=lambda number: hit.legs[legs[number]].rank if legs[number] in hit.legs else _LAST)
            name = members[best].name
            places[hit.key] = Place(hit, best, name, bindings[hit.index].fields[name])
    return places


def _chunks(wanted: Wanted, places: Mapping[Key, Place], vectors: Mapping[int, Vector], found: Found) -> Steps[None]:
    groups: dict[tuple[int, tuple[str, ...]], list[Key]] = {}
    for key, place in places.items():
        if place.group in vectors and place.binding.chunking is not None:
            groups.setdefault((place.group, _sources(wanted, place)), []).append(key)
    bodies = []
    for (group, sources), keys in groups.items():
        place = places[keys[0]]
        bodies.append(chunks_body(keys, vectors[group], place.binding, place.name, count=wanted.count, sources=sources))
    for hit in (yield from _ask(wanted, bodies)):
        place = places[key_of(hit)]
        passages = chunk_passages(place.text(hit), *read_chunks(hit, place.name), place.name)
        if passages:
            found[place.hit.key] = passages


def _highlights(wanted: Wanted, places: Mapping[Key, Place], found: Found) -> Steps[None]:
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Key]] = {}
    for key, place in places.items():
        if key not in found:
            fields = plain(place.binding.bm25_fields)
            groups.setdefault((fields, _sources(wanted, place)), []).append(key)
    bodies = [
        highlights_body(keys, wanted.text, fields, count=wanted.count, sources=sources)
        for (fields, sources), keys in groups.items()
    ]
    for hit in (yield from _ask(wanted, bodies)):
        place = places[key_of(hit)]
        found[place.hit.key] = highlight_passages(place.text(hit), hit.get("highlight", {}), place.name, wanted.count)


def _sources(wanted: Wanted, place: Place) -> tuple[str, ...]:
    return () if wanted.sourced else tuple(place.binding.source)


def _ask(wanted: Wanted, bodies: Sequence[Json]) -> Steps[list[Json]]:
    """Run the searches in one request and return the hits of all."""
    if not bodies:
        return []
    header = orjson.dumps({"index": wanted.index, "allow_partial_search_results": False})
    limit = {} if wanted.deadline is None else {"timeout": in_milliseconds(wanted.deadline)}
    lines = [line for body in bodies for line in (header, orjson.dumps({**body, **limit}))]
    about = f"passages of {wanted.index!r}"
    answer = yield Request("POST", "/_msearch", body=lines, about=about)
    for response in answer["responses"]:
        if "error" in response:
            raise failure(int(response.get("status", 500)), response, about)
        if response.get("timed_out"):
            raise RequestFailed(f"{about}: not found within {wanted.deadline:g} seconds", status=408)
    return [hit for response in answer["responses"] for hit in response["hits"]["hits"]]


_LAST = float("inf")
