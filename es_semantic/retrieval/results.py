"""What a search answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from es_semantic.retrieval.found import Degraded, Key
from es_semantic.retrieval.fusion.ranked import Place
from es_semantic.retrieval.passages import Passage
from es_semantic.retrieval.query import Mode


@dataclass(frozen=True, slots=True)
class Hit:
    """One document: ``score`` after fusion (of the leg itself where there is one leg), ``legs`` by name.

    ``highlights`` are Elasticsearch's fragments by field, where they were asked for; ``passages``, best first, the
    parts of the document's text that answer the query. ``routing`` is what the document was written with.
    """

    index: str
    id: str
    score: float
    legs: Mapping[str, Place]
    source: Mapping[str, Any]
    highlights: Mapping[str, list[str]] = field(default_factory=dict)
    passages: tuple[Passage, ...] = ()
    routing: str | None = None

    @property
    def key(self) -> Key:
        """Which document it is."""
        return self.index, self.id, self.routing or ""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first. ``took_ms`` is the wall time of the whole call, embedding included; loading
    the model, which happens once a process, is not. ``degraded`` names what failed and is missing here."""

    index: str
    mode: Mode
    took_ms: float
    hits: tuple[Hit, ...]
    degraded: tuple[Degraded, ...] = ()


def read_hit(hit: Mapping[str, Any], rank: int, leg: str, shown: Mapping[str, str] | None = None) -> Hit:
    """Return a hit of ``_search``; where one leg was run natively, its rank there is its rank here.

    ``shown`` are the fields that highlights go by where it is not their own.
    """
    legs = hit.get("_legs") or {leg: {"rank": rank, "score": hit["_score"]}}
    return Hit(
        hit["_index"],
        hit["_id"],
        hit["_score"],
        {name: Place(place["rank"], place["score"]) for name, place in legs.items()},
        hit.get("_source", {}),
        {(shown or {}).get(field, field): parts for field, parts in hit.get("highlight", {}).items()},
        routing=hit.get("_routing"),
    )
