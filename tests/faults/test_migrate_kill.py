"""A change of models killed with -9 at random moments, while documents change: it goes on, and nothing is lost."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.embedder import TinyEmbedder
from tests.faults.workers import IN_FLIGHT, Owner, WorkerProcess, beside, seeded
from tests.migrating import NEW, documents, provide
from tests.nodes import MakeIndex
from tests.truth import untrue

DOCUMENTS = 2000
KILLS = {"migrate": (12, 0.9), "switch_migration": (4, 0.4), "drop_migration": (4, 0.4)}
"""How often each step is killed, and the seconds that it may live at most."""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_migrate_survives_kill_9(
    client: Elasticsearch, node_url: str, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = seeded()
    old, new = TinyEmbedder("older", 64), TinyEmbedder()
    provide(monkeypatch, old, new)
    index = make_index({"title": {"type": "text"}})
    owner = Owner(client, index, DOCUMENTS)
    fixed = {f"fixed-{i}": {"title": f"quokka {i} wombat {i * 7919}", "count": i} for i in range(20)}
    es_semantic.attach(client, index, "title", model=old, chunk="never")
    owner.put(fixed)
    es_semantic.sync(client, index)
    before = owner.versions

    def change() -> None:
        owner.change_some(generator)
        # Whatever was killed where: a query goes by one model.
        doc_id = generator.choice(sorted(fixed))
        hit = es_semantic.search(client, index, str(fixed[doc_id]["title"]), mode="knn", size=1).hits[0]
        assert doc_id not in owner.model or owner.model[doc_id] != fixed[doc_id] or hit.id == doc_id
        assert doc_id not in owner.model or owner.model[doc_id] != fixed[doc_id] or hit.score > 0.99

    embedded = 0
    with beside(change, every=0.2):
        for step in KILLS:
            embedded += killed(step, node_url, index, generator)
    es_semantic.sync(client, index, model=(last := TinyEmbedder()))
    embedded += len(last.texts)
    print(f"{embedded} texts embedded for {len(owner.model)} documents in {owner.versions} versions")
    assert documents(client, index) == owner.model
    assert untrue(client, index, ["title"], new, place=NEW) == {}
    state = es_semantic.migration(client, index)
    assert (state.phase, state.serving.field) == ("none", NEW)
    versions = len(owner.model) + owner.versions - before
    kills = sum(count for count, _ in KILLS.values())
    assert len(owner.model) <= embedded <= DOCUMENTS + len(fixed) + versions + kills * IN_FLIGHT


def killed(step: str, node_url: str, index: str, generator: random.Random) -> int:
    """Kill a step as often as it is to be, and let it come to its end; return the texts that it has embedded."""
    count, longest = KILLS[step]
    options: dict[str, Any] = {"task": step, **({"chunk": "never"} if step == "migrate" else {})}
    embedded = 0
    for _ in range(count):
        run = WorkerProcess(node_url, index, pause=0.05, **options)
        run.wait_for_start()
        time.sleep(generator.uniform(0, longest))
        run.kill()
        embedded += run.embedded
    last = WorkerProcess(node_url, index, **options)
    last.wait()
    return embedded + last.embedded
