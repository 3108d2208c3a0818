"""One pass makes every document true, whatever is in it and however it was written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.client import connect_async
from es_semantic.config import ConnectionSettings
from es_semantic.embedding import Embeddings
from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import (
    FingerprintMismatch,
    IndexUnavailable,
    InputRejected,
    ModelUnavailable,
    NotAttached,
    SchemaError,
)
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex, remove_everything
from tests.truth import untrue

TEXT = {"type": "text"}
PROPERTIES = {"title": TEXT, "body": TEXT, "count": {"type": "integer"}}
FIELDS = ["title", "body"]


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    """Fifty documents, attached but not embedded."""
    documents = {str(i): {"title": f"number {i}", "body": f"the body of {i}", "count": i} for i in range(50)}
    name = make_index(PROPERTIES, documents=documents)
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder())
    return name


def test_everything_is_true_afterwards_and_a_second_pass_embeds_nothing(client: Elasticsearch, index: str) -> None:
    embedder = TinyEmbedder()
    report = es_semantic.sync(client, index, model=embedder)
    assert (report.total, report.read, report.embedded, report.failed) == (50, 50, 50, 0)
    assert untrue(client, index, FIELDS, embedder) == {}
    again = TinyEmbedder()
    report = es_semantic.sync(client, index, model=again)
    assert (report.read, report.embedded, again.texts) == (0, 0, [])


async def test_the_asynchronous_client_does_the_same(client: Elasticsearch, node_url: str, index: str) -> None:
    async with connect_async(ConnectionSettings(url=node_url)) as asynchronous:
        report = await es_semantic.sync(asynchronous, index, model=TinyEmbedder())
        state = await es_semantic.status(asynchronous, index)
    assert report.embedded == state.ready == 50
    assert untrue(client, index, FIELDS, TinyEmbedder()) == {}


def test_only_what_changed_is_embedded_again(client: Elasticsearch, index: str) -> None:
    es_semantic.sync(client, index, model=TinyEmbedder())
    client.update(index=index, id="1", doc={"title": "changed by update"})
    client.bulk(index=index, operations=[{"update": {"_id": "2"}}, {"doc": {"title": "changed by bulk update"}}])
    client.update(index=index, id="3", doc={"count": -3})
    client.delete(index=index, id="4")
    embedder = TinyEmbedder()
    report = es_semantic.sync(client, index, model=embedder)
    assert sorted(embedder.texts) == ["changed by bulk update\nthe body of 2", "changed by update\nthe body of 1"]
    assert (report.read, report.embedded, report.unchanged) == (3, 2, 1)
    assert untrue(client, index, FIELDS, embedder) == {}


def test_documents_of_every_shape(client: Elasticsearch, make_index: MakeIndex) -> None:
    documents: dict[str, dict[str, Any]] = {
        "missing": {"count": 1},
        "null": {"title": None, "body": None},
        "blank": {"title": " \n\t\x00"},
        "number": {"title": 1984},
        "float": {"title": 2.50},
        "array": {"title": ["one", "two", None], "body": "three"},
        "surrogate": {"title": "a\ud800b"},
        "astral": {"title": "\U0001f600 smile"},
        "control": {"title": "a\x00b\x1fc"},
        "large": {"title": "large", "body": "word " * 1_000_000},
    }
    name = make_index(PROPERTIES, documents=documents)
    embedder = TinyEmbedder()
    es_semantic.attach(client, name, FIELDS, model=embedder)
    report = es_semantic.sync(client, name, model=embedder)
    assert (report.embedded, report.empty, report.failed) == (7, 3, 0)
    assert untrue(client, name, FIELDS, embedder) == {}


def test_dotted_and_nested_sources(client: Elasticsearch, make_index: MakeIndex) -> None:
    properties = {"meta": {"properties": {"title": TEXT}}, "authors": {"properties": {"name": TEXT}}}
    documents: dict[str, dict[str, Any]] = {
        "object": {"meta": {"title": "as an object"}},
        "dotted": {"meta.title": "with a dot"},
        "array": {"meta": {"title": "book"}, "authors": [{"name": "Ada"}, {"name": "Grace"}]},
    }
    name = make_index(properties, documents=documents)
    embedder = TinyEmbedder()
    es_semantic.attach(client, name, ["meta.title", "authors.name"], model=embedder)
    es_semantic.sync(client, name, model=embedder)
    assert sorted(embedder.texts) == ["as an object", "book\nAda\nGrace", "with a dot"]
    assert untrue(client, name, ["meta.title", "authors.name"], embedder) == {}


def test_custom_routing(client: Elasticsearch, make_index: MakeIndex) -> None:
    name = make_index({"title": TEXT}, settings={"number_of_shards": 3}, _routing={"required": True})
    for i in range(20):
        client.index(index=name, id=str(i), routing=f"tenant-{i % 3}", document={"title": f"text {i}"})
    embedder = TinyEmbedder()
    es_semantic.attach(client, name, ["title"], model=embedder)
    report = es_semantic.sync(client, name, model=embedder)
    assert (report.embedded, report.failed) == (20, 0)
    assert untrue(client, name, ["title"], embedder) == {}
    assert len(es_semantic.search(client, name, "text 7", size=20, model=embedder).hits) == 20


class Writer(TinyEmbedder):
    """While it embeds, somebody changes one document and deletes another."""

    def __init__(self, client: Elasticsearch, index: str) -> None:
        super().__init__()
        self._write = [
            lambda: client.index(index=index, id="7", document={"title": "newer", "body": "than what was read"}),
            lambda: client.delete(index=index, id="8"),
        ]

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        while self._write:
            self._write.pop()()
        return super().embed_documents(texts)


def test_a_newer_version_is_never_overwritten(client: Elasticsearch, index: str) -> None:
    report = es_semantic.sync(client, index, model=Writer(client, index))
    assert (report.embedded, report.superseded, report.failed) == (48, 2, 0)
    newer = client.get(index=index, id="7")["_source"]
    assert (newer["title"], newer["semantic"]["status"]) == ("newer", "pending")
    assert not client.exists(index=index, id="8")
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 1
    assert untrue(client, index, FIELDS, TinyEmbedder()) == {}


class Picky(TinyEmbedder):
    """Refuses some texts, as a provider with a content or length limit does; makes NaN of others."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if any("number 13" in text for text in texts):
            raise InputRejected("this text is refused")
        return super().embed_documents(texts)


def test_a_poison_document_becomes_a_dead_letter_and_takes_no_other_down(client: Elasticsearch, index: str) -> None:
    report = es_semantic.sync(client, index, model=Picky())
    assert (report.embedded, report.failed) == (49, 1)
    assert [(failure.id, failure.reason) for failure in report.failures] == [("13", "this text is refused")]
    state = client.get(index=index, id="13")["_source"]["semantic"]
    assert (state["status"], state["error"]) == ("failed", "this text is refused")
    assert es_semantic.status(client, index).failed == 1
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 0
    assert [(letter.id, letter.reason) for letter in es_semantic.failures(client, index).failures] == [
        ("13", "this text is refused")
    ]
    assert es_semantic.failures(client, index, retry=True).queued == 1
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 1
    assert es_semantic.status(client, index).failed == 0
    assert es_semantic.failures(client, index).failures == []
    assert untrue(client, index, FIELDS, TinyEmbedder()) == {}


class Down(TinyEmbedder):
    """A provider that stops answering after the first texts."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if self.calls:
            raise ModelUnavailable("the embedding server does not answer")
        return super().embed_documents(texts)


def test_a_provider_that_goes_down_stops_the_pass_and_the_next_one_goes_on(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    name = make_index({"title": TEXT})
    operations: list[dict[str, Any]] = []
    for i in range(1500):
        operations += [{"index": {"_id": str(i)}}, {"title": f"text {i}"}]
    client.bulk(index=name, operations=operations, refresh=True)
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    with pytest.raises(ModelUnavailable, match="does not answer"):
        es_semantic.sync(client, name, model=Down())
    client.indices.refresh(index=name)
    written = es_semantic.status(client, name).ready
    assert 0 < written < 1500
    rest = TinyEmbedder()
    assert es_semantic.sync(client, name, model=rest).embedded == len(rest.texts) == 1500 - written
    assert untrue(client, name, ["title"], TinyEmbedder()) == {}


def test_another_model_is_refused_with_both_shown(client: Elasticsearch, index: str) -> None:
    other = TinyEmbedder("other")
    with pytest.raises(FingerprintMismatch) as caught:
        es_semantic.sync(client, index, model=other)
    assert TinyEmbedder().profile.fingerprint.id in str(caught.value)
    assert other.profile.fingerprint.id in str(caught.value)


class OtherWeights(TinyEmbedder):
    """The same name with other weights: only the probe can tell."""

    def vector(self, text: str) -> Vectors:
        return -super().vector(text)


def test_the_same_name_with_other_weights_is_refused(client: Elasticsearch, index: str) -> None:
    with pytest.raises(FingerprintMismatch, match="probe sentence differs"):
        es_semantic.sync(client, index, model=OtherWeights())


def test_vectors_of_a_model_bound_before_are_made_anew(client: Elasticsearch, index: str) -> None:
    es_semantic.sync(client, index, model=TinyEmbedder())
    es_semantic.detach(client, index)
    other = TinyEmbedder("other")
    es_semantic.attach(client, index, FIELDS, model=other)
    assert es_semantic.status(client, index).pending == 50
    assert es_semantic.sync(client, index, model=other).embedded == 50
    assert untrue(client, index, FIELDS, other) == {}


def test_an_index_without_a_semantic_field(client: Elasticsearch, make_index: MakeIndex) -> None:
    name = make_index(PROPERTIES)
    with pytest.raises(NotAttached, match=f"es-semantic attach {name}"):
        es_semantic.sync(client, name)
    with pytest.raises(NotAttached):
        es_semantic.status(client, name)


@pytest.mark.parametrize("block", ["write", "read_only", "read_only_allow_delete"])
def test_a_read_only_index_is_refused_before_anything_is_embedded(
    client: Elasticsearch, index: str, block: str
) -> None:
    client.indices.put_settings(index=index, settings={f"index.blocks.{block}": True})
    embedder = TinyEmbedder()
    with pytest.raises(IndexUnavailable, match=f"blocks.{block}"):
        es_semantic.sync(client, index, model=embedder)
    assert embedder.texts == []


class Blocker(TinyEmbedder):
    """While it embeds, the disk fills up and Elasticsearch blocks the index."""

    def __init__(self, client: Elasticsearch, index: str) -> None:
        super().__init__()
        self._client = client
        self._index = index

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        self._client.indices.put_settings(index=self._index, settings={"index.blocks.write": True})
        return super().embed_documents(texts)


def test_a_block_that_comes_meanwhile_is_an_error_and_no_dead_letter(client: Elasticsearch, index: str) -> None:
    with pytest.raises(IndexUnavailable, match="writing is blocked"):
        es_semantic.sync(client, index, model=Blocker(client, index))
    client.indices.put_settings(index=index, settings={"index.blocks.write": None})
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 50
    assert untrue(client, index, FIELDS, TinyEmbedder()) == {}


def test_progress_tells_of_every_document(client: Elasticsearch, index: str) -> None:
    seen: list[tuple[int, int]] = []
    es_semantic.sync(client, index, model=TinyEmbedder(), progress=lambda r: seen.append((r.embedded, r.total)))
    assert seen[-1] == (50, 50)
    assert seen == sorted(seen)


def test_a_blocked_older_index_of_a_data_stream_does_not_stop_the_others(client: Elasticsearch, unique: str) -> None:
    template = {"mappings": {"properties": {"title": TEXT}}, "settings": {"number_of_replicas": 0}}
    name = f"{unique}-stream"
    client.indices.put_index_template(
        name=f"{unique}-template", index_patterns=[f"{name}*"], data_stream={}, template=template, priority=500
    )
    for i in range(3):
        client.create(index=name, id=str(i), document={"@timestamp": "2026-01-01", "title": f"text {i}"}, refresh=True)
        client.indices.rollover(alias=name)
    embedder = TinyEmbedder()
    es_semantic.attach(client, name, ["title"], model=embedder)
    oldest = client.indices.resolve_index(name=name)["data_streams"][0]["backing_indices"][0]
    client.indices.put_settings(index=oldest, settings={"index.blocks.write": True})
    report = es_semantic.sync(client, name, model=embedder)
    assert (report.embedded, report.failed) == (2, 0)
    assert report.notes == [f"{oldest!r} is left out, because it is read-only: index.blocks.write"]
    remove_everything(client, unique)


class Interrupted(TinyEmbedder):
    """Somebody presses Ctrl-C while it embeds."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        raise KeyboardInterrupt(f"with {len(texts)} texts to go")


def test_after_an_interruption_the_next_sync_goes_on(client: Elasticsearch, index: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        es_semantic.sync(client, index, model=Interrupted())
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 50
    assert untrue(client, index, FIELDS, TinyEmbedder()) == {}


def test_what_documents_hold_under_the_name_is_never_lost(client: Elasticsearch, make_index: MakeIndex) -> None:
    documents: dict[str, dict[str, Any]] = {"1": {"title": "a", "semantic": "mine"}, "2": {"title": "b"}}
    name = make_index({"title": TEXT}, documents=documents, dynamic=False)
    with pytest.raises(SchemaError, match=r"document '1' .* has a field 'semantic' of its own"):
        es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder(), name="meaning")
    late = {"title": "c", "meaning": {"note": "mine"}}
    client.indices.put_settings(index=name, settings={"index.final_pipeline": "_none"})
    client.index(index=name, id="3", document=late, refresh=True)
    report = es_semantic.sync(client, name, model=TinyEmbedder(), name="meaning")
    assert (report.embedded, report.failed) == (2, 1)
    assert report.failures[0].id == "3"
    assert client.get(index=name, id="3")["_source"] == late
