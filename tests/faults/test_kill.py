"""Killed with -9 at random moments while documents change, run again: nothing is lost, and little is embedded twice."""

from __future__ import annotations

import os
import time

import pytest
from elasticsearch import Elasticsearch

from tests.faults.workers import IN_FLIGHT, Counting, WorkerProcess, attached, beside, check, seeded, settle
from tests.nodes import MakeIndex

DOCUMENTS = 5000
KILLS = 20
LONGEST = 0.8
"""Seconds that a worker may live after it has begun."""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_sync_survives_kill_9(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    generator = seeded()
    owner = attached(client, make_index({"title": {"type": "text"}}), DOCUMENTS)
    embedded = 0
    with beside(lambda: owner.change_some(generator), every=0.2):
        for _ in range(KILLS):
            worker = WorkerProcess(node_url, owner.index, pause=0.05)
            worker.wait_for_start()
            time.sleep(generator.uniform(0, LONGEST))
            worker.kill()
            embedded += worker.embedded
    last = WorkerProcess(node_url, owner.index)
    last.wait()
    embedded += last.embedded
    print(f"{embedded} texts embedded for {len(owner.model)} documents in {owner.versions} versions")
    check(owner)
    assert len(owner.model) <= embedded <= owner.versions + KILLS * IN_FLIGHT
    assert settle(client, owner, Counting()).embedded == 0
