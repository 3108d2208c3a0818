"""The node is killed while a worker writes, and comes back with the same data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import Unreachable
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync import once
from tests.embedder import TinyEmbedder
from tests.faults.own_node import OwnNode
from tests.faults.workers import IN_FLIGHT, POISON, Counting, Follower, Owner, attached, check, letters_of, seeded
from tests.nodes import remove_everything
from tests.truth import untrue

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 1500
MAPPING = {"properties": {"title": {"type": "text"}, "count": {"type": "integer"}}}


@pytest.fixture
def owner(own_node: OwnNode, unique: str) -> Iterator[Owner]:
    settings = {"number_of_replicas": 0, "number_of_shards": 2}
    own_node.client.indices.create(index=unique, mappings=MAPPING, settings=settings)
    yield attached(own_node.client, unique, DOCUMENTS)
    remove_everything(own_node.client, unique)


@contextmanager
def restarted(node: OwnNode) -> Iterator[None]:
    """Kill the node and start it again beside the block."""
    node.kill()
    starting = threading.Thread(target=node.start)
    starting.start()
    try:
        yield
    finally:
        starting.join()
    node.client.cluster.health(wait_for_status="yellow", timeout="60s", wait_for_no_initializing_shards=True)


def test_killed_under_a_one_shot_sync_and_then_under_a_follower(
    own_node: OwnNode, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = seeded()
    monkeypatch.setattr(once, "MAX_TRIES", 2)
    death = generator.randrange(5, 25)
    model = Counting()

    def die(_texts: object) -> None:
        if model.calls == death:
            own_node.kill()

    model.meanwhile = die
    with Elasticsearch(own_node.url, max_retries=0) as client, pytest.raises(Unreachable):
        es_semantic.sync(client, owner.index, model=model)
    own_node.start()
    own_node.client.cluster.health(wait_for_status="yellow", timeout="60s", wait_for_no_initializing_shards=True)

    with (
        Elasticsearch(own_node.url, max_retries=0) as client,
        Follower(client, [owner.index], model) as follower,
    ):
        death = model.calls + generator.randrange(2, 10)
        follower.wait_until(lambda: model.calls > death)
        with restarted(own_node):
            follower.wait_until(lambda: follower.errors != [])
        owner.put({"late": {"title": "written after the node came back", "count": 1}})
        follower.wait_until_true(owner)
    assert any(isinstance(error, Unreachable) for error in follower.errors)
    assert owner.versions <= len(model.embedded) <= owner.versions + 3 * IN_FLIGHT
    check(owner)


def test_the_control_index_is_deleted_under_a_follower(own_node: OwnNode, owner: Owner) -> None:
    owner.put({"bad": {"title": f"a {POISON}ed text", "count": 0}})
    model = Counting()
    with Follower(own_node.client, [owner.index], model) as follower:
        follower.wait_until(lambda: _caught_up(owner) and letters_of(owner.client, owner.index) != [])
        own_node.client.indices.delete(index=f"{CONTROL_INDEX}-1")
        owner.put({"late": {"title": "written without a control index", "count": 1}})
        follower.wait_until(lambda: _caught_up(owner))
    # What the follower has remembered must not hide that the dead letter is gone.
    es_semantic.sync(own_node.client, owner.index, model=model)
    assert len(model.embedded) == DOCUMENTS + 1
    check(owner, dead={"bad": "refused"})


def test_the_control_index_is_deleted_under_a_sync(own_node: OwnNode, owner: Owner) -> None:
    owner.put({"bad": {"title": f"a {POISON}ed text", "count": 0}})
    model = Counting()
    es_semantic.sync(own_node.client, owner.index, model=model)
    owner.update({str(i): {"title": f"changed {i}"} for i in range(200)})

    def delete_once(_texts: object) -> None:
        model.meanwhile = lambda _texts: None
        own_node.client.indices.delete(index=f"{CONTROL_INDEX}-1")

    model.meanwhile = delete_once
    es_semantic.sync(own_node.client, owner.index, model=model)
    es_semantic.sync(own_node.client, owner.index, model=model)
    assert len(model.embedded) == DOCUMENTS + 200
    check(owner, dead={"bad": "refused"})


def _caught_up(owner: Owner) -> bool:
    return set(untrue(owner.client, owner.index, ["title"], TinyEmbedder())) <= {"bad"}
