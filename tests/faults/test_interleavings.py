"""Every write path, in random order, between the steps of a worker that is killed at random: the guarantee holds.

Beside it a second worker runs, dead letters are listed and queued again, and between two runs checkpoints get lost.

At every checkpoint that a sync reports, each document last written at or below it is read, hashed, embedded again and
compared; at the end all are, and what their owner wrote is compared with a plain Python model. Two seeds run always;
``ES_SEMANTIC_SEEDS=200 pytest tests/faults/test_interleavings.py`` (``make soak``) runs as many others.
"""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

import es_semantic
from es_semantic.embedding import Embeddings
from es_semantic.errors import InputRejected, RequestFailed, Unreachable
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.schema.text import is_blank, source_text
from es_semantic.sync import window
from es_semantic.sync.dead_letters import letter_id
from es_semantic.sync.report import SyncReport
from tests.driving import Driver, Killed, lost
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex
from tests.truth import problem

FIELDS = ["title", "body"]
IDS = [str(i) for i in range(30)]
ROUNDS = 25
PAGE = 6
"""Hits that a search may return, so that the feed has pages to turn."""

POISON = "poison"
SETTINGS = {"number_of_shards": 3, "max_result_window": PAGE, "refresh_interval": "-1"}
PROPERTIES = {"title": {"type": "text"}, "body": {"type": "text"}, "count": {"type": "integer"}}
SEEDS = [20261121, 4] + [random.randrange(1 << 32) for _ in range(int(os.environ.get("ES_SEMANTIC_SEEDS", "0")))]


class Refusing(TinyEmbedder):
    """Refuses texts with a certain word."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if any(POISON in text for text in texts):
            raise InputRejected("this text is refused")
        return super().embed_documents(texts)


class World:
    """An index, its owner who writes to it at random, and what the owner believes to be in it."""

    def __init__(self, client: Elasticsearch, index: str, seed: int) -> None:
        self.client = client
        self.index = index
        self.random = random.Random(seed)
        self.model: dict[str, dict[str, Any]] = {}
        self.embedder = Refusing()
        self.writes: list[Callable[[], None]] = [
            self.put,
            self.put_without_pipeline,
            self.bulk_put,
            self.update,
            self.scripted_update,
            self.bulk_update,
            self.bulk_scripted_update,
            self.bulk_upsert,
            self.update_by_query,
            self.reindex,
            self.get_modify_put,
            self.count_only,
            self.delete,
        ]

    def write(self) -> None:
        """One random write, or what others do beside the worker."""
        if self.random.random() < 0.04:
            self.random.choice([self.another_sync, self.list_failures, self.retry_failures])()
        else:
            self.random.choice(self.writes)()

    def another_sync(self) -> None:
        partition = self.random.choice(["1/1", "2/2"])
        es_semantic.sync(self.client, self.index, model=self.embedder, partition=partition)

    def list_failures(self) -> None:
        es_semantic.failures(self.client, self.index)

    def retry_failures(self) -> None:
        es_semantic.failures(self.client, self.index, retry=True)

    def lose_checkpoints(self) -> None:
        """Somebody deletes what the control index has on this index."""
        mine = {"term": {"index": self.index}}
        self.client.indices.refresh(index=CONTROL_INDEX)
        self.client.delete_by_query(index=CONTROL_INDEX, query=mine, refresh=True)

    def some_id(self) -> str:
        return self.random.choice(IDS)

    def known_id(self) -> str | None:
        return self.random.choice(sorted(self.model)) if self.model else None

    def document(self) -> dict[str, Any]:
        words = ["red", "green", "blue", "\U0001f600", "", " ", None, POISON, "one two three", 7]
        weights = [6, 6, 6, 2, 2, 1, 2, 1, 4, 2]
        title, body = self.random.choices(words, weights, k=2)
        return {"title": title, "body": body, "count": self.random.randrange(100)}

    def part(self) -> dict[str, Any]:
        key = self.random.choice(FIELDS)
        return {key: self.document()[key]}

    def put(self) -> None:
        doc_id, document = self.some_id(), self.document()
        self.client.index(index=self.index, id=doc_id, document=document)
        self.model[doc_id] = document

    def put_without_pipeline(self) -> None:
        doc_id, document = self.some_id(), self.document()
        self.client.index(index=self.index, id=doc_id, document=document, pipeline="_none")
        self.model[doc_id] = document

    def bulk(self, *lines: dict[str, Any], **more: Any) -> None:
        answer = self.client.bulk(index=self.index, operations=list(lines), **more)
        assert not answer["errors"], answer

    def bulk_put(self) -> None:
        lines = []
        for _ in range(self.random.randrange(1, 6)):
            doc_id, document = self.some_id(), self.document()
            lines += [{"index": {"_id": doc_id}}, document]
            self.model[doc_id] = document
        self.bulk(*lines)

    def update(self) -> None:
        if doc_id := self.known_id():
            part = self.part()
            self.client.update(index=self.index, id=doc_id, doc=part, retry_on_conflict=3)
            self.model[doc_id] = {**self.model[doc_id], **part}

    def script(self, part: dict[str, Any]) -> dict[str, Any]:
        ((key, value),) = part.items()
        return {"source": "ctx._source[params.key] = params.value", "params": {"key": key, "value": value}}

    def scripted_update(self) -> None:
        if doc_id := self.known_id():
            part = self.part()
            self.client.update(index=self.index, id=doc_id, script=self.script(part), retry_on_conflict=3)
            self.model[doc_id] = {**self.model[doc_id], **part}

    def bulk_update(self) -> None:
        if doc_id := self.known_id():
            part = self.part()
            self.bulk({"update": {"_id": doc_id}}, {"doc": part})
            self.model[doc_id] = {**self.model[doc_id], **part}

    def bulk_scripted_update(self) -> None:
        if doc_id := self.known_id():
            part = self.part()
            self.bulk({"update": {"_id": doc_id}}, {"script": self.script(part)})
            self.model[doc_id] = {**self.model[doc_id], **part}

    def bulk_upsert(self) -> None:
        doc_id, part = self.some_id(), self.part()
        self.bulk({"update": {"_id": doc_id}}, {"doc": part, "doc_as_upsert": True})
        self.model[doc_id] = {**self.model.get(doc_id, {}), **part}

    def update_by_query(self) -> None:
        doc_ids, part = self.random.sample(IDS, 3), self.part()
        self.client.indices.refresh(index=self.index)
        query = {"ids": {"values": doc_ids}}
        self.client.update_by_query(index=self.index, query=query, script=self.script(part), scroll_size=PAGE)
        for doc_id in doc_ids:
            if doc_id in self.model:
                self.model[doc_id] = {**self.model[doc_id], **part}

    def reindex(self) -> None:
        doc_id, document = self.some_id(), self.document()
        self.client.index(index=f"{self.index}-from", id=doc_id, document=document, refresh=True)
        source = {"index": f"{self.index}-from", "query": {"ids": {"values": [doc_id]}}}
        self.client.reindex(source=source, dest={"index": self.index})
        self.model[doc_id] = document

    def get_modify_put(self) -> None:
        if doc_id := self.known_id():
            source = {**self.client.get(index=self.index, id=doc_id)["_source"], **self.part()}
            self.client.index(index=self.index, id=doc_id, document=source)
            self.model[doc_id] = {key: value for key, value in source.items() if key != "semantic"}

    def count_only(self) -> None:
        if doc_id := self.known_id():
            count = self.random.randrange(100)
            self.bulk({"update": {"_id": doc_id}}, {"doc": {"count": count}})
            self.model[doc_id] = {**self.model[doc_id], "count": count}

    def delete(self) -> None:
        if doc_id := self.known_id():
            self.client.delete(index=self.index, id=doc_id)
            del self.model[doc_id]

    def problems(self, checkpoint: dict[str, int] | None = None) -> dict[str, str]:
        """What is not as the guarantee says, of documents at or below the checkpoint, or of all."""
        self.client.indices.refresh(index=self.index)
        found = {}
        for shard in range(SETTINGS["number_of_shards"]):  # type: ignore[call-overload]
            query = {"seq_no_primary_term": True, "_source": {"exclude_vectors": False}}
            for hit in scan(self.client, query, index=self.index, size=PAGE, preference=f"_shards:{shard}"):
                below = checkpoint is None or hit["_seq_no"] <= checkpoint[str(shard)]
                if below and (what := self.problem(hit["_id"], hit["_source"])):
                    found[f"{hit['_id']} (shard {shard}, _seq_no {hit['_seq_no']})"] = what
        return found

    def problem(self, doc_id: str, source: dict[str, Any]) -> str:
        text = source_text(source, FIELDS)
        if POISON not in text or is_blank(text):
            return problem(source, FIELDS, self.embedder)
        if (source.get("semantic") or {}).get("status") != "failed":
            return f"refused text is marked {source.get('semantic')}"
        key = letter_id("semantic", self.index, doc_id, None)
        return "" if self.client.exists(index=CONTROL_INDEX, id=key) else "no dead letter"

    def owners_documents(self) -> dict[str, dict[str, Any]]:
        """What is in the index, without what es-semantic keeps there."""
        self.client.indices.refresh(index=self.index)
        hits = scan(self.client, {"_source": {"excludes": ["semantic"]}}, index=self.index, size=PAGE)
        return {hit["_id"]: hit["_source"] for hit in hits}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_guarantee_holds_whatever_happens_between_the_steps(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    print(f"seed {seed}")
    monkeypatch.setattr(window, "WINDOW", 5)
    name = make_index(PROPERTIES, settings=SETTINGS)
    client.indices.create(index=f"{name}-from", mappings={"properties": PROPERTIES}, settings={"number_of_replicas": 0})
    world = World(client, name, seed)
    for _ in range(20):
        world.put()
    es_semantic.attach(client, name, FIELDS, model=world.embedder)
    kills = sum(one_round(world) for _ in range(ROUNDS))
    while not es_semantic.sync(client, name, model=world.embedder).complete:
        pass
    assert world.problems() == {}
    assert world.owners_documents() == world.model
    again = Refusing()
    assert es_semantic.sync(client, name, model=again).embedded == 0
    assert again.texts == []
    assert 0 < kills < ROUNDS


def one_round(world: World) -> bool:
    """Some writes, then a sync with writes, lost answers and perhaps its end between its steps; was it killed?"""
    for _ in range(world.random.randrange(6)):
        world.write()
    if world.random.random() < 0.1:
        world.lose_checkpoints()
    partition = world.random.choice(["1/1", "1/1", "1/1", "1/2", "2/2"])
    dying = world.random.random() < 0.5
    checked: dict[str, dict[str, int]] = {}

    def before(_request: Any) -> None:
        if dying and world.random.random() < 0.04:
            raise Killed
        while world.random.random() < 0.3:
            world.write()

    def after(request: Any) -> None:
        if dying and world.random.random() < 0.04:
            raise Killed
        if world.random.random() < 0.05 and CONTROL_INDEX not in request.path:
            raise lost()

    def check(report: SyncReport) -> None:
        nonlocal checked
        if report.checkpoint != checked and partition == "1/1":
            checked = report.checkpoint
            assert world.problems(report.checkpoint[world.index]) == {}

    steps = inspect.unwrap(es_semantic.sync)(world.index, model=world.embedder, partition=partition, progress=check)
    try:
        Driver(world.client, before, after).drive(steps)
    except Killed:
        return True
    except (Unreachable, RequestFailed):
        # Too many lost answers in a row, which a sync passes on; the next goes on.
        return False
    return False
