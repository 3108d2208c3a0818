"""A change of models killed with -9 at random moments, while documents change: it goes on, and nothing is lost."""

from __future__ import annotations

import os
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.embedder import TinyEmbedder
from tests.faults.workers import IN_FLIGHT, Owner, WorkerProcess, beside, killed, seeded
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
        for step, (times, longest) in KILLS.items():
            options: dict[str, Any] = {"task": step, **({"chunk": "never"} if step == "migrate" else {})}
            embedded += killed(node_url, index, generator, times=times, longest=longest, **options)
            last = WorkerProcess(node_url, index, **options)
            last.wait()
            embedded += last.embedded
    es_semantic.sync(client, index, model=(rest := TinyEmbedder()))
    embedded += len(rest.texts)
    print(f"{embedded} texts embedded for {len(owner.model)} documents in {owner.versions} versions")
    assert documents(client, index) == owner.model
    assert untrue(client, index, ["title"], new, place=NEW) == {}
    state = es_semantic.migration(client, index)
    assert (state.phase, state.serving.field) == ("none", NEW)
    versions = len(owner.model) + owner.versions - before
    kills = sum(count for count, _ in KILLS.values())
    assert len(owner.model) <= embedded <= DOCUMENTS + len(fixed) + versions + kills * IN_FLIGHT
