"""What the leaves of a tree have found, and the order that each retriever above makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from es_semantic.retrieval.fusion.ranked import Place
from es_semantic.retrieval.leaves import Leaf

Key = tuple[str, str, str]
"""One document by index, id and routing: with custom routing one id may stand in several shards of an index."""

Ranking = list[tuple[Key, float]]
"""Documents and scores, best first."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """A part of a query that failed and was left out of the answer: its name, and why."""

    leg: str
    reason: str


@dataclass(slots=True)
class Found:
    """What is known of a query's documents.

    ``rankings`` are by the retriever's path; ``ties`` orders documents of equal score; ``carried`` has field values,
    ``explanations`` Elasticsearch's own by path and document.
    """

    rankings: dict[str, Ranking] = field(default_factory=dict)
    ties: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    carried: dict[Key, dict[str, Any]] = field(default_factory=dict)
    explanations: dict[tuple[str, Key], Any] = field(default_factory=dict)
    degraded: list[Degraded] = field(default_factory=list)
    timed_out: bool = False

    def tie(self, key: Key) -> tuple[Any, ...]:
        """Return what decides between documents of equal score: their place in the index."""
        return self.ties[key]

    def add(self, leaf: Leaf, response: Mapping[str, Any]) -> None:
        """Take in the answer to a leaf's search."""
        ranking: Ranking = []
        for hit in response.get("hits", {}).get("hits", []):
            key = key_of(hit)
            ranking.append((key, hit["_score"] if hit["_score"] is not None else 0.0))
            self.ties.setdefault(key, (hit["sort"][-1], key))
            self.carried.setdefault(key, {}).update(hit.get("fields", {}))
            if "_explanation" in hit:
                self.explanations[leaf.path, key] = hit["_explanation"]
        self.rankings[leaf.path] = ranking
        self.timed_out = self.timed_out or bool(response.get("timed_out"))

    def places(self, key: Key, legs: Sequence[Leaf]) -> dict[str, Place]:
        """Return the document's rank and score in each leaf that has found it, by the leaf's name."""
        found = {}
        for leaf in legs:
            for rank, (other, score) in enumerate(self.rankings.get(leaf.path, ()), start=1):
                if other == key:
                    found[leaf.name] = Place(rank, score)
                    break
        return found


def key_of(hit: Mapping[str, Any]) -> Key:
    """Return which document a hit is."""
    return hit["_index"], hit["_id"], hit.get("_routing", "")
