"""What others do between two requests of a worker: indices re-created and detached, checkpoints and letters deleted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request, Steps
from es_semantic.errors import IndexUnavailable, NotAttached
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync import follow
from tests.driving import Driver
from tests.embedder import TinyEmbedder
from tests.faults.workers import POISON, Counting, Follower, Owner, attached, check, letters_of, settle
from tests.nodes import MakeIndex, remove_everything
from tests.truth import untrue

pytestmark = pytest.mark.usefixtures("impatient")

TITLE = {"title": {"type": "text"}}
DOCUMENTS = 300

sync_steps: Callable[..., Steps[Any]] = inspect.unwrap(es_semantic.sync)
failures_steps: Callable[..., Steps[Any]] = inspect.unwrap(es_semantic.failures)


def before_first(client: Elasticsearch, wanted: Callable[[Request], bool], action: Callable[[], object]) -> Driver:
    """A driver that does something once, just before the first request of a kind."""
    done: list[Request] = []

    def before(request: Request) -> None:
        if not done and wanted(request):
            done.append(request)
            action()

    return Driver(client, before, lambda _request: None)


def has_failed(follower: Follower, times: int) -> bool:
    """Whether it has told of so many dead letters."""
    return sum(report.failed for report in follower.reports) == times


def deletes(request: Request) -> bool:
    """Whether it deletes something from the control index."""
    return request.path == "/_bulk" and b'"delete"' in b"".join(request.body or ())  # type: ignore[arg-type]


@pytest.fixture
def failed(client: Elasticsearch, make_index: MakeIndex) -> Owner:
    """An index of which one document has failed; its dead letter is there, and everything was read."""
    owner = attached(client, make_index(TITLE), 3)
    owner.put({"bad": {"title": POISON}})
    settle(client, owner, Counting())
    check(owner, dead={"bad": "refused"})
    return owner


@pytest.mark.parametrize("call", [1, 4])
def test_an_index_that_is_re_created_and_not_attached_is_not_touched(
    client: Elasticsearch, make_index: MakeIndex, call: int
) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    settings = {"number_of_replicas": 0}

    def re_create() -> None:
        client.indices.delete(index=owner.index)
        client.indices.create(index=owner.index, mappings={"properties": TITLE}, settings=settings)
        Owner(client, owner.index, DOCUMENTS)

    calls = 0

    def at_the_call(_texts: Sequence[str]) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            re_create()

    model = Counting(at_the_call)
    with pytest.raises(IndexUnavailable, match="was deleted and created again meanwhile"):
        es_semantic.sync(client, owner.index, model=model)
    client.indices.refresh(index=owner.index)
    mapping = client.indices.get_mapping(index=owner.index)[owner.index]["mappings"]
    assert list(mapping["properties"]) == ["count", "title"]
    assert "_meta" not in mapping
    es_semantic.attach(client, owner.index, ["title"], model=model, chunk="never")
    assert settle(client, owner, model).embedded == DOCUMENTS
    check(owner)


def test_a_field_that_is_purged_under_a_follower_stays_purged(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "LOOK_UP_EVERY", 3600.0)
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    with Follower(client, [owner.index], TinyEmbedder()) as follower:
        follower.wait_until_true(owner)
        es_semantic.detach(client, owner.index, purge=True)
        follower.wait_until(lambda: len(follower.errors) > 1)
    assert {type(error) for error in follower.errors} == {NotAttached}
    client.indices.refresh(index=[owner.index, CONTROL_INDEX])
    assert client.count(index=owner.index, query={"exists": {"field": "semantic.status"}})["count"] == 0
    assert client.count(index=CONTROL_INDEX, query={"term": {"index": owner.index}})["count"] == 0


def test_a_checkpoint_beyond_the_first_look_at_the_shards_is_trusted(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    owner, model = attached(client, make_index(TITLE), 5), Counting()
    settle(client, owner, model)

    def another_works() -> None:
        owner.update({"0": {"title": "changed"}})
        settle(client, owner, model)

    def reads_checkpoints(request: Request) -> bool:
        return request.path.endswith("_mget") and b"checkpoint-" in str(request.body).encode()

    report = before_first(client, reads_checkpoints, another_works).drive(sync_steps(owner.index, model=model))
    assert (report.read, report.notes) == (0, [])
    assert len(model.embedded) == 6


def test_a_checkpoint_that_another_worker_has_made_anew_does_not_hide_that_letters_were_deleted(
    client: Elasticsearch, failed: Owner
) -> None:
    failed.update({"0": {"title": "changed"}})

    def deleted_and_made_anew() -> None:
        mine = {"term": {"index": failed.index}}
        client.delete_by_query(index=CONTROL_INDEX, query=mine, refresh=True)
        es_semantic.sync(client, failed.index, model=Counting(), stop=lambda: True)

    def refreshes(request: Request) -> bool:
        return request.path == f"/{failed.index}/_refresh"

    before_first(client, refreshes, deleted_and_made_anew).drive(sync_steps(failed.index, model=Counting()))
    check(failed, dead={"bad": "refused"})


@pytest.mark.parametrize("retry", [False, True])
def test_a_letter_that_was_renewed_since_it_was_listed_stays(
    client: Elasticsearch, failed: Owner, *, retry: bool
) -> None:
    failed.put({"bad": {"title": ""}})

    def fails_again() -> None:
        failed.put({"bad": {"title": f"{POISON} again"}})
        settle(client, failed, Counting())

    before_first(client, deletes, fails_again).drive(failures_steps(failed.index, retry=retry))
    check(failed, dead={"bad": "refused"})


def test_a_letter_that_is_queued_and_fails_at_once_again_stays(client: Elasticsearch, failed: Owner) -> None:
    again = before_first(client, deletes, lambda: settle(client, failed, Counting()))
    assert again.drive(failures_steps(failed.index, retry=True)).queued == 1
    check(failed, dead={"bad": "refused"})


def test_a_worker_that_has_mended_a_document_keeps_the_letter_that_another_wrote_since(
    client: Elasticsearch, failed: Owner
) -> None:
    failed.put({"bad": {"title": "good"}})

    def fails_again() -> None:
        failed.put({"bad": {"title": f"{POISON} again"}})
        settle(client, failed, Counting())

    before_first(client, deletes, fails_again).drive(sync_steps(failed.index, model=Counting()))
    settle(client, failed, Counting())
    check(failed, dead={"bad": "refused"})


def test_documents_of_one_id_and_many_routings(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(TITLE, settings={"number_of_shards": 10})
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder(), chunk="never")
    # In one shard they replace each other.
    for i in range(30):
        client.index(index=index, id="x", routing=f"r{i}", document={"title": POISON if i == 29 else "good"})
    es_semantic.sync(client, index, model=Counting())
    assert [letter.routing for letter in es_semantic.failures(client, index).failures] == ["r29"]
    assert len(letters_of(client, index)) == 1


def test_a_document_of_another_shape_that_comes_again_has_its_letter_again(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index(TITLE)
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder(), chunk="never")

    def write() -> None:
        client.index(index=index, id="x", document={"title": "mine"})
        # A bulk update runs no pipeline.
        update: list[dict[str, Any]] = [
            {"update": {"_id": "x", "retry_on_conflict": 10}},
            {"doc": {"semantic": {"mine": 1}}},
        ]
        assert not client.bulk(index=index, operations=update)["errors"]

    with Follower(client, [index], TinyEmbedder()) as follower:
        write()
        follower.wait_until(lambda: len(letters_of(client, index)) == 1)
        client.delete(index=index, id="x")
        assert es_semantic.failures(client, index).failures == []
        assert letters_of(client, index) == []
        write()
        follower.wait_until(lambda: len(letters_of(client, index)) == 1)


def test_one_document_that_fails_again_and_again_stops_no_follower(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    owner, other = (attached(client, make_index(TITLE), 1) for _ in range(2))
    with Follower(client, [owner.index, other.index], Counting()) as follower:
        for i in range(15):
            owner.put({"bad": {"title": f"{POISON} {i}"}})
            follower.wait_until(partial(has_failed, follower, i + 1))
        other.update({"0": {"title": "changed"}})
        follower.wait_until_true(other)
    check(owner, dead={"bad": "refused"})


def test_read_only_indices_of_a_data_stream_wait_and_keep_nothing_up(client: Elasticsearch, unique: str) -> None:
    template = {"mappings": {"properties": TITLE}, "settings": {"number_of_replicas": 0}}
    stream = f"{unique}-stream"
    client.indices.put_index_template(
        name=f"{unique}-template", index_patterns=[f"{stream}*"], data_stream={}, template=template, priority=500
    )

    def append(count: int) -> None:
        lines: list[dict[str, Any]] = []
        for i in range(count):
            lines += [{"create": {}}, {"@timestamp": "2026-01-01", "title": f"text {i} of {count}"}]
        assert not client.bulk(index=stream, operations=lines, refresh=True)["errors"]

    try:
        append(DOCUMENTS)
        oldest = client.indices.resolve_index(name=stream)["data_streams"][0]["backing_indices"][0]
        client.indices.rollover(alias=stream)
        append(10)
        es_semantic.attach(client, stream, ["title"], model=TinyEmbedder(), chunk="never")
        client.indices.put_settings(index=oldest, settings={"index.blocks.write": True})
        model = Counting()
        report = es_semantic.sync(client, stream, model=model)
        assert (report.embedded, report.failed, len(model.embedded)) == (10, 0, 10)
        assert report.notes == [f"'{oldest}' is left out, because it is read-only: index.blocks.write"]
        assert oldest not in report.checkpoint
        client.indices.put_settings(index=oldest, settings={"index.blocks.write": None})
        report = es_semantic.sync(client, stream, model=model)
        assert (report.embedded, report.notes) == (DOCUMENTS, [])
        assert untrue(client, stream, ["title"], TinyEmbedder()) == {}
    finally:
        remove_everything(client, unique)
