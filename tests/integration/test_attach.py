"""Attach to an index and detach again: what changes, what is refused, and what an interruption leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import (
    BindingConflict,
    EsSemanticError,
    Forbidden,
    IndexUnavailable,
    NotAttached,
    SchemaError,
    UsageError,
)
from es_semantic.schema.attach import attach_steps, detach_steps
from es_semantic.schema.text import text_hash
from tests.attaching import pipelines_of, run_until, state_of
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex, SecuredNode, remove_everything

TEXT = {"type": "text"}
PROPERTIES = {"title": TEXT, "body": TEXT, "pages": {"type": "integer"}}
FIELDS = ["title", "body"]


def attach(client: Elasticsearch, index: str, fields: list[str] = FIELDS, **options: Any) -> Any:
    return es_semantic.attach(client, index, fields, model=options.pop("model", TinyEmbedder()), **options)


def mapping_of(client: Elasticsearch, index: str) -> dict[str, Any]:
    mapping: dict[str, Any] = client.indices.get_mapping(index=index)[index]["mappings"]
    return mapping


def final_of(client: Elasticsearch, index: str) -> str | None:
    settings = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    name: str | None = settings.get("index.final_pipeline")
    return name


def written(client: Elasticsearch, index: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write a document and return what is kept of it."""
    client.index(index=index, id="written", document=document or {"title": "a title"}, refresh=True)
    source: dict[str, Any] = client.get(index=index, id="written")["_source"]
    return source


def without_field(state: dict[str, Any], name: str = "semantic") -> dict[str, Any]:
    """The state but for what Elasticsearch cannot remove: a mapped field, and a ``_meta`` with nothing in it."""
    copy: dict[str, Any] = json.loads(json.dumps(state))
    for body in copy["indices"].values():
        body["mappings"]["properties"].pop(name, None)
        if body["mappings"].get("_meta") == {}:
            del body["mappings"]["_meta"]
    return copy


def test_an_index_is_attached_and_detached(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES, documents={"1": {"title": "one"}})
    before = state_of(client, index)
    change = attach(client, index)
    assert (change.target, change.kind, change.changed) == (index, "index", True)
    assert mapping_of(client, index)["properties"]["semantic"]["properties"]["vector"]["dims"] == 64
    assert mapping_of(client, index)["_meta"]["es_semantic"]["fields"]["semantic"]["source"] == FIELDS
    assert final_of(client, index) == f"es-semantic-{index}"
    assert client.get(index=index, id="1")["_source"] == {"title": "one"}
    assert written(client, index)["semantic"]["status"] == "pending"

    change, purged = es_semantic.detach(client, index)
    assert (change.changed, purged) == (True, 0)
    assert without_field(state_of(client, index)) == before
    assert written(client, index) == {"title": "a title"}
    assert es_semantic.detach(client, index)[0].changed is False


def test_a_second_attach_sends_nothing(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    before = state_of(client, index)
    change = attach(client, index)
    assert (change.changed, change.requests) == (False, ())
    assert state_of(client, index) == before
    assert es_semantic.detach(client, index)[0].changed


def test_detach_and_attach_again(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    before = state_of(client, index)
    es_semantic.detach(client, index)
    attach(client, index)
    assert state_of(client, index) == before


def test_a_dry_run_changes_nothing_and_its_requests_do_the_same_by_hand(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index(PROPERTIES)
    before = state_of(client, index)
    planned = attach(client, index, dry_run=True)
    assert planned.changed
    assert state_of(client, index) == before
    send(client, planned.requests)
    by_hand = state_of(client, index)
    assert attach(client, index).changed is False

    planned = es_semantic.detach(client, index, dry_run=True)[0]
    assert state_of(client, index) == by_hand
    send(client, planned.requests)
    assert without_field(state_of(client, index)) == before
    attach(client, index)
    assert state_of(client, index) == by_hand


def send(client: Elasticsearch, requests: Any) -> None:
    """Send requests as a person would."""
    for request in requests:
        client.perform_request(request.method, request.path, headers=request.headers, body=request.body)


def test_default_and_final_pipelines_of_the_owner_go_on_working(
    client: Elasticsearch, make_index: MakeIndex, unique: str
) -> None:
    for which in ("default", "final"):
        step = {"set": {"field": which, "value": True}}
        # The owner's final pipeline also writes the text: what is hashed is what is stored.
        extra = {"set": {"field": "body", "value": "from the final pipeline"}} if which == "final" else step
        client.ingest.put_pipeline(id=f"{unique}-{which}", processors=[step, extra])
    pipelines = {f"index.{which}_pipeline": f"{unique}-{which}" for which in ("default", "final")}
    index = make_index(PROPERTIES, settings=pipelines, dynamic=False)
    before = state_of(client, index)
    owners = written(client, index)
    assert (owners["default"], owners["final"]) == (True, True)

    attach(client, index)
    attached = written(client, index)
    state = attached.pop("semantic")
    assert attached == owners
    assert state["hash"] == text_hash("a title\nfrom the final pipeline")
    es_semantic.detach(client, index)
    assert without_field(state_of(client, index)) == before
    assert written(client, index) == owners


def test_a_final_pipeline_that_the_owner_sets_later_is_taken_in_and_given_back(
    client: Elasticsearch, make_index: MakeIndex, unique: str
) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    client.ingest.put_pipeline(id=f"{unique}-newer", processors=[{"set": {"field": "newer", "value": 1}}])
    client.indices.put_settings(index=index, settings={"index.final_pipeline": f"{unique}-newer"})
    assert attach(client, index).changed
    document = written(client, index)
    assert (document["newer"], document["semantic"]["status"]) == (1, "pending")
    es_semantic.detach(client, index)
    assert final_of(client, index) == f"{unique}-newer"

    attach(client, index)
    client.indices.put_settings(index=index, settings={"index.final_pipeline": None})
    es_semantic.detach(client, index)
    assert final_of(client, index) is None


def test_the_owners_pipeline_is_found_again_when_the_meta_was_overwritten(
    client: Elasticsearch, make_index: MakeIndex, unique: str
) -> None:
    client.ingest.put_pipeline(id=f"{unique}-theirs", processors=[{"set": {"field": "theirs", "value": 1}}])
    index = make_index(PROPERTIES, settings={"index.final_pipeline": f"{unique}-theirs"}, dynamic=False)
    attach(client, index)
    client.indices.put_mapping(index=index, meta={"team": "search"})
    assert attach(client, index).changed
    assert written(client, index)["theirs"] == 1
    es_semantic.detach(client, index)
    assert final_of(client, index) == f"{unique}-theirs"
    assert mapping_of(client, index)["_meta"] == {"team": "search"}


def test_the_owners_meta_survives(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES, _meta={"team": "search", "deep": {"version": 3}})
    attach(client, index)
    meta = mapping_of(client, index)["_meta"]
    assert (meta["team"], meta["deep"]) == ("search", {"version": 3})
    es_semantic.detach(client, index)
    assert mapping_of(client, index)["_meta"] == {"team": "search", "deep": {"version": 3}}


def test_two_semantic_fields_and_one_of_them_detached(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    only_first = state_of(client, index)
    attach(client, index, ["body"], name="other", model=TinyEmbedder("another", dims=32))
    document = written(client, index, {"title": "a title", "body": ""})
    assert (document["semantic"]["status"], document["other"]["status"]) == ("pending", "empty")
    es_semantic.sync(client, index, model=TinyEmbedder())

    with pytest.raises(NotAttached, match="it has: other, semantic"):
        es_semantic.detach(client, index, name="title")
    es_semantic.detach(client, index, name="other")
    assert without_field(state_of(client, index), "other") == only_first
    assert set(written(client, index)) == {"title", "semantic"}
    assert es_semantic.detach(client, index, name="other", purge=True)[0].changed is False
    es_semantic.detach(client, index)
    assert pipelines_of(client, f"es-semantic-{index}") == {}


def test_another_model_or_other_fields_are_refused_with_both_shown(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    before = state_of(client, index)
    with pytest.raises(BindingConflict) as caught:
        attach(client, index, model=TinyEmbedder("another"))
    assert TinyEmbedder().profile.fingerprint.id in caught.value.what
    assert TinyEmbedder("another").profile.fingerprint.id in caught.value.what
    with pytest.raises(BindingConflict, match="there title, body; wanted body, title"):
        attach(client, index, ["body", "title"])
    with pytest.raises(BindingConflict, match="there title, body; wanted title"):
        attach(client, index, ["title"])
    assert state_of(client, index) == before


@pytest.mark.parametrize("done", [1, 2])
def test_an_interrupted_attach_is_completed_by_the_next(
    client: Elasticsearch, make_index: MakeIndex, done: int, unique: str
) -> None:
    client.ingest.put_pipeline(id=f"{unique}-theirs", processors=[{"set": {"field": "theirs", "value": 1}}])
    index = make_index(PROPERTIES, settings={"index.final_pipeline": f"{unique}-theirs"}, dynamic=False)
    before = state_of(client, index)
    steps = attach_steps(index, FIELDS, lambda: TinyEmbedder().profile)
    assert run_until(client, steps, done)
    assert client.index(index=index, id="1", document={"title": "x"})["result"] == "created"
    assert attach(client, index).changed
    assert attach(client, index).changed is False
    document = written(client, index)
    assert (document["theirs"], document["semantic"]["status"]) == (1, "pending")
    es_semantic.detach(client, index)
    assert without_field(state_of(client, index)) == before


@pytest.mark.parametrize("done", [1, 2])
def test_an_interrupted_attach_can_be_taken_back(client: Elasticsearch, make_index: MakeIndex, done: int) -> None:
    index = make_index(PROPERTIES)
    before = state_of(client, index)
    assert run_until(client, attach_steps(index, FIELDS, lambda: TinyEmbedder().profile), done)
    assert es_semantic.detach(client, index)[0].changed
    assert without_field(state_of(client, index)) == before


@pytest.mark.parametrize("done", [1, 2])
@pytest.mark.parametrize("then", ["detach", "attach"])
def test_an_interrupted_detach_is_completed_or_taken_back(
    client: Elasticsearch, make_index: MakeIndex, done: int, then: str, unique: str
) -> None:
    client.ingest.put_pipeline(id=f"{unique}-theirs", processors=[{"set": {"field": "theirs", "value": 1}}])
    index = make_index(PROPERTIES, settings={"index.final_pipeline": f"{unique}-theirs"}, dynamic=False)
    before = state_of(client, index)
    attach(client, index)
    attached = state_of(client, index)
    assert run_until(client, detach_steps(index), done)
    assert written(client, index)["theirs"] == 1
    if then == "detach":
        assert es_semantic.detach(client, index)[0].changed
        assert without_field(state_of(client, index)) == before
    else:
        assert attach(client, index).changed
        assert state_of(client, index) == attached


def test_runs_that_are_not_cut_off_end(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    assert run_until(client, attach_steps(index, FIELDS, lambda: TinyEmbedder().profile), 3) is False
    assert run_until(client, detach_steps(index), 3) is False


# What is refused, and leaves everything as it was.


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
