"""Indices for tests of retriever trees: few words and small numbers, so that many documents score the same."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from elasticsearch import Elasticsearch

from tests.nodes import remove_everything

WORDS = ("red", "green", "blue", "apple", "pear", "plum")
TAGS = "abcde"
COUNT = 200
DELETED = 20

# Every vector is compared, so that nothing is found by chance.
_FLAT = {"type": "dense_vector", "similarity": "l2_norm", "index": True, "index_options": {"type": "flat"}}
PROPERTIES: dict[str, Any] = {
    "title": {"type": "text"},
    "body": {"type": "text", "store": True},
    "n": {"type": "integer"},
    "tag": {"type": "keyword"},
    "vector": {**_FLAT, "dims": 3},
    "comments": {"type": "nested", "properties": {"text": {"type": "text"}, "stars": {"type": "integer"}}},
    "chunks": {"type": "nested", "properties": {"vector": {**_FLAT, "dims": 2}}},
}

Key = tuple[str, str, str]
"""Index, id and routing."""


class Corpus:
    """An index of one shard and one of three, and what is in them.

    Some ids stand in several shards, by custom routing; some documents have no tag, no vector, or no comments; some
    were deleted and some overwritten.
    """

    def __init__(self, client: Elasticsearch, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.sources: dict[Key, dict[str, Any]] = {}
        self._shards: dict[tuple[str, str], int] = {}

    def __repr__(self) -> str:
        return f"Corpus({self.prefix!r})"

    @property
    def one(self) -> str:
        return f"{self.prefix}-one"

    @property
    def three(self) -> str:
        return f"{self.prefix}-three"

    @property
    def targets(self) -> list[str]:
        """What may be searched: each index, both, a pattern, an alias."""
        return [self.one, self.three, f"{self.one},{self.three}", f"{self.prefix}-*", f"{self.prefix}-alias"]

    def of(self, target: str) -> dict[Key, dict[str, Any]]:
        """The documents of a target."""
        names = [target] if target in (self.one, self.three) else [self.one, self.three]
        return {key: source for key, source in self.sources.items() if key[0] in names}

    def fill(self, generator: random.Random) -> None:
        for name, shards in ((self.one, 1), (self.three, 3)):
            settings = {"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1"}
            self.client.indices.create(index=name, mappings={"properties": PROPERTIES}, settings=settings)
            self.client.indices.put_alias(index=name, name=f"{self.prefix}-alias")
            # In two halves, so that a shard has several segments.
            for first in (0, COUNT // 2):
                self._write(name, generator, first)
            there = sorted(key for key in self.sources if key[0] == name and key[1] != "twin")
            for key in generator.sample(there, DELETED):
                routing = {"routing": key[2]} if key[2] else {}
                self.client.delete(index=name, id=key[1], **routing)  # type: ignore[arg-type]
                del self.sources[key]
            self.client.indices.refresh(index=name)

    def _write(self, name: str, generator: random.Random, first: int) -> None:
        operations: list[dict[str, Any]] = []
        places = [("twin", routing) for routing in "xyz"]
        for number in range(first, first + COUNT // 2):
            doc_id = str(number if generator.random() < 0.95 else generator.randrange(number + 1))
            places.append((doc_id, generator.choice("xyz") if generator.random() < 0.15 else ""))
        for doc_id, routing in places:
            source = document(generator)
            operations += [{"index": {"_id": doc_id, **({"routing": routing} if routing else {})}}, source]
            self._overwrite(name, doc_id, routing)
            self.sources[name, doc_id, routing] = source
        assert not self.client.bulk(index=name, operations=operations, refresh=True)["errors"]

    def _overwrite(self, name: str, doc_id: str, routing: str) -> None:
        """Forget what the document replaces: in the shard that it goes to the id stands once."""
        shard = self._shard(name, routing or doc_id)
        for other in ("", *"xyz"):
            if self._shard(name, other or doc_id) == shard:
                self.sources.pop((name, doc_id, other), None)

    def _shard(self, name: str, routing: str) -> int:
        if name == self.one:
            return 0
        if (name, routing) not in self._shards:
            ((copy, *_),) = self.client.search_shards(index=name, routing=routing)["shards"]
            self._shards[name, routing] = copy["shard"]
        return self._shards[name, routing]


def document(generator: random.Random) -> dict[str, Any]:
    """A document of few words and small numbers."""
    source: dict[str, Any] = {
        "title": " ".join(generator.choices(WORDS, k=generator.randint(1, 3))),
        "body": " ".join(generator.choices(WORDS, k=generator.randint(3, 9))),
        "n": generator.randint(0, 9),
    }
    if generator.random() < 0.85:
        source["tag"] = generator.choice(TAGS)
    if generator.random() < 0.8:
        source["vector"] = [float(generator.randint(-2, 2)) for _ in range(3)]
    source["comments"] = [
        {"text": " ".join(generator.choices(WORDS, k=2)), "stars": generator.randint(1, 5)}
        for _ in range(generator.randint(0, 3))
    ]
    source["chunks"] = [
        {"vector": [generator.randint(-2, 2) + 0.5, generator.randint(-2, 2) + 0.25]}
        for _ in range(generator.randint(0, 3))
    ]
    return source


@contextmanager
def corpus_of(client: Elasticsearch, seed: int) -> Iterator[Corpus]:
    """A corpus by this seed, removed at the end."""
    corpus = Corpus(client, f"test-{uuid.uuid4().hex[:12]}")
    try:
        corpus.fill(random.Random(seed))
        assert client.count(index=corpus.targets[2])["count"] == len(corpus.sources)
        yield corpus
    finally:
        remove_everything(client, corpus.prefix)


def key_of(hit: Any) -> Key:
    """Which document a hit is."""
    return hit["_index"], hit["_id"], hit.get("_routing", "")
