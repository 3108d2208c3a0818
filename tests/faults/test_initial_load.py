"""An initial load that does not come to its end: replicas and refresh_interval come back as their owner had them."""

from __future__ import annotations

import os
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import ModelUnavailable
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync.initial_load import HELD_BACK
from tests.faults.workers import IN_FLIGHT, Counting, Follower, Owner, WorkerProcess, attached, check, settle
from tests.nodes import MakeIndex

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 600
TITLE = {"title": {"type": "text"}}

OWNERS = [
    {},
    {"index.refresh_interval": "7s", "index.number_of_replicas": "2"},
    {"index.refresh_interval": None, "index.auto_expand_replicas": None},
    {"index.refresh_interval": "-1", "index.number_of_replicas": "0", "index.auto_expand_replicas": "false"},
    {"index.auto_expand_replicas": "0-1", "index.refresh_interval": "1s"},
]


def settings_of(client: Elasticsearch, index: str) -> dict[str, Any]:
    """All settings of an index, with flat keys."""
    settings: dict[str, Any] = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    return settings


def is_held_back(client: Elasticsearch, index: str) -> bool:
    settings = settings_of(client, index)
    return all(settings.get(key) == value for key, value in HELD_BACK.items())


def records(client: Elasticsearch, index: str) -> int:
    """What the control index remembers of an index's settings."""
    client.indices.refresh(index=CONTROL_INDEX)
    filters = [{"term": {"kind": "held_back"}}, {"term": {"index": index}}]
    return int(client.count(index=CONTROL_INDEX, query={"bool": {"filter": filters}})["count"])


@pytest.fixture(params=OWNERS, ids=lambda own: ",".join(f"{k[6:]}={v}" for k, v in own.items()) or "defaults")
def owner(client: Elasticsearch, make_index: MakeIndex, request: pytest.FixtureRequest) -> Owner:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    if request.param:
        client.indices.put_settings(index=owner.index, settings=request.param)
    return owner


def test_to_its_end(client: Elasticsearch, owner: Owner) -> None:
    before = settings_of(client, owner.index)
    model = Counting()
    seen: list[bool] = []
    model.meanwhile = lambda _texts: seen.append(is_held_back(client, owner.index))
    assert es_semantic.sync(client, owner.index, model=model, initial_load=True).embedded == DOCUMENTS
    assert set(seen) == {True}
    assert settings_of(client, owner.index) == before
    assert records(client, owner.index) == 0
    check(owner)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ModelUnavailable("it is gone"), RuntimeError("a bug")], ids=repr
)
def test_interrupted(client: Elasticsearch, make_index: MakeIndex, error: BaseException) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    client.indices.put_settings(index=owner.index, settings={"index.refresh_interval": "9s"})
    before = settings_of(client, owner.index)
    model = Counting()

    def interrupt(_texts: object) -> None:
        # From the third on, so that the probe sentence fails as well.
        if model.calls >= 3:
            raise error

    model.meanwhile = interrupt
    with pytest.raises(type(error)):
        es_semantic.sync(client, owner.index, model=model, initial_load=True)
    assert settings_of(client, owner.index) == before
    assert records(client, owner.index) == 0
    model.meanwhile = lambda _texts: None
    assert settle(client, owner, model).notes == []
    check(owner)


def kill_one(node_url: str, owner: Owner) -> int:
    """Kill an initial load in its midst and return how many texts it has embedded."""
    worker = WorkerProcess(node_url, owner.index, pause=0.05, initial_load=True)
    worker.wait_for_start(batches=3)
    worker.kill()
    assert is_held_back(owner.client, owner.index)
    return worker.embedded


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_killed(client: Elasticsearch, node_url: str, owner: Owner) -> None:
    before = settings_of(client, owner.index)
    embedded = kill_one(node_url, owner)
    model = Counting()
    report = es_semantic.sync(client, owner.index, model=model)
    assert settings_of(client, owner.index) == before
    assert [note for note in report.notes if "restored" in note and owner.index in note]
    assert records(client, owner.index) == 0
    assert DOCUMENTS <= embedded + len(model.embedded) <= DOCUMENTS + IN_FLIGHT
    assert settle(client, owner, model).notes == []
    check(owner)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_killed_twice_and_then_followed(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    """The second initial load must not take what the first has left for the owner's settings."""
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    client.indices.put_settings(index=owner.index, settings={"index.refresh_interval": "9s"})
    before = settings_of(client, owner.index)
    for _ in range(2):
        kill_one(node_url, owner)
    with Follower(client, [owner.index], Counting()) as follower:
        follower.wait_until_true(owner)
        assert settings_of(client, owner.index) == before
    assert records(client, owner.index) == 0
    check(owner)
