"""Attach to an index and detach again: what changes, and what an interruption leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import (
    BindingConflict,
    NotAttached,
)
from es_semantic.schema.attach import attach_steps, detach_steps
from es_semantic.schema.text import text_hash
from tests.attaching import final_of, mapping_of, pipelines_of, run_until, state_of, written
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex

TEXT = {"type": "text"}
PROPERTIES = {"title": TEXT, "body": TEXT, "pages": {"type": "integer"}}
FIELDS = ["title", "body"]


def attach(client: Elasticsearch, index: str, fields: list[str] = FIELDS, **options: Any) -> Any:
    return es_semantic.attach(client, index, fields, model=options.pop("model", TinyEmbedder()), **options)


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
