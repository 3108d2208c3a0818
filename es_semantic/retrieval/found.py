"""What the leaves of a tree have found, and the order that each retriever above makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from es_semantic.retrieval.fusion.ranked import Place
from es_semantic.retrieval.leaves import Leaf

Key = tuple[str, str, str]
"""One document by index, id and routing: with custom routing one id may stand in several shards of an index.

In an index of one shard it may be by index, no id, and sequence number.
"""

Ranking = list[tuple[Key, float]]
"""Documents and scores, best first."""

LEAST = 1.4e-45
"""The least score that a compound retriever gives: single precision's smallest number, as Elasticsearch prints it.

A document that is ranked scores more than one that is only matched, whose score is 0 (measured on 9.4.3)."""

MOST = float(np.finfo(np.float32).max)
"""The highest: what overflows, such as twice the score of a pin, could not be sent."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """A part of a query that failed and was left out of the answer: its name, and why."""

    leg: str
    reason: str


@dataclass(slots=True)
class Found:
    """What is known of a query's documents.

    ``rankings`` are by the retriever's path; ``ties`` orders documents of equal score; ``carried`` has field values;
    ``explanations`` are Elasticsearch's own, and ``names`` those of the queries that have found a document, by path and
    document. ``by_shard`` says that ties are Elasticsearch's own; ``most_shards`` is how many a leaf has searched.
    """

    rankings: dict[str, Ranking] = field(default_factory=dict)
    ties: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    carried: dict[Key, dict[str, Any]] = field(default_factory=dict)
    explanations: dict[tuple[str, Key], Any] = field(default_factory=dict)
    names: dict[tuple[str, Key], list[str]] = field(default_factory=dict)
    degraded: list[Degraded] = field(default_factory=list)
    by_shard: bool = True
    most_shards: int = 0
    _places: dict[str, dict[Key, Place]] = field(default_factory=dict)

    def tie(self, key: Key) -> tuple[Any, ...]:
        """Return what decides between documents of equal score: their place in the index."""
        return self.ties[key]

    def add(self, leaf: Leaf, response: Mapping[str, Any]) -> None:
        """Take in the answer to a leaf's search."""
        ranking: Ranking = []
        for rank, hit in enumerate(response.get("hits", {}).get("hits", [])):
            key = key_of(hit)
            ranking.append((key, hit["_score"] if hit["_score"] is not None else 0.0))
            # Without a sort the order is all that is known.
            self.ties.setdefault(key, (hit["sort"][-1] if "sort" in hit else rank, key))
            self.carried.setdefault(key, {}).update(hit.get("fields", {}))
            if "_explanation" in hit:
                self.explanations[leaf.path, key] = hit["_explanation"]
            if "matched_queries" in hit:
                self.names[leaf.path, key] = hit["matched_queries"]
        self.rankings[leaf.path] = ranking
        self.most_shards = max(self.most_shards, response.get("_shards", {}).get("total", 0))

    def by_score(self, ranking: Ranking) -> Ranking:
        """Return the documents in the order that Elasticsearch gives what a compound retriever has ranked."""
        return sorted(within_bounds(ranking), key=lambda one: (-one[1], self.tie(one[0])))

    def place(self, path: str, key: Key) -> Place | None:
        """Return the rank and score that the retriever at this path gives the document; None where it has none.

        To be asked once the retriever's ranking is complete.
        """
        if path not in self._places:
            ranking = enumerate(self.rankings.get(path, ()), start=1)
            self._places[path] = {known: Place(rank, score) for rank, (known, score) in ranking}
        return self._places[path].get(key)

    def places(self, key: Key, labels: Mapping[str, str]) -> dict[str, Place]:
        """Return the document's rank and score in each leaf that has found it; ``labels`` name leaves, by path."""
        found = {label: self.place(path, key) for path, label in labels.items()}
        return {label: place for label, place in found.items() if place is not None}


def labels_of(legs: Sequence[Leaf]) -> dict[str, str]:
    """Return what hits call each leaf, by its path: its name, but the path itself where several have one name."""
    names = Counter(leaf.name for leaf in legs)
    return {leaf.path: leaf.name if names[leaf.name] == 1 else leaf.path for leaf in legs}


def within_bounds(ranking: Ranking) -> Ranking:
    """Return the documents with scores that a compound retriever can give."""
    return [(key, min(max(score, LEAST), MOST)) for key, score in ranking]


def at_least(ranking: Ranking, lowest: float) -> Ranking:
    """Return the documents that have this score or more, in single precision as Elasticsearch compares."""
    return [(key, score) for key, score in ranking if np.float32(score) >= np.float32(lowest)]


def key_of(hit: Mapping[str, Any]) -> Key:
    """Return which document a hit is: by its sequence number, the last of its sort values, where it has no id."""
    if "_id" not in hit:
        return number_key(hit["_index"], hit["sort"][-1])
    return hit["_index"], hit["_id"], hit.get("_routing", "")


def number_key(index: str, number: int) -> Key:
    """Return the key of the document with this sequence number in an index of one shard."""
    return index, "", str(number)


def is_number(key: Key) -> bool:
    """Return whether it is by a sequence number: no id is empty."""
    return not key[1]


def shown(score: float) -> float:
    """Return a score of single precision by the shortest digits, two at least, that tell it: as Java prints it.

    >>> shown(0.8333333730697632), shown(4.203895392974451e-45)
    (0.8333334, 4.2e-45)
    """
    return LEAST if 0 < score <= LEAST else float(np.format_float_scientific(np.float32(score), min_digits=1))
