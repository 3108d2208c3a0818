"""Killed with -9 at random moments while documents change, run again: nothing is lost, and little is embedded twice."""

from __future__ import annotations

import os
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.embedder import TinyEmbedder
from tests.faults.workers import IN_FLIGHT, Owner, WorkerProcess, beside, killed, seeded
from tests.nodes import MakeIndex
from tests.truth import untrue

DOCUMENTS = 3000
KILLS = 20
LONGEST = 0.9
"""Seconds that a run may live after it has begun."""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_reindex_survives_kill_9(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    generator = seeded()
    index = make_index({"title": {"type": "text"}})
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)
    owner = Owner(client, alias, DOCUMENTS)
    task: dict[str, Any] = {"task": "reindex", "to": new, "fields": ["title"]}
    with beside(lambda: owner.change_some(generator), every=0.2):
        embedded = killed(node_url, alias, generator, times=KILLS, longest=LONGEST, **task)
    last = WorkerProcess(node_url, alias, verify="all", **task)
    last.wait()
    embedded += last.embedded
    print(f"{embedded} texts embedded for {len(owner.model)} documents in {owner.versions} versions")
    assert set(client.indices.get_alias(name=alias)) == {new}
    assert owner.documents() == owner.model
    assert untrue(client, new, ["title"], TinyEmbedder()) == {}
    assert len(owner.model) <= embedded <= owner.versions + KILLS * IN_FLIGHT
    assert es_semantic.sync(client, alias, model=(again := TinyEmbedder())).embedded == 0
    assert again.texts == []
