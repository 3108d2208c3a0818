"""Several workers at once: on one part they are only wasteful, on parts of their own they share the work."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync.checkpoints import checkpoint_id
from es_semantic.sync.partition import parse_partition
from es_semantic.sync.report import SyncReport
from tests.faults.workers import POISON, Counting, Owner, WorkerProcess, attached, beside, check, seeded, settle
from tests.nodes import MakeIndex

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 600
TITLE = {"title": {"type": "text"}}
SHARDS = {"number_of_shards": 2}
DEAD = {"bad 1": "refused", "bad 2": "refused"}


def stored_checkpoint(client: Elasticsearch, index: str, partition: str) -> dict[str, Any]:
    """Sequence numbers by shard, as the control index has them."""
    key = checkpoint_id(index, "semantic", parse_partition(partition))
    shards = client.get(index=CONTROL_INDEX, id=key)["_source"]["shards"]
    return {number: state["seq_no"] for number, state in shards.items()}


def sync_together(node_url: str, owner: Owner, partitions: list[str]) -> tuple[list[SyncReport], list[Counting]]:
    """Sync by several workers that begin at the same time, each with a client of its own."""
    start = threading.Barrier(len(partitions))
    models = [Counting() for _ in partitions]

    def work(partition: str, model: Counting) -> SyncReport:
        with Elasticsearch(node_url) as client:
            start.wait()
            return es_semantic.sync(client, owner.index, model=model, partition=partition)

    with ThreadPoolExecutor(len(partitions)) as pool:
        return list(pool.map(work, partitions, models)), models


def add_poison(owner: Owner) -> None:
    owner.put({doc_id: {"title": f"{POISON} of {doc_id}"} for doc_id in DEAD})


def test_two_on_one_part(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    generator = seeded()
    owner = attached(client, make_index(TITLE, settings=SHARDS), DOCUMENTS)
    add_poison(owner)
    changed = owner.versions
    for _ in range(3):
        reports, models = sync_together(node_url, owner, ["1/1", "1/1"])
        assert all(report.complete for report in reports)
        # Wasteful at worst: each text once by each.
        counts = Counter(text for model in models for text in model.embedded)
        assert sum(counts.values()) <= 2 * changed
        check(owner, dead=DEAD)
        farthest = {number: max(report.checkpoint[owner.index][number] for report in reports) for number in ("0", "1")}
        assert stored_checkpoint(client, owner.index, "1/1") == farthest
        before = owner.versions
        owner.update({doc_id: {"title": f"changed {generator.random()}"} for doc_id in map(str, range(100))})
        changed = owner.versions - before
    settle(client, owner, Counting())
    check(owner, dead=DEAD)


def test_three_on_three_parts(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    owner = attached(client, make_index(TITLE, settings=SHARDS), DOCUMENTS)
    add_poison(owner)
    parts = ["1/3", "2/3", "3/3"]
    reports, models = sync_together(node_url, owner, parts)
    assert [report.superseded for report in reports] == [0, 0, 0]
    embedded = Counter(text for model in models for text in model.embedded)
    assert embedded == Counter(source["title"] for doc_id, source in owner.model.items() if doc_id not in DEAD)
    assert sum(report.embedded for report in reports) == DOCUMENTS
    assert sum(report.failed for report in reports) == len(DEAD)
    check(owner, dead=DEAD)

    reports, models = sync_together(node_url, owner, parts)
    assert [model.embedded for model in models] == [[], [], []]
    for part, report in zip(parts, reports, strict=True):
        assert stored_checkpoint(client, owner.index, part) == report.checkpoint[owner.index]
    check(owner, dead=DEAD)


def test_two_processes_while_documents_change(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    generator = seeded()
    owner = attached(client, make_index(TITLE, settings=SHARDS), DOCUMENTS)
    add_poison(owner)
    # The poisoned ones stay as they are.
    owner_of_others = Owner(client, owner.index)
    owner_of_others.model = {doc_id: source for doc_id, source in owner.model.items() if doc_id not in DEAD}
    with beside(lambda: owner_of_others.change_some(generator), every=0.1):
        workers = [WorkerProcess(node_url, owner.index, pause=0.02) for _ in range(2)]
        for worker in workers:
            worker.wait()
    settle(client, owner, Counting())
    owner.model = owner_of_others.model | {doc_id: owner.model[doc_id] for doc_id in DEAD}
    check(owner, dead=DEAD)
