"""What a follower's index is exchanged for another: re-created, an alias that moves, a data stream that rolls over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import IndexUnavailable, NotAttached
from es_semantic.sync import follow, shards
from tests.embedder import TinyEmbedder
from tests.faults.own_node import OwnNode
from tests.faults.workers import POISON, Counting, Follower, Owner, attached, check, letters_of, settle
from tests.nodes import MakeIndex, remove_everything
from tests.truth import untrue

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 200
TITLE = {"title": {"type": "text"}}


def recreate(client: Elasticsearch, index: str) -> Owner:
    """Delete an index and create it again with other texts under the same ids; it is not attached."""
    client.indices.delete(index=index)
    client.indices.create(index=index, mappings={"properties": TITLE}, settings={"number_of_replicas": 0})
    owner = Owner(client, index)
    # As many documents, so that sequence numbers and ids are those of the old ones.
    owner.put({str(i): {"title": f"quite another text {i}", "count": i} for i in range(DOCUMENTS)})
    return owner


def test_re_created_under_a_follower(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two passes, so that the worker never finds the name missing."""
    monkeypatch.setattr(follow, "LOOK_UP_EVERY", 60.0)
    old = attached(client, make_index(TITLE), DOCUMENTS)
    model = Counting()
    exchanged: list[Owner] = []

    def exchange() -> None:
        if not exchanged:
            exchanged.append(recreate(client, old.index))

    follower = Follower(client, [old.index], model)
    follower.between = exchange
    with follower:
        follower.wait_until(lambda: exchanged != [])
        (new,) = exchanged
        follower.wait_until(lambda: any(isinstance(error, NotAttached) for error in follower.errors))
        # Not attached, it is not touched: a field of that name would make attaching impossible.
        assert "semantic" not in client.indices.get_mapping(index=new.index)[new.index]["mappings"]["properties"]
        assert new.documents() == new.model
        assert not any("semantic" in hit["_source"] for hit in client.search(index=new.index, size=10)["hits"]["hits"])
        es_semantic.attach(client, new.index, ["title"], model=model, chunk="never")
        follower.wait_until_true(new)
    assert all(isinstance(error, (IndexUnavailable, NotAttached)) for error in follower.errors)
    assert len(model.embedded) == 2 * DOCUMENTS
    check(new)


def test_re_created_between_two_syncs(client: Elasticsearch, make_index: MakeIndex) -> None:
    old = attached(client, make_index(TITLE), DOCUMENTS)
    model = Counting()
    old.put({"bad": {"title": f"a {POISON}ed text"}})
    settle(client, old, model)
    check(old, dead={"bad": "refused"})
    new = recreate(client, old.index)
    es_semantic.attach(client, new.index, ["title"], model=model, chunk="never")
    report = settle(client, new, model)
    assert any("re-created" in note for note in report.notes)
    assert report.embedded == DOCUMENTS
    # A dead letter of a document that is no more is gone once somebody asks for them.
    assert es_semantic.failures(client, new.index).failures == []
    check(new)


def test_re_created_under_a_sync(client: Elasticsearch, make_index: MakeIndex) -> None:
    old = attached(client, make_index(TITLE), DOCUMENTS)
    model = Counting()
    new = old

    def exchange(_texts: object) -> None:
        nonlocal new
        if model.calls == 2:
            new = recreate(client, old.index)
            es_semantic.attach(client, new.index, ["title"], model=TinyEmbedder(), chunk="never")

    model.meanwhile = exchange
    with suppress(IndexUnavailable):
        es_semantic.sync(client, old.index, model=model)
    model.meanwhile = lambda _texts: None
    settle(client, new, model)
    check(new)


def test_an_alias_moves_under_a_follower(client: Elasticsearch, make_index: MakeIndex) -> None:
    first, second = (attached(client, make_index(TITLE), DOCUMENTS) for _ in range(2))
    alias = f"{first.index}-alias"
    client.indices.put_alias(index=first.index, name=alias)
    model = Counting()
    with Follower(client, [alias], model) as follower:
        follower.wait_until_true(first)
        actions = [{"remove": {"index": first.index, "alias": alias}}, {"add": {"index": second.index, "alias": alias}}]
        client.indices.update_aliases(actions=actions)
        follower.wait_until_true(second)
        second.update({"7": {"title": "changed behind the alias"}})
        follower.wait_until_true(second)
    assert follower.errors == []
    for owner in (first, second):
        check(owner)


@pytest.fixture
def stream(own_node: OwnNode, unique: str) -> Iterator[str]:
    """What becomes a data stream with its first document; on a node whose data are thrown away."""
    template = {"mappings": {"properties": TITLE}, "settings": {"number_of_replicas": 0}}
    own_node.client.indices.put_index_template(
        name=unique, index_patterns=[f"{unique}*"], data_stream={}, template=template
    )
    yield unique
    remove_everything(own_node.client, unique)


def append(client: Elasticsearch, stream: str, start: int) -> None:
    lines: list[dict[str, object]] = []
    for i in range(start, start + 50):
        lines += [{"create": {"_id": str(i)}}, {"@timestamp": "2026-01-01T00:00:00Z", "title": f"event {i}"}]
    answer = client.bulk(index=stream, operations=lines)
    assert not answer["errors"]


def test_a_data_stream_rolls_over_under_a_follower(own_node: OwnNode, stream: str) -> None:
    client, model = own_node.client, Counting()
    append(client, stream, 0)
    es_semantic.attach(client, stream, ["title"], model=model, chunk="never")

    def caught_up(documents: int) -> bool:
        client.indices.refresh(index=stream)
        ready = {"term": {"semantic.status": "ready"}}
        return (
            client.count(index=stream, query=ready)["count"] == documents
            and untrue(client, stream, ["title"], TinyEmbedder()) == {}
        )

    with Follower(client, [stream], model) as follower:
        follower.wait_until(lambda: caught_up(50))
        for generation in range(1, 3):
            client.indices.rollover(alias=stream)
            append(client, stream, 50 * generation)
            follower.wait_until(partial(caught_up, 50 * generation + 50))
    assert follower.errors == []
    assert len(model.embedded) == 150
    assert len(client.indices.get(index=stream).body) == 3
    assert letters_of(client, stream) == []
    report = es_semantic.sync(client, stream, model=model)
    assert (report.read, len(report.checkpoint)) == (0, 3)


def test_a_backing_index_whose_shard_starts_late_is_no_failure(
    own_node: OwnNode, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollover makes an index known before its shard has started: there is nothing to read in it yet."""
    monkeypatch.setattr(shards, "START_LOOKS", 600)  # However busy this machine is.
    client, model = own_node.client, Counting()
    append(client, stream, 0)
    es_semantic.attach(client, stream, ["title"], model=model, chunk="never")

    def allocate(which: str | None) -> None:
        client.cluster.put_settings(persistent={"cluster.routing.allocation.enable": which})

    def true() -> bool:
        return untrue(client, stream, ["title"], TinyEmbedder()) == {}

    with Follower(client, [stream], model) as follower:
        follower.wait_until(true)
        allocate("none")
        try:
            client.indices.rollover(alias=stream, wait_for_active_shards="0")
            time.sleep(3 * follow.LOOK_UP_EVERY)
        finally:
            allocate(None)
        append(client, stream, 50)
        follower.wait_until(lambda: true() and len(model.embedded) == 100)
    assert follower.errors == []
