"""Every kind of write, in random order, between the steps of a job that is killed at random: nothing is lost.

At the end the alias stands for the new index, which is compared with a plain Python model of what its owner wrote, and
every vector is true. Two seeds run always; ``ES_SEMANTIC_SEEDS=200 pytest tests/faults/test_reindex_interleavings.py``
runs as many others.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request, Steps
from es_semantic.embedding import Embeddings
from es_semantic.errors import InputRejected, Unreachable
from es_semantic.reindex import copy
from tests.driving import Driver, Killed, lost
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex
from tests.reindexing import documents
from tests.truth import problem

FIELDS = ["title", "body"]
IDS = [str(i) for i in range(40)]
PAGE = 6
"""Hits that a search may return, so that the feed has pages to turn."""

WINDOW = 8
RUNS = 20
PROPERTIES = {"title": {"type": "text"}, "body": {"type": "text"}, "count": {"type": "integer"}}
SETTINGS = {"number_of_shards": 2, "max_result_window": PAGE}
POISON = "poison"
SEEDS = [20261122, 7] + [random.randrange(1 << 32) for _ in range(int(os.environ.get("ES_SEMANTIC_SEEDS", "0")))]


class Refusing(TinyEmbedder):
    """Refuses texts with a certain word."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if any(POISON in text for text in texts):
            raise InputRejected("this text is refused")
        return super().embed_documents(texts)


class Owner:
    """Writes to an alias at random, and knows what must be there."""

    def __init__(self, client: Elasticsearch, alias: str, generator: random.Random) -> None:
        self.client = client.options(ignore_status=403)
        self.alias = alias
        self.random = generator
        self.model: dict[tuple[str, str | None], dict[str, Any]] = {}
        self.texts = 0
        self.blocked = 0
        self.added = 0

    def write(self, *, only_new: bool = False) -> None:
        """One write, which a block may refuse; ``only_new`` documents that nobody has written before."""
        if only_new:
            self.added += 1
            self.put(f"new-{self.added}")
            return
        action = self.random.choice([self.put, self.put, self.put, self.update, self.count, self.delete, self.delete])
        action()

    def put(self, doc_id: str = "") -> None:
        doc_id = doc_id or self.random.choice(IDS)
        document = {"title": self._text(), "body": self._text(), "count": self.random.randrange(100)}
        if self._done(self.client.index(index=self.alias, id=doc_id, document=document)):
            self.model[doc_id, None] = document

    def update(self) -> None:
        self._change({self.random.choice(FIELDS): self._text()})

    def count(self) -> None:
        self._change({"count": self.random.randrange(100)})

    def delete(self) -> None:
        if self.model:
            key = self.random.choice(sorted(self.model, key=str))
            if self._done(self.client.delete(index=self.alias, id=key[0])):
                del self.model[key]

    def _change(self, part: dict[str, Any]) -> None:
        if self.model:
            key = self.random.choice(sorted(self.model, key=str))
            lines = [{"update": {"_index": self.alias, "_id": key[0]}}, {"doc": part}]
            (item,) = self.client.bulk(operations=lines)["items"]
            if item["update"]["status"] == 403:
                self.blocked += 1
                return
            assert item["update"]["status"] == 200, item
            self.model[key] = {**self.model[key], **part}
            self.texts += 1

    def _text(self) -> Any:
        words = ["red", "green", "blue", "\U0001f600", "", None, POISON, "one two three", 7, 1 << 70, "\ud800"]
        return self.random.choices(words, [6, 6, 6, 2, 2, 2, 1, 4, 2, 1, 1])[0]

    def _done(self, answer: Any) -> bool:
        if answer.meta.status == 403:
            self.blocked += 1
            return False
        self.texts += 1
        return True


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "WINDOW", WINDOW)
    monkeypatch.setattr(copy, "SAVE_EVERY", 0.02)


@pytest.mark.parametrize("switch", ["block", "caught-up"])
@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound"])
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_written_and_wherever_it_is_killed(
    client: Elasticsearch, make_index: MakeIndex, seed: int, bound: bool, switch: str
) -> None:
    print(f"seed {seed}")
    generator = random.Random(f"{seed} {bound} {switch}")
    index = make_index(PROPERTIES, settings=SETTINGS)
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)
    if bound:
        es_semantic.attach(client, index, FIELDS, model=TinyEmbedder("older"), chunk="never")
    owner = Owner(client, alias, generator)
    for _ in range(60):
        owner.write()
    embedder = Refusing()
    if bound:
        es_semantic.sync(client, index, model=TinyEmbedder("older"))
    report, kills = _until_done(client, owner, generator, alias, new, embedder, switch)
    assert report.switched
    assert set(client.indices.get_alias(name=alias)) == {new}
    for _ in range(10):
        owner.write()
    es_semantic.sync(client, new, model=embedder)
    client.indices.put_settings(index=new, settings={"max_result_window": 1000})
    stored = documents(client, new)
    assert {doc_id: source for doc_id, (source, _, _) in stored.items()} == {
        doc_id: document for (doc_id, _), document in owner.model.items()
    }
    _require_true(client, new, embedder, stored)
    print(f"{kills} kills, {len(embedder.texts)} texts embedded of {owner.texts} written, {owner.blocked} refused")


def _until_done(
    client: Elasticsearch,
    owner: Owner,
    generator: random.Random,
    alias: str,
    new: str,
    embedder: TinyEmbedder,
    switch: Any,
) -> tuple[Any, int]:
    """Run the job until it ends well: each run writes beside it, and all but the last are cut off somewhere."""

    def before(_: Request) -> None:
        if generator.random() < share:
            raise Killed
        if generator.random() < 0.3:
            # What came late is in the new index a moment after the switch: until then nobody can change it there.
            owner.write(only_new=bool(client.indices.exists_alias(index=new, name=alias)))

    def after(_: Request) -> None:
        if generator.random() < share:
            raise Killed
        if generator.random() < share:
            raise lost()

    kills = 0
    for run in range(RUNS + 1):
        share = 0.02 if run < RUNS else 0.0
        driver = Driver(client, before, after)
        try:
            return driver.drive(_job(alias, new, embedder, switch)), kills
        except Killed:
            kills += 1
        except Unreachable:
            kills += 1
    raise AssertionError("the job never ends")


def _job(alias: str, new: str, embedder: TinyEmbedder, switch: Any) -> Steps[Any]:
    return es_semantic.reindex.__wrapped__(  # type: ignore[attr-defined,no-any-return]
        alias, new, fields=FIELDS, model=embedder, switch=switch, slices=2
    )


def _require_true(client: Elasticsearch, index: str, embedder: TinyEmbedder, ids: Iterable[str]) -> None:
    for doc_id in ids:
        hit = client.get(index=index, id=doc_id, source_exclude_vectors=False)
        wrong = problem(hit["_source"], FIELDS, embedder)
        if POISON in f"{hit['_source'].get('title')} {hit['_source'].get('body')}":
            assert hit["_source"]["semantic"]["status"] == "failed"
        else:
            assert not wrong, (doc_id, wrong)
