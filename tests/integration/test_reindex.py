"""A new index in the place of an old one: every document, with true vectors, under the names that programs use."""

from __future__ import annotations

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.client import connect_async
from es_semantic.config import ConnectionSettings
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
