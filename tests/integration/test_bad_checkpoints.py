"""What somebody has broken is a clear error, or a note and a start from the beginning; and nothing is lost by it.

Tests that break the control index have one of their own: the real one is everybody's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.embedding import Embeddings
from es_semantic.errors import (
    ControlDamaged,
    EsSemanticError,
    IndexUnavailable,
)
from es_semantic.schema.control import create_request
from es_semantic.sync.checkpoints import StoredCheckpoint, checkpoint_id
from es_semantic.sync.follow import Events
from es_semantic.sync.partition import WHOLE
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex
from tests.truth import untrue

__all__ = ["cli"]

TEXT = {"type": "text"}
FIELDS = ["title"]
DOCUMENTS = 10
UNREAD = ["changed past the pipeline", "new"]
"""Texts that a worker misses if it trusts a position that is too far."""


@pytest.fixture
def control(unique: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The alias of a control index that only this test has; ``make_index`` removes it by its name."""
    alias = f"{unique}-control"
    for name, module in list(sys.modules.items()):
        for constant, value in (("CONTROL_INDEX", alias), ("CONCRETE_INDEX", f"{alias}-1")):
            if name.startswith("es_semantic.") and hasattr(module, constant):
                monkeypatch.setattr(module, constant, value)
    return alias


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex, control: str) -> str:
    """Synced; since then one document was changed, so that it still says ``ready``, and one was written."""
    documents = {str(number): {"title": f"text {number}"} for number in range(DOCUMENTS)}
    name = make_index({"title": TEXT}, documents=documents)
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder())
    es_semantic.sync(client, name, model=TinyEmbedder())
    assert client.exists(index=control, id=checkpoint_id(name, "semantic", WHOLE))
    change(client, name)
    return name


def change(client: Elasticsearch, index: str) -> None:
    lines: list[dict[str, Any]]
    lines = [{"update": {"_id": "1"}}, {"doc": {"title": UNREAD[0]}}, {"index": {"_id": "new"}}, {"title": UNREAD[1]}]
    assert not client.bulk(index=index, operations=lines)["errors"]


def is_true(client: Elasticsearch, index: str) -> bool:
    return untrue(client, index, FIELDS, TinyEmbedder()) == {}


def follow_once(client: Elasticsearch, index: str) -> None:
    """Follow until the index is up to date.

    Raises:
        EsSemanticError: what following tells of, be it that it would try again or that it gives up.
    """
    done: list[bool] = []

    def failed(_index: str, error: EsSemanticError, _seconds: float) -> None:
        raise error

    events = Events(lambda _report: done.append(True), failed)
    end = time.monotonic() + 60
    stop = lambda: bool(done) or time.monotonic() > end  # noqa: E731
    es_semantic.follow(client, [index], model=TinyEmbedder(), events=events, stop=stop)


def refused(client: Elasticsearch, index: str, expected: type[EsSemanticError], *said: str) -> EsSemanticError:
    """Check that each way of syncing says the same, twice; return the error."""
    embedder = TinyEmbedder()
    for work in (partial(es_semantic.sync, client, index, model=embedder), partial(follow_once, client, index)):
        for _ in range(2):
            with pytest.raises(expected) as caught:
                work()
            assert [each for each in said if each not in caught.value.what] == []
            assert caught.value.hint
    return caught.value


def settled(client: Elasticsearch, index: str) -> None:
    """Check that one sync makes all true, and embeds only what lacks a true vector."""
    embedder = TinyEmbedder()
    es_semantic.sync(client, index, model=embedder)
    assert sorted(embedder.texts) in (UNREAD, [])
    assert is_true(client, index)


# --- The checkpoint ---


def position(client: Elasticsearch, index: str) -> int:
    """The last sequence number that the index has given out."""
    shard = client.indices.stats(index=index, level="shards")["indices"][index]["shards"]["0"][0]
    return int(shard["seq_no"]["global_checkpoint"])


def shard(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda source: source["shards"]["0"].update(values)


def top(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda source: source.update(values)


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "position raised": shard(seq_no=2 * DOCUMENTS + 1),
    "position far beyond": shard(seq_no=10**15),
    "position lowered": shard(seq_no=-1),
    "own writes forged": shard(own=[[0, 10**6]]),
    "own writes are no intervals": shard(own=[["0", None], 7]),
    "a string for a number": shard(seq_no=str(2 * DOCUMENTS + 1)),
    "a fraction": shard(seq_no=21.5),
    "history": shard(history="another"),
    "uuid": top(uuid="another"),
    "index": top(index="another"),
    "binding": top(binding="another"),
    "partition": top(partition="1/2"),
    "check sum": top(check="0123456789abcdef"),
    "kind": top(kind="dead_letter"),
    "no shards": top(shards={}),
    "shards are a list": top(shards=[]),
    "missing position": lambda source: source["shards"]["0"].pop("seq_no"),
    "missing history": lambda source: source["shards"]["0"].pop("history"),
    "missing check sum": lambda source: source.pop("check"),
    "missing uuid": lambda source: source.pop("uuid"),
    "nothing left": lambda source: source.clear(),
}


def edited(client: Elasticsearch, control: str, index: str, edit: Callable[[dict[str, Any]], Any]) -> str:
    """Edit the checkpoint of an index, and return its id."""
    doc_id = checkpoint_id(index, "semantic", WHOLE)
    source = dict(client.get(index=control, id=doc_id)["_source"])
    edit(source)
    client.index(index=control, id=doc_id, document=source)
    return doc_id


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_checkpoint_is_never_trusted(client: Elasticsearch, control: str, index: str, edit: str) -> None:
    doc_id = edited(client, control, index, EDITS[edit])
    before = client.get(index=control, id=doc_id)["_source"]
    error = refused(client, index, ControlDamaged, repr(doc_id), repr(control), "not what es-semantic wrote there")
    with pytest.raises(ControlDamaged):
        es_semantic.status(client, index)
    assert client.get(index=control, id=doc_id)["_source"] == before
    assert f"DELETE /{control}/_doc/{doc_id}" in error.hint
    client.delete(index=control, id=doc_id)
    settled(client, index)


def test_the_command_says_what_to_do(
    client: Elasticsearch, control: str, index: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc_id = edited(client, control, index, EDITS["position raised"])
    monkeypatch.setattr(es_semantic, "sync", partial(es_semantic.sync, model=TinyEmbedder()))
    ran = cli("sync", index, "--json")
    assert (ran.code, ran.json["error"]["type"]) == (1, "ControlDamaged")
    assert f"DELETE /{control}/_doc/{doc_id}" in ran.err
    client.delete(index=control, id=doc_id)
    assert cli("sync", index, "--json").json["embedded"] == len(UNREAD)
    assert is_true(client, index)


def test_an_edit_while_it_is_syncing(client: Elasticsearch, control: str, index: str) -> None:
    class Meddler(TinyEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Embeddings:
            edited(client, control, index, shard(seq_no=10**15))
            return super().embed_documents(texts)

    with pytest.raises(ControlDamaged) as caught:
        es_semantic.sync(client, index, model=Meddler())
    client.delete(index=control, id=checkpoint_id(index, "semantic", WHOLE))
    assert "DELETE" in caught.value.hint
    settled(client, index)


def with_check_sum(edit: Callable[[dict[str, Any]], Any], source: dict[str, Any]) -> None:
    """Edit a checkpoint as only somebody could who knows how its check sum is made."""
    edit(source)
    source["check"] = StoredCheckpoint.model_validate(source).checksum()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (shard(seq_no=10**15), "yet the checkpoint says 1000000000000000: it is read from its beginning"),
        (shard(history="another"), "was restored: it is read from its beginning"),
        (top(uuid="another"), "was re-created since the last sync: it is read from its beginning"),
    ],
)
def test_a_checkpoint_of_another_history_is_a_note_and_a_start_from_the_beginning(
    client: Elasticsearch, control: str, index: str, edit: Callable[[dict[str, Any]], Any], said: str
) -> None:
    edited(client, control, index, partial(with_check_sum, edit))
    embedder = TinyEmbedder()
    report = es_semantic.sync(client, index, model=embedder)
    assert [said in note and index in note for note in report.notes] == [True]
    assert (report.read, sorted(embedder.texts)) == (DOCUMENTS + 1, UNREAD)
    assert is_true(client, index)
    again = es_semantic.sync(client, index, model=embedder)
    assert (again.read, again.notes) == (0, [])


def test_an_index_that_was_re_created_under_the_name(
    client: Elasticsearch, index: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.indices.delete(index=index)
    client.indices.create(index=index, mappings={"properties": {"title": TEXT}}, settings={"number_of_replicas": 0})
    for number in range(3 * DOCUMENTS):
        client.index(index=index, id=str(number), document={"title": f"another text {number}"})
    es_semantic.attach(client, index, FIELDS, model=TinyEmbedder())
    # The old checkpoint is below what the new index has written already: only the UUID tells.
    assert es_semantic.status(client, index).unread == 3 * DOCUMENTS
    monkeypatch.setattr(es_semantic, "sync", partial(es_semantic.sync, model=TinyEmbedder()))
    ran = cli("sync", index)
    assert ran.code == 0
    assert f"index {index!r} was re-created since the last sync: it is read from its beginning" in ran.err
    assert f"{3 * DOCUMENTS} embedded" in ran.out
    assert is_true(client, index)


# --- The control index ---


def put(client: Elasticsearch, name: str, properties: dict[str, Any], **more: Any) -> None:
    client.indices.create(index=name, mappings={"properties": properties, **more}, settings={"number_of_replicas": 0})


def mapped_otherwise(client: Elasticsearch, control: str) -> None:
    put(client, f"{control}-1", {"kind": {"type": "long"}, "at": {"type": "long"}})
    client.indices.put_alias(index=f"{control}-1", name=control)


def mapped_strictly(client: Elasticsearch, control: str) -> None:
    sortable = {key: {"type": "keyword"} for key in ("kind", "field", "index", "id", "routing", "at")}
    put(client, f"{control}-1", sortable, dynamic="strict")
    client.indices.put_alias(index=f"{control}-1", name=control)


def mapped_by_writing(client: Elasticsearch, control: str) -> None:
    put(client, f"{control}-1", {})
    client.indices.put_alias(index=f"{control}-1", name=control)


def plain_index_of_the_name(client: Elasticsearch, control: str) -> None:
    put(client, control, {"note": TEXT})


def own_mapping_without_alias(client: Elasticsearch, control: str) -> None:
    request = create_request()
    assert isinstance(request.body, dict)
    client.indices.create(index=control, mappings=request.body["mappings"], settings=request.body["settings"])


def without_its_alias(client: Elasticsearch, control: str) -> None:
    put(client, f"{control}-1", {"note": TEXT})


def alias_of_another(client: Elasticsearch, control: str) -> None:
    put(client, f"{control}-of-somebody", {"note": TEXT})
    client.index(index=f"{control}-of-somebody", id="1", document={"note": "theirs"}, refresh=True)
    client.indices.put_alias(index=f"{control}-of-somebody", name=control)


def alias_of_two(client: Elasticsearch, control: str) -> None:
    alias_of_another(client, control)
    mapped_by_writing(client, control)


IMPOSTORS = [
    mapped_otherwise,
    mapped_strictly,
    mapped_by_writing,
    plain_index_of_the_name,
    own_mapping_without_alias,
    without_its_alias,
    alias_of_another,
    alias_of_two,
]


def documents_behind(client: Elasticsearch, control: str) -> int:
    client.indices.refresh(index=f"{control}*", expand_wildcards="all")
    return int(client.count(index=f"{control}*", expand_wildcards="all")["count"])


@pytest.mark.parametrize("replace", IMPOSTORS)
def test_another_index_in_place_of_the_control_index(
    client: Elasticsearch, control: str, index: str, replace: Callable[[Elasticsearch, str], None]
) -> None:
    client.indices.delete(index=f"{control}-1")
    replace(client, control)
    before = documents_behind(client, control)
    error = refused(client, index, ControlDamaged, repr(control), "is not the index that es-semantic made")
    assert "es-semantic attach" in error.hint
    assert documents_behind(client, control) == before
    for name in client.indices.get(index=f"{control}*", expand_wildcards="all").body:
        client.indices.delete(index=name)
    es_semantic.attach(client, index, FIELDS, model=TinyEmbedder())
    settled(client, index)


def close(client: Elasticsearch, control: str) -> Callable[[], object]:
    client.indices.close(index=f"{control}-1")
    return partial(client.indices.open, index=f"{control}-1")


def block(client: Elasticsearch, control: str, *, kind: str) -> Callable[[], object]:
    lock, unlock = ({f"index.blocks.{kind}": value} for value in (True, None))
    client.indices.put_settings(index=f"{control}-1", settings=lock)
    return partial(client.indices.put_settings, index=f"{control}-1", settings=unlock)


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        pytest.param(close, "closed", id="closed"),
        *(pytest.param(partial(block, kind=kind), "blocked by", id=kind) for kind in ("write", "read_only", "read")),
    ],
)
def test_a_control_index_that_is_closed_or_blocked(
    client: Elasticsearch,
    control: str,
    index: str,
    lock: Callable[[Elasticsearch, str], Callable[[], object]],
    said: str,
) -> None:
    unlock = lock(client, control)
    try:
        refused(client, index, IndexUnavailable, control, said)
    finally:
        unlock()
    client.cluster.health(index=f"{control}-1", wait_for_status="yellow")
    settled(client, index)
