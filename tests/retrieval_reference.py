"""Retriever trees by the book: slow and plain, written from Elastic's documentation of each retriever.

Every leaf is a search of its own, and what its query matches is counted in Python. Scores are of single precision.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.retrieval_corpus import Corpus, Key, key_of

Json = dict[str, Any]
Ranking = list[tuple[Key, float]]

Leg = dict[Key, tuple[int, float]]
"""Rank and score of each document."""

EVERYTHING = 1_000
NEARLY = 1e-6


@dataclass
class Reference:
    """Ranks trees over one target of a corpus."""

    corpus: Corpus
    target: str
    ties: dict[Key, int] = field(default_factory=dict)
    leaves: list[tuple[str, str, Leg]] = field(default_factory=list)

    @property
    def legs(self) -> dict[str, Leg]:
        """What each leaf has found, by its name; leaves of one name go by their paths."""
        names = [name for name, _, _ in self.leaves]
        return {name if names.count(name) == 1 else path: leg for name, path, leg in self.leaves}

    def rank(self, tree: Json, size: int, filters: tuple[Json, ...] = (), path: str = "") -> Ranking:
        """The documents of a retriever, best first; ``filters`` are those of the retrievers above."""
        ((kind, retriever),) = tree.items()
        here = f"{path}.{kind}" if path else kind
        filters += filters_of(retriever)
        if kind in ("standard", "knn"):
            ranking = self.leaf(kind, retriever, size, filters)
            places = {key: (place, score) for place, (key, score) in enumerate(ranking, start=1)}
            self.leaves.append((retriever.get("_name", here), here, places))
            return ranking
        window = retriever["rank_window_size"]
        if kind == "pinned":
            below = self.rank(retriever["retriever"], window, filters, f"{here}.retriever")
            return self.pinned(retriever["ids"], below, filters)[:window]
        scores: dict[Key, np.float32] = {}
        for number, entry in enumerate(retriever["retrievers"]):
            child, way = (entry["retriever"], ".retriever") if "retriever" in entry else (entry, "")
            leg = self.rank(child, window, filters, f"{here}.retrievers[{number}]{way}")[:window]
            weight = np.float32(entry.get("weight", 1) if way else 1)
            terms = (
                [np.float32(1) / np.float32(retriever["rank_constant"] + rank) for rank in range(1, len(leg) + 1)]
                if kind == "rrf"
                else normalized([np.float32(score) for _, score in leg], entry["normalizer"])
            )
            for (key, _), term in zip(leg, terms, strict=True):
                # One after the other in single precision, as Elasticsearch adds.
                scores[key] = scores.get(key, np.float32(0)) + weight * term
        return self.best({key: float(score) for key, score in scores.items()}, window)

    def best(self, scores: dict[Key, float], window: int) -> Ranking:
        """By score, then by place in the index. What is ranked scores more than nothing."""
        most = float(np.finfo(np.float32).max)
        single = {key: max(float(np.float32(min(score, most))), 1.4e-45) for key, score in scores.items()}
        return sorted(single.items(), key=lambda one: (-one[1], self.ties[one[0]]))[:window]

    def pinned(self, ids: list[str], below: Ranking, filters: tuple[Json, ...]) -> Ranking:
        """The pinned documents that match all filters, in the order of the ids, then the others."""
        there = {key for key, _ in self.search({"query": everything(filters, {"ids": {"values": ids}})}, EVERYTHING)}
        pins = [
            key
            for doc_id in ids
            for key in sorted((key for key in there if key[1] == doc_id), key=self.ties.__getitem__)
        ]
        score, scores = np.float32(2.0**127), {}
        score = np.nextafter(score, np.float32(math.inf))
        for doc_id in reversed(ids):
            score = np.nextafter(score, np.float32(math.inf))
            scores[doc_id] = float(score)
        others = [(key, min(score, 2.0**127)) for key, score in below if key not in pins]
        return [(key, scores[key[1]]) for key in pins] + others

    def leaf(self, kind: str, retriever: Json, size: int, filters: tuple[Json, ...]) -> Ranking:
        if kind == "knn":
            knn = {name: value for name, value in retriever.items() if name not in ("filter", "_name")}
            return self.search({"knn": {**knn, "filter": list(filters)}}, size)
        body: Json = {"query": everything(filters, retriever["query"])}
        if "min_score" in retriever:
            body["min_score"] = retriever["min_score"]
        return self.search(body, size)

    def search(self, body: Json, size: int) -> Ranking:
        answer = self.corpus.client.perform_request(
            "POST",
            f"/{self.target}/_search",
            headers={"accept": "application/json", "content-type": "application/json"},
            body={**body, "size": size, "sort": ["_score", "_shard_doc"], "_source": False},
        ).body
        self.ties.update((key_of(hit), hit["sort"][1]) for hit in answer["hits"]["hits"])
        return [(key_of(hit), hit["_score"]) for hit in answer["hits"]["hits"]]

    def matched(self, tree: Json, size: int, filters: tuple[Json, ...] = ()) -> set[Key]:
        """All documents that a query below matches, the nearest of a vector search, and pins."""
        ((kind, retriever),) = tree.items()
        filters += filters_of(retriever)
        if kind == "knn":
            return {key for key, _ in self.leaf(kind, retriever, size, filters)}
        if kind == "standard":
            found = self.search({"query": everything(filters, retriever["query"])}, EVERYTHING)
            return {key for key, _ in found}
        window = retriever["rank_window_size"]
        if kind == "pinned":
            pins = self.search({"query": everything(filters, {"ids": {"values": retriever["ids"]}})}, EVERYTHING)
            return {key for key, _ in pins} | self.matched(retriever["retriever"], window, filters)
        entries = [entry.get("retriever", entry) for entry in retriever["retrievers"]]
        return set().union(*(self.matched(entry, window, filters) for entry in entries))

    def tags(self, keys: set[Key]) -> Counter[str]:
        """How many documents have each tag."""
        return Counter(tag for key in keys if (tag := self.corpus.sources[key].get("tag")))


def everything(filters: tuple[Json, ...], query: Json) -> Json:
    """The query within the filters."""
    return {"bool": {"must": [query], "filter": list(filters)}}


def filters_of(retriever: Json) -> tuple[Json, ...]:
    """The retriever's own filters."""
    own = retriever.get("filter", [])
    return (own,) if isinstance(own, dict) else tuple(own)


def normalized(scores: list[np.float32], normalizer: str) -> list[np.float32]:
    """Elastic docs, "Linear retriever": ``minmax`` is (score - min) / (max - min), ``l2_norm`` score / norm.

    What is nearly 0 divides nothing: then scores are 1, or stay.
    """
    if normalizer == "none" or not scores:
        return scores
    if normalizer == "minmax":
        low, high = min(scores), max(scores)
        return [(score - low) / (high - low) if high - low >= NEARLY else np.float32(1) for score in scores]
    norm = math.sqrt(math.fsum(float(score) ** 2 for score in scores))
    return [np.float32(float(score) / norm) if norm >= NEARLY else score for score in scores]
