"""An index that becomes read-only under a worker: a sync says so, a follower waits until it may write again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import es_semantic
from es_semantic.errors import IndexUnavailable
from es_semantic.sync import once
from tests.faults.own_node import OwnNode
from tests.faults.workers import IN_FLIGHT, Counting, Follower, Owner, attached, check, settle
from tests.nodes import remove_everything

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 400

# The last is what the flood-stage disk watermark sets; such a write is refused with 429, not 403.


BLOCKS = ["index.blocks.write", "index.blocks.read_only", "index.blocks.read_only_allow_delete"]


@pytest.fixture
def owner(own_node: OwnNode, unique: str) -> Iterator[Owner]:
    mappings = {"properties": {"title": {"type": "text"}}}
    own_node.client.indices.create(index=unique, mappings=mappings, settings={"number_of_replicas": 0})
    yield attached(own_node.client, unique, DOCUMENTS)
    own_node.client.indices.put_settings(index=unique, settings=dict.fromkeys(BLOCKS))
    remove_everything(own_node.client, unique)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_one_shot_sync_stops(owner: Owner, block: str) -> None:
    client, model = owner.client, Counting()

    def block_it(_texts: object) -> None:
        if model.calls == 3:
            client.indices.put_settings(index=owner.index, settings={block: True})

    model.meanwhile = block_it
    try:
        with pytest.raises(IndexUnavailable, match="blocked") as stopped:
            es_semantic.sync(client, owner.index, model=model)
        assert owner.index in str(stopped.value)
        # The next one does not even begin.
        with pytest.raises(IndexUnavailable, match="read-only"):
            es_semantic.sync(client, owner.index, model=model)
    finally:
        client.indices.put_settings(index=owner.index, settings={block: None})
    settle(client, owner, model)
    # What answers 429 may pass, and is tried again before the sync gives up.
    tries = once.MAX_TRIES if block.endswith("allow_delete") else 1
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + tries * IN_FLIGHT
    check(owner)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_follower_waits(owner: Owner, block: str) -> None:
    client, model = owner.client, Counting()
    with Follower(client, [owner.index], model) as follower:
        follower.wait_until(lambda: follower.reports != [])
        # Everything that is changed while it is blocked was written just before.
        owner.update({str(i): {"title": f"changed {i}"} for i in range(50)})
        try:
            client.indices.put_settings(index=owner.index, settings={block: True})
            follower.wait_until(lambda: len(follower.errors) > 1 or model.calls > 4)
        finally:
            client.indices.put_settings(index=owner.index, settings={block: None})
        owner.update({"99": {"title": "changed at last"}})
        follower.wait_until_true(owner)
    assert all(isinstance(error, IndexUnavailable) for error in follower.errors)
    check(owner)
