"""Nothing depends on the time of day: where it jumps a year back and forth, all stays true and no wait is endless."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

import es_semantic
from tests.embedder import TinyEmbedder
from tests.faults.proxy import FaultProxy
from tests.integration.test_follow import Start, attached, is_true, start, until
from tests.nodes import MakeIndex

__all__ = ["start"]

JUMPING_CLOCK = """
import datetime, itertools, time

YEAR = 365 * 24 * 3600
real, steps = time.time, itertools.cycle((YEAR, 0, -YEAR, 0))

class Jumping(datetime.datetime):
    __slots__ = ()  # compiled modules complain of a datetime of another size

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(time.time(), tz)

time.time = lambda: real() + next(steps)
time.time_ns = lambda: int(time.time() * 1e9)
datetime.datetime = Jumping
"""
"""Imported by Python at its start. Each look at the clock finds it a year away from where it was before."""


@pytest.fixture
def jumping(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose clock jumps."""
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK)
    return {"PYTHONPATH": str(tmp_path)}


def years(client: Elasticsearch, index: str) -> set[int]:
    """How many years from now the documents of an index say that they were embedded."""
    client.indices.refresh(index=index)
    states = (hit["_source"]["semantic"] for hit in scan(client, index=index))
    times = (datetime.fromisoformat(state["embedded_at"]) for state in states)
    return {round((time - datetime.now(UTC)).days / 365) for time in times}


def write(client: Elasticsearch, index: str, number: int) -> None:
    """One document that says pending, and one that still says ready."""
    title = {"title": f"written in round {number}"}
    lines: list[dict[str, Any]]
    lines = [{"index": {"_id": f"new {number}"}}, title, {"update": {"_id": str(number)}}, {"doc": title}]
    assert not client.bulk(index=index, operations=lines)["errors"]


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    return attached(client, make_index, {str(number): {"title": f"title {number}"} for number in range(40)})


def test_a_worker_whose_clock_jumps(
    client: Elasticsearch, node_url: str, index: str, start: Start, jumping: dict[str, str]
) -> None:
    with FaultProxy(node_url) as proxy:
        worker = start("sync", index, "--follow", url=proxy.url, **jumping)
        worker.wait_for("caught up", index=index)
        for number in range(4):
            write(client, index, number)
            until(lambda: is_true(client, index), worker.lines)
        with proxy.down():
            # Failures and the pauses after them are on the clock as well.
            until(lambda: sum(line["log.level"] == "error" for line in worker.log) >= 2, worker.lines)
            write(client, index, 4)
        until(lambda: is_true(client, index), worker.lines)
        assert worker.stop() == 0
    assert {-1, 1} <= years(client, index)
    assert es_semantic.sync(client, index, model=TinyEmbedder()).read == 0


def test_syncs_whose_clock_jumps(client: Elasticsearch, index: str, start: Start, jumping: dict[str, str]) -> None:
    for number in range(3):
        command = start("sync", index, **jumping)
        assert command.ended() == 0, command.lines
        assert is_true(client, index)
        assert years(client, index) - {0}
        write(client, index, number)
    report = es_semantic.sync(client, index, model=TinyEmbedder())
    assert (report.embedded, report.notes) == (2, [])
    assert is_true(client, index)
