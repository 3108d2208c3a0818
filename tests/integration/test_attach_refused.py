"""What attaching refuses, leaving everything as it was; and the privileges it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import (
    EsSemanticError,
    Forbidden,
    IndexUnavailable,
    NotAttached,
    SchemaError,
    UsageError,
)
from tests.attaching import final_of, mapping_of, pipelines_of, state_of, written
from tests.embedder import TinyEmbedder
from tests.integration.test_attach import FIELDS, PROPERTIES, TEXT, attach
from tests.nodes import MakeIndex, SecuredNode, remove_everything


def refused(client: Elasticsearch, index: str, fields: list[str] = FIELDS, **options: Any) -> EsSemanticError:
    before = state_of(client, index)
    with pytest.raises(EsSemanticError) as caught:
        attach(client, index, fields, **options)
    assert state_of(client, index) == before
    return caught.value


@pytest.mark.parametrize("name", ["{}", "{}-other"])
def test_an_unknown_index(client: Elasticsearch, unique: str, name: str) -> None:
    with pytest.raises(IndexUnavailable, match="no index, alias or data stream"):
        attach(client, name.format(unique))


def test_a_wildcard_or_list_reaches_nothing(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    before = state_of(client, index)
    for name in (f"{index[:-1]}*", f"{index},{index}", "_all", f"-{index}"):
        with pytest.raises(UsageError, match="is not the name of one index"):
            attach(client, name)
    assert state_of(client, index) == before


def test_a_closed_index_by_its_name_and_by_an_alias(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    client.indices.put_alias(index=index, name=f"{index}-alias")
    client.indices.close(index=index)
    for name in (index, f"{index}-alias"):
        before = client.indices.get_mapping(index=index).body
        with pytest.raises(IndexUnavailable, match=f"index {index!r} is closed") as caught:
            attach(client, name)
        assert caught.value.hint == f"Open it: POST /{index}/_open"
        assert client.indices.get_mapping(index=index).body == before


@pytest.mark.parametrize("block", ["read_only", "read_only_allow_delete", "write", "metadata", "read"])
def test_every_block(client: Elasticsearch, make_index: MakeIndex, block: str) -> None:
    index = make_index(PROPERTIES)
    client.indices.put_settings(index=index, settings={f"index.blocks.{block}": True})
    try:
        mapping = {} if block == "metadata" else mapping_of(client, index)
        with pytest.raises(IndexUnavailable, match=r"read-only|blocked"):
            attach(client, index)
    finally:
        client.indices.put_settings(index=index, settings={f"index.blocks.{block}": None})
    assert mapping_of(client, index) == (mapping or mapping_of(client, index))
    assert "_meta" not in mapping_of(client, index)
    assert (final_of(client, index), pipelines_of(client, f"es-semantic-{index}")) == (None, {})


@pytest.mark.parametrize(
    ("fields", "why"),
    [(["pages"], "'pages' is integer"), (["nowhere"], "no field 'nowhere'"), (["title", "title"], "none twice")],
)
def test_unusable_fields(client: Elasticsearch, make_index: MakeIndex, fields: list[str], why: str) -> None:
    assert why in refused(client, make_index(PROPERTIES), fields).what


@pytest.mark.parametrize(
    ("mapping", "settings", "why"),
    [
        ({"subobjects": False}, {}, "`subobjects: false`"),
        ({"dynamic": "strict"}, {}, "`dynamic: strict`"),
        ({"_source": {"enabled": False}}, {}, "keeps no _source"),
        ({}, {"index.mapping.source.mode": "disabled"}, "keeps no _source"),
        ({"_source": {"excludes": ["body"]}}, {}, "'body' of index"),
        ({"_source": {"includes": FIELDS}}, {}, "'semantic.vector' of index"),
        ({}, {"index.mapping.total_fields.limit": 6}, "Limit of total fields [6] has been exceeded"),
        ({}, {"index.mapping.depth.limit": 1}, "Limit of mapping depth [1] has been exceeded"),
    ],
)
def test_mappings_that_have_no_place_for_it(
    client: Elasticsearch, make_index: MakeIndex, mapping: dict[str, Any], settings: dict[str, Any], why: str
) -> None:
    assert why in refused(client, make_index(PROPERTIES, settings=settings, **mapping)).what


def test_a_place_that_is_taken(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({**PROPERTIES, "semantic": TEXT})
    assert "already has a field 'semantic'" in refused(client, index).what
    assert attach(client, index, name="other").changed


def test_a_field_of_an_earlier_attach_with_other_dims(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    es_semantic.detach(client, index)
    assert "dims: there 64, wanted 32" in refused(client, index, model=TinyEmbedder(dims=32)).what


def test_strict_works_once_the_owner_has_sent_the_request_in_the_hint(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index(PROPERTIES, dynamic="strict")
    first, body = refused(client, index).hint.split("\nPUT ")[1].split("\n", 1)
    assert first == f"/{index}/_mapping"
    client.indices.put_mapping(index=index, **json.loads(body))
    attach(client, index)
    assert written(client, index)["semantic"]["status"] == "pending"
    report = es_semantic.sync(client, index, model=TinyEmbedder())
    assert (report.embedded, report.failed) == (1, 0)


def test_a_meta_that_somebody_edited(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    meta = mapping_of(client, index)["_meta"]
    meta["es_semantic"]["fields"]["semantic"]["source"] = "title"
    client.indices.put_mapping(index=index, meta=meta)
    error = refused(client, index)
    assert "_meta.es_semantic that this version cannot read: fields.semantic.source" in error.what
    with pytest.raises(SchemaError, match="cannot read"):
        es_semantic.detach(client, index)


def test_a_pipeline_of_somebody_else_under_our_name(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    client.ingest.put_pipeline(id=f"es-semantic-{index}", processors=[])
    assert "was not made for index" in refused(client, index).what


def test_an_alias_of_one_index_and_of_two(client: Elasticsearch, make_index: MakeIndex) -> None:
    one, two = make_index(PROPERTIES), make_index(PROPERTIES)
    alias = f"{one}-alias"
    client.indices.put_alias(index=one, name=alias)
    assert attach(client, alias).target == one
    assert es_semantic.sync(client, alias, model=TinyEmbedder()).total == 0
    assert es_semantic.detach(client, alias)[0].target == one

    client.indices.put_alias(index=two, name=alias)
    before = state_of(client, one), state_of(client, two)
    with pytest.raises(SchemaError, match=f"stands for 2 indices: {one}, {two}"):
        attach(client, alias)
    assert (state_of(client, one), state_of(client, two)) == before


def test_purging_an_object_that_was_never_a_semantic_field_removes_nothing(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    order = {"properties": {"status": {"type": "keyword"}}}
    document = {"title": "x", "order": {"status": "paid"}}
    index = make_index({**PROPERTIES, "order": order}, documents={"1": document})
    change, purged = es_semantic.detach(client, index, name="order", purge=True)
    assert (change.changed, purged) == (False, 0)
    assert client.get(index=index, id="1")["_source"] == document
    attach(client, index)
    with pytest.raises(NotAttached, match="no semantic field 'order'"):
        es_semantic.detach(client, index, name="order", purge=True)


# With a security that knows who may do what.


@pytest.fixture
def secured_index(superuser: Elasticsearch, unique: str) -> Iterator[str]:
    superuser.indices.create(index=unique, mappings={"properties": PROPERTIES}, settings={"number_of_replicas": 0})
    yield unique
    remove_everything(superuser, unique)


@pytest.mark.parametrize(
    ("cluster", "privileges", "missing"),
    [
        ([], ["read"], ["view_index_metadata"]),
        ([], ["read", "view_index_metadata"], ["manage_ingest_pipelines", "manage on {}"]),
        (["manage_ingest_pipelines"], ["read", "view_index_metadata"], ["manage on {}"]),
        ([], ["manage", "view_index_metadata"], ["manage_ingest_pipelines"]),
        (["manage_ingest_pipelines"], [], ["{}"]),
    ],
)
def test_missing_privileges_are_named_and_nothing_is_changed(
    superuser: Elasticsearch,
    secured_node: SecuredNode,
    secured_index: str,
    cluster: list[str],
    privileges: list[str],
    missing: list[str],
) -> None:
    before = state_of(superuser, secured_index)
    indices = [{"names": [secured_index], "privileges": privileges}] if privileges else []
    role = {"role": {"cluster": cluster, "indices": indices}}
    key = superuser.security.create_api_key(name=secured_index, role_descriptors=role)["encoded"]
    with Elasticsearch(secured_node.url, api_key=key) as restricted:
        for call in (attach, lambda *args: es_semantic.detach(*args)):
            if call is not attach:
                attach(superuser, secured_index)
                before = state_of(superuser, secured_index)
            with pytest.raises(Forbidden) as caught:
                call(restricted, secured_index)
            assert [what for what in missing if what.format(secured_index) not in caught.value.what] == []
            assert state_of(superuser, secured_index) == before


def test_the_privileges_that_are_asked_for_are_enough(
    superuser: Elasticsearch, secured_node: SecuredNode, secured_index: str
) -> None:
    role = {
        "role": {
            "cluster": ["manage_ingest_pipelines"],
            "indices": [{"names": [secured_index], "privileges": ["view_index_metadata", "manage"]}],
        }
    }
    key = superuser.security.create_api_key(name=secured_index, role_descriptors=role)["encoded"]
    with Elasticsearch(secured_node.url, api_key=key) as administrator:
        assert attach(administrator, secured_index).changed
        assert written(superuser, secured_index)["semantic"]["status"] == "pending"
        assert es_semantic.detach(administrator, secured_index)[0].changed
