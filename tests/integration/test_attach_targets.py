"""Attach to an index template: what is born from it later, and what is left after detaching."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import SchemaError, UsageError
from es_semantic.schema.attach import attach_steps, detach_steps
from tests.attaching import final_pipelines, mappings_of, pipelines_of, put_template, run_until, template_body
from tests.embedder import TinyEmbedder
from tests.nodes import remove_everything
from tests.truth import untrue

TEXT = {"type": "text"}
MAPPINGS: dict[str, Any] = {"properties": {"title": TEXT}}
FIELDS = ["title"]


def attach(client: Elasticsearch, target: str, **options: Any) -> Any:
    model = options.pop("model", TinyEmbedder())
    return es_semantic.attach(client, target, options.pop("fields", FIELDS), model=model, **options)


# Index templates.


@pytest.fixture
def components(client: Elasticsearch, unique: str) -> Iterator[list[str]]:
    """A component template with a final pipeline and a ``_meta`` of the owner's."""
    component = f"{unique}-component"
    client.ingest.put_pipeline(id=f"{unique}-theirs", processors=[{"set": {"field": "theirs", "value": 1}}])
    content = {
        "settings": {"index.final_pipeline": f"{unique}-theirs", "index.number_of_replicas": 0},
        "mappings": {"_meta": {"component": "says"}, "properties": {"title": TEXT}},
    }
    client.cluster.put_component_template(name=component, template=content)
    yield [component]
    remove_everything(client, unique)
    client.cluster.delete_component_template(name=component)


@pytest.mark.usefixtures("make_index")
def test_what_is_created_after_attaching_a_template_is_born_attached(client: Elasticsearch, unique: str) -> None:
    before = put_template(client, unique, f"{unique}-*", template={"mappings": MAPPINGS})
    old, new = f"{unique}-old", f"{unique}-new"
    client.index(index=old, id="1", document={"title": "one"}, refresh=True)
    old_state = client.indices.get(index=old).body
    change = attach(client, unique, template=True)
    assert (change.kind, change.changed) == ("index template", True)
    assert any("created from now on" in note for note in change.notes)
    assert attach(client, unique, template=True).changed is False
    assert client.indices.get(index=old).body == old_state

    client.index(index=new, id="1", document={"title": "one"}, refresh=True)
    assert client.get(index=new, id="1")["_source"]["semantic"]["status"] == "pending"
    assert attach(client, new).changed is False
    assert es_semantic.sync(client, new, model=TinyEmbedder()).embedded == 1
    assert untrue(client, new, FIELDS, TinyEmbedder()) == {}

    es_semantic.detach(client, unique, template=True)
    assert template_body(client, unique) == before
    client.index(index=f"{unique}-later", id="1", document={"title": "one"})
    assert client.get(index=f"{unique}-later", id="1")["_source"] == {"title": "one"}
    # The index that was born attached stays so, until it is detached itself; then nothing is left of either.
    client.index(index=new, id="2", document={"title": "two"})
    assert client.get(index=new, id="2")["_source"]["semantic"]["status"] == "pending"
    es_semantic.detach(client, new)
    assert final_pipelines(client, new) == ["_none"]
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}


@pytest.mark.usefixtures("make_index")
def test_detaching_an_index_leaves_the_pipeline_that_its_template_still_names(
    client: Elasticsearch, unique: str
) -> None:
    put_template(client, unique, f"{unique}-*", template={"mappings": MAPPINGS})
    attach(client, unique, template=True)
    client.indices.create(index=f"{unique}-1")
    es_semantic.detach(client, f"{unique}-1")
    client.index(index=f"{unique}-2", id="1", document={"title": "one"})
    assert client.get(index=f"{unique}-2", id="1")["_source"]["semantic"]["status"] == "pending"
    assert client.index(index=f"{unique}-1", id="1", document={"title": "one"})["result"] == "created"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"template": {"mappings": {"_meta": {"own": True}, "properties": {"body": TEXT}}, "aliases": {}}},
        {"template": {"settings": {"index.number_of_shards": 2, "index.final_pipeline": "_none"}}, "version": 7},
        {"data_stream": {"hidden": True, "allow_custom_routing": True}, "meta": {"team": "search"}},
        {"template": {"lifecycle": {"enabled": True}}, "data_stream": {}, "allow_auto_create": True},
    ],
)
def test_a_detached_template_is_what_it_was(
    client: Elasticsearch, unique: str, components: list[str], body: dict[str, Any]
) -> None:
    before = put_template(client, unique, f"{unique}-*", composed_of=components, **body)
    gives = client.indices.simulate_template(name=unique).body
    attach(client, unique, template=True)
    attached = template_body(client, unique)
    untouched = set(before) - {"template"}
    assert {key: attached[key] for key in untouched} == {key: before[key] for key in untouched}
    es_semantic.detach(client, unique, template=True)
    assert template_body(client, unique) in (before, {**before, "template": before.get("template", {})})
    assert client.indices.simulate_template(name=unique).body == gives
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}


def test_a_final_pipeline_from_a_component_template_goes_on_working(
    client: Elasticsearch, unique: str, components: list[str]
) -> None:
    put_template(client, unique, f"{unique}-*", composed_of=components)
    attach(client, unique, template=True)
    client.index(index=f"{unique}-1", id="1", document={"title": "one"})
    source = client.get(index=f"{unique}-1", id="1")["_source"]
    assert (source["theirs"], source["semantic"]["status"]) == (1, "pending")
    assert mappings_of(client, f"{unique}-1")[0]["_meta"]["component"] == "says"
    es_semantic.detach(client, f"{unique}-1")
    assert final_pipelines(client, f"{unique}-1") == [f"{unique}-theirs"]


@pytest.mark.usefixtures("make_index")
@pytest.mark.parametrize("done", [1, 2])
def test_an_interrupted_attach_of_a_template(client: Elasticsearch, unique: str, done: int) -> None:
    before = put_template(client, unique, f"{unique}-*", template={"mappings": MAPPINGS})
    steps = attach_steps(unique, FIELDS, lambda: TinyEmbedder().profile, template=True)
    assert run_until(client, steps, done)
    assert client.index(index=f"{unique}-meanwhile", document={"title": "x"})["result"] == "created"
    assert attach(client, unique, template=True).changed
    assert attach(client, unique, template=True).changed is False
    assert run_until(client, detach_steps(unique, template=True), done)
    assert client.index(index=f"{unique}-later", document={"title": "x"})["result"] == "created"
    assert es_semantic.detach(client, unique, template=True)[0].changed
    assert template_body(client, unique) == before
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}


@pytest.mark.usefixtures("make_index")
@pytest.mark.parametrize(
    ("template", "why"),
    [
        ({"mappings": MAPPINGS, "settings": {"index.mapping.total_fields.limit": 4}}, "invalid composite mappings"),
        ({"mappings": {**MAPPINGS, "dynamic": "strict"}}, "dynamic: strict"),
        ({"mappings": {**MAPPINGS, "subobjects": False}}, "subobjects: false"),
        ({"mappings": {"properties": {"title": {"type": "integer"}}}}, "'title' is integer"),
        ({}, "no field 'title'"),
    ],
)
def test_a_template_that_cannot_take_it_is_left_as_it_was(
    client: Elasticsearch, unique: str, template: dict[str, Any], why: str
) -> None:
    before = put_template(client, unique, f"{unique}-*", template=template)
    with pytest.raises(SchemaError, match=why):
        attach(client, unique, template=True)
    assert template_body(client, unique) == before
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}


@pytest.mark.usefixtures("make_index")
def test_a_template_does_not_mark_fields_that_indices_born_from_it_do_not_have(
    client: Elasticsearch, unique: str
) -> None:
    put_template(client, unique, f"{unique}-*", template={"mappings": MAPPINGS})
    attach(client, unique, template=True)
    client.indices.create(index=f"{unique}-1")
    with pytest.raises(SchemaError, match=f"run the same pipeline .*: {unique}-1"):
        attach(client, unique, template=True, name="other")
    attach(client, f"{unique}-1", name="other")
    assert final_pipelines(client, f"{unique}-1") == [f"es-semantic-{unique}-1"]
    assert attach(client, unique, template=True, name="other").changed


def test_a_template_has_no_documents_to_purge(client: Elasticsearch, unique: str) -> None:
    with pytest.raises(UsageError, match="no documents to purge"):
        es_semantic.detach(client, unique, template=True, purge=True)


@pytest.mark.usefixtures("make_index")
def test_an_index_and_a_template_whose_pipelines_would_have_one_name(client: Elasticsearch, unique: str) -> None:
    put_template(client, unique, "nothing-has-this-name", template={"mappings": MAPPINGS})
    attach(client, unique, template=True)
    twin = f"template-{unique}"
    client.indices.create(index=twin, mappings=MAPPINGS)
    try:
        with pytest.raises(SchemaError, match=f"'es-semantic-template-{unique}' exists that was not made for index"):
            attach(client, twin)
    finally:
        client.indices.delete(index=twin)
    assert attach(client, unique, template=True).changed is False
