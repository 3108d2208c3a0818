"""A new index in the place of an old one: every document, with true vectors, under the names that programs use."""

from __future__ import annotations

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.client import connect_async
from es_semantic.config import ConnectionSettings
from es_semantic.errors import UsageError
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex
from tests.reindexing import documents
from tests.truth import untrue

TEXT = {"type": "text"}
PROPERTIES = {"title": TEXT, "body": TEXT, "count": {"type": "integer"}}
FIELDS = ["title", "body"]


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    """Fifty documents in three shards, one without text; not attached."""
    some = {str(i): {"title": f"number {i}", "body": f"the body of {i}", "count": i} for i in range(49)}
    return make_index(PROPERTIES, documents={**some, "blank": {"count": 7}}, settings={"number_of_shards": 3})


def test_an_alias_moves_to_the_new_index(client: Elasticsearch, index: str) -> None:
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias, filter={"range": {"count": {"lt": 40}}})
    before = documents(client, index)
    embedder = TinyEmbedder()
    report = es_semantic.reindex(client, alias, new, fields=FIELDS, model=embedder)
    assert report.switched
    assert report.aliases == [alias]
    assert (report.counts.copied, report.counts.embedded, report.counts.empty) == (50, 49, 1)
    assert documents(client, new) == before
    assert untrue(client, new, FIELDS, embedder) == {}
    assert client.indices.get_alias(name=alias).body == {
        new: {"aliases": {alias: {"filter": {"range": {"count": {"lt": 40}}}}}}
    }
    assert es_semantic.search(client, alias, "number 7", model=embedder, fields=FIELDS).hits[0].id == "7"
    assert all(check.ok for check in report.checks)
    settings = client.indices.get_settings(index=new, flat_settings=True)[new]["settings"]
    assert settings["index.final_pipeline"] == f"es-semantic-{new}"
    assert settings["index.number_of_shards"] == "3"
    assert settings["index.number_of_replicas"] == "0"
    assert "index.refresh_interval" not in settings
    again = es_semantic.reindex(client, alias, new, fields=FIELDS, model=TinyEmbedder())
    assert again.switched
    assert again.counts.copied == 50


async def test_the_asynchronous_client_does_the_same(client: Elasticsearch, node_url: str, index: str) -> None:
    before = documents(client, index)
    new = f"{index}-new"
    async with connect_async(ConnectionSettings(url=node_url)) as asynchronous:
        report = await es_semantic.reindex(asynchronous, index, new, fields=FIELDS, model=TinyEmbedder(), slices=4)
    assert report.switched
    assert report.old == f"{index}-before-{new}"
    assert documents(client, new) == documents(client, index) == documents(client, report.old) == before
    assert set(client.indices.get_alias(name=index)) == {new}


def test_back_with_what_was_written_since(client: Elasticsearch, index: str) -> None:
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)
    es_semantic.reindex(client, alias, new, fields=FIELDS, model=TinyEmbedder())
    client.index(index=alias, id="later", document={"title": "later"})
    client.update(index=alias, id="3", doc={"title": "changed"})
    client.delete(index=alias, id="4")
    client.indices.refresh(index=alias)
    before = documents(client, new)
    report = es_semantic.undo_reindex(client, new)
    assert (report.stage, report.aliases, report.counts.copied, report.counts.deleted) == ("back", [alias], 2, 1)
    assert set(client.indices.get_alias(name=alias)) == {index}
    assert documents(client, index) == before
    client.index(index=alias, id="again", document={"title": "again"})
    with pytest.raises(UsageError, match="no job fills"):
        es_semantic.undo_reindex(client, new)


def test_back_to_an_index_whose_name_had_become_an_alias(client: Elasticsearch, index: str) -> None:
    new = f"{index}-new"
    before = documents(client, index)
    es_semantic.reindex(client, index, new, fields=FIELDS, model=TinyEmbedder())
    client.index(index=index, id="later", document={"title": "later"})
    report = es_semantic.undo_reindex(client, new)
    assert set(client.indices.get_alias(name=index)) == {report.target} == {f"{index}-before-{new}"}
    assert documents(client, index) == {**before, "later": ({"title": "later"}, None, 1)}
    client.index(index=index, id="again", document={"title": "again"})


def test_a_job_that_is_given_up_leaves_nothing(client: Elasticsearch, index: str) -> None:
    new = f"{index}-new"
    es_semantic.reindex(client, index, new, fields=FIELDS, model=TinyEmbedder(), switch="none")
    assert client.indices.exists(index=new)
    assert es_semantic.cancel_reindex(client, new).stage == "cancelled"
    assert not client.indices.exists(index=new)
    assert client.options(ignore_status=404).ingest.get_pipeline(id=f"es-semantic-{new}").body == {}
    client.index(index=index, id="later", document={"title": "later"})
    with pytest.raises(UsageError, match="no job fills"):
        es_semantic.cancel_reindex(client, new)


def test_beside_first_and_switched_to_later(client: Elasticsearch, index: str) -> None:
    new = f"{index}-new"
    embedder = TinyEmbedder()
    report = es_semantic.reindex(client, index, new, fields=FIELDS, model=embedder, switch="none")
    assert (report.stage, report.switched) == ("ready", False)
    assert es_semantic.search(client, new, "number 7", model=embedder).hits[0].id == "7"
    client.index(index=index, id="later", document={"title": "later"})
    client.delete(index=index, id="4")
    texts = len(embedder.texts)
    report = es_semantic.reindex(client, index, new, fields=FIELDS, model=embedder, keep_old=False)
    assert embedder.texts[texts:].count("later") == 1
    assert report.switched
    assert report.old is None
    assert (report.counts.copied, report.counts.deleted) == (51, 1)
    assert set(client.indices.get_alias(name=index)) == {new}
    assert documents(client, index).keys() >= {"later", "5"}
    assert untrue(client, new, FIELDS, embedder) == {}


def test_an_estimate_changes_nothing(client: Elasticsearch, index: str) -> None:
    found = es_semantic.estimate_reindex(client, index, f"{index}-new", fields=FIELDS, model=TinyEmbedder())
    assert (found.documents, found.sampled, found.to_embed, found.vectors) == (50, 50, 49, 49)
    assert found.documents_a_second > 0
    assert found.disk_free is not None
    assert found.body["settings"]["index.number_of_shards"] == "3"
    assert not client.indices.exists(index=f"{index}-new")
