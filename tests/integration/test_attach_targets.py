"""Attach to an index template and to a data stream: what is born from them later, and what is left after detaching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import BindingConflict, EsSemanticError, SchemaError, UsageError
from es_semantic.schema.attach import attach_steps, detach_steps
from tests.attaching import pipelines_of, run_until, template_body
from tests.embedder import TinyEmbedder
from tests.nodes import remove_everything
from tests.truth import untrue

TEXT = {"type": "text"}
MAPPINGS: dict[str, Any] = {"properties": {"title": TEXT}}
FIELDS = ["title"]


def attach(client: Elasticsearch, target: str, **options: Any) -> Any:
    model = options.pop("model", TinyEmbedder())
    return es_semantic.attach(client, target, options.pop("fields", FIELDS), model=model, **options)


def final_pipelines(client: Elasticsearch, target: str) -> list[str]:
    settings = client.indices.get_settings(index=target, flat_settings=True).body
    return [body["settings"].get("index.final_pipeline", "_none") for _, body in sorted(settings.items())]


def mappings_of(client: Elasticsearch, target: str) -> list[dict[str, Any]]:
    return [body["mappings"] for _, body in sorted(client.indices.get_mapping(index=target).items())]


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


def put_template(client: Elasticsearch, name: str, pattern: str, **body: Any) -> dict[str, Any]:
    """Put a template and return it as Elasticsearch tells it."""
    client.indices.put_index_template(name=name, index_patterns=[pattern], priority=900, **body)
    return template_body(client, name)


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


# Data streams.

MakeStreams = Callable[..., list[str]]


@pytest.fixture
def make_streams(client: Elasticsearch, unique: str) -> Iterator[MakeStreams]:
    """Make a template named after the test and data streams of it, each with one document."""
    streams: list[str] = []

    def make(count: int = 1, **template: Any) -> list[str]:
        content = {"mappings": MAPPINGS, "settings": {"number_of_replicas": 0}, **template}
        put_template(client, unique, f"{unique}-*", template=content, data_stream={})
        streams.extend(f"{unique}-{letter}" for letter in "abc"[:count])
        for stream in streams:
            add(client, stream, "first")
        return streams

    yield make
    # A distribution without the data-streams module cannot delete them: there the write index and the template remain.
    quiet = client.options(ignore_status=[400, 404, 405])
    for stream in streams:
        es_semantic.detach(client, stream)
        for older in sorted(client.indices.get_mapping(index=stream).body)[:-1]:
            client.indices.delete(index=older)
        quiet.indices.delete_data_stream(name=stream)
    quiet.indices.delete_index_template(name=unique)
    for name in client.options(ignore_status=404).ingest.get_pipeline(id=f"{unique}*").body:
        quiet.ingest.delete_pipeline(id=name)


def add(client: Elasticsearch, stream: str, title: str) -> dict[str, Any]:
    """Write a document to a data stream and return what is kept of it."""
    document = {"@timestamp": "2026-01-01T00:00:00Z", "title": title}
    answer = client.index(index=stream, document=document, refresh=True)
    source: dict[str, Any] = client.get(index=answer["_index"], id=answer["_id"])["_source"]
    return source


def test_a_data_stream_with_all_its_indices_and_the_next(
    client: Elasticsearch, make_streams: MakeStreams, unique: str
) -> None:
    (stream,) = make_streams()
    client.indices.rollover(alias=stream)
    add(client, stream, "second")
    before, template = mappings_of(client, stream), template_body(client, unique)
    change = attach(client, stream)
    assert (change.target, change.kind, change.changed) == (stream, "data stream", True)
    assert any(unique in note for note in change.notes)
    assert attach(client, stream).changed is False
    client.indices.rollover(alias=stream)
    assert attach(client, stream).changed is False
    assert add(client, stream, "third, after rolling over")["semantic"]["status"] == "pending"
    assert final_pipelines(client, stream) == 3 * [f"es-semantic-template-{unique}"]
    assert all("semantic" in mapping["properties"] for mapping in mappings_of(client, stream))

    embedder = TinyEmbedder()
    assert es_semantic.sync(client, stream, model=embedder).embedded == 3
    assert untrue(client, stream, FIELDS, embedder) == {}
    hits = es_semantic.search(client, stream, "third, after rolling over", model=embedder).hits
    assert hits[0].source["title"] == "third, after rolling over"
    assert len(hits) == 3

    change, purged = es_semantic.detach(client, stream, purge=True)
    assert (change.changed, purged) == (True, 3)
    assert "semantic" not in add(client, stream, "after detaching")
    found = client.search(index=stream, size=10)["hits"]["hits"]
    assert [set(hit["_source"]) for hit in found] == 4 * [{"@timestamp", "title"}]
    assert template_body(client, unique) == template
    assert final_pipelines(client, stream) == 3 * ["_none"]
    bare = [
        {**mapping, "_meta": {}, "properties": without(mapping, "semantic")} for mapping in mappings_of(client, stream)
    ]
    assert bare[:2] == [{**mapping, "_meta": {}} for mapping in before]
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}


def without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping["properties"].items() if key != name}


def test_two_data_streams_of_one_template(client: Elasticsearch, make_streams: MakeStreams, unique: str) -> None:
    first, second = make_streams(2)
    template = template_body(client, unique)
    attach(client, first)
    assert "semantic" not in add(client, second, "not attached yet")
    client.indices.rollover(alias=second)
    assert "semantic" in add(client, second, "born attached")
    change = attach(client, second)
    assert change.changed
    assert final_pipelines(client, second) == 2 * [f"es-semantic-template-{unique}"]
    assert attach(client, second).changed is False
    assert attach(client, first).changed is False
    assert es_semantic.sync(client, second, model=TinyEmbedder()).embedded == 3

    es_semantic.detach(client, first)
    assert "semantic" not in add(client, first, "detached")
    assert add(client, second, "still attached")["semantic"]["status"] == "pending"
    assert template_body(client, unique) == template
    es_semantic.detach(client, second)
    assert "semantic" not in add(client, second, "detached")
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}


def test_data_streams_of_one_template_have_the_same_semantic_fields(
    client: Elasticsearch, make_streams: MakeStreams, unique: str
) -> None:
    first, second = make_streams(2)
    attach(client, first)
    with pytest.raises(BindingConflict):
        attach(client, second, model=TinyEmbedder("another"))
    before = mappings_of(client, second), pipelines_of(client, f"es-semantic-*{unique}*")
    with pytest.raises(SchemaError, match=f"would be changed with data stream '{second}': .ds-{first}"):
        attach(client, second, name="other")
    assert (mappings_of(client, second), pipelines_of(client, f"es-semantic-*{unique}*")) == before
    # Alone, the first may have two; the second then gets both, as its next index would.
    attach(client, first, name="other")
    attach(client, second)
    assert {"semantic", "other"} <= set(add(client, second, "both"))
    for stream in (first, second):
        es_semantic.detach(client, stream, name="other")
        assert set(add(client, stream, "one")) == {"@timestamp", "title", "semantic"}


def test_the_owners_final_pipeline_and_meta_of_every_backing_index_come_back(
    client: Elasticsearch, make_streams: MakeStreams, unique: str
) -> None:
    theirs = f"{unique}-theirs"
    client.ingest.put_pipeline(id=theirs, processors=[{"set": {"field": "theirs", "value": 1}}])
    (stream,) = make_streams(settings={"number_of_replicas": 0, "index.final_pipeline": theirs})
    client.indices.put_mapping(index=stream, meta={"generation": 1})
    client.indices.rollover(alias=stream)
    template = template_body(client, unique)
    attach(client, stream)
    source = add(client, stream, "x")
    assert (source["theirs"], source["semantic"]["status"]) == (1, "pending")
    es_semantic.detach(client, stream)
    assert final_pipelines(client, stream) == [theirs, theirs]
    assert [mapping.get("_meta") for mapping in mappings_of(client, stream)] == [{"generation": 1}, {}]
    assert template_body(client, unique) == template


def test_different_final_pipelines_in_one_stream_are_refused(
    client: Elasticsearch, make_streams: MakeStreams, unique: str
) -> None:
    theirs = f"{unique}-theirs"
    client.ingest.put_pipeline(id=theirs, processors=[])
    (stream,) = make_streams()
    client.indices.put_settings(index=stream, settings={"index.final_pipeline": theirs})
    before, template = mappings_of(client, stream), template_body(client, unique)
    with pytest.raises(SchemaError, match=f"has {theirs}, index template {unique} has none"):
        attach(client, stream)
    assert (mappings_of(client, stream), template_body(client, unique)) == (before, template)
    assert final_pipelines(client, stream) == [theirs]


@pytest.mark.parametrize("done", [1, 2, 3])
def test_an_interrupted_attach_of_a_data_stream_that_rolls_over_meanwhile(
    client: Elasticsearch, make_streams: MakeStreams, unique: str, done: int
) -> None:
    (stream,) = make_streams()
    template = template_body(client, unique)
    assert run_until(client, attach_steps(stream, FIELDS, lambda: TinyEmbedder().profile), done)
    client.indices.rollover(alias=stream)
    add(client, stream, "second")
    assert attach(client, stream).changed
    assert attach(client, stream).changed is False
    assert final_pipelines(client, stream) == 2 * [f"es-semantic-template-{unique}"]

    assert run_until(client, detach_steps(stream), done)
    client.indices.rollover(alias=stream)
    add(client, stream, "third")
    es_semantic.detach(client, stream)
    assert "semantic" not in add(client, stream, "fourth")
    assert final_pipelines(client, stream) == 3 * ["_none"]
    assert template_body(client, unique) == template
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}


def test_one_backing_index_alone_is_refused_with_the_data_streams_name(
    client: Elasticsearch, make_streams: MakeStreams
) -> None:
    (stream,) = make_streams()
    (backing,) = client.indices.get_mapping(index=stream).body
    before = mappings_of(client, stream)
    with pytest.raises(SchemaError, match=f"a part of data stream '{stream}'") as caught:
        attach(client, backing)
    assert stream in caught.value.hint
    assert mappings_of(client, stream) == before


def test_a_data_stream_whose_template_cannot_take_it_is_left_as_it_was(
    client: Elasticsearch, make_streams: MakeStreams, unique: str
) -> None:
    settings = {"number_of_replicas": 0, "index.mapping.total_fields.limit": 5}
    (stream,) = make_streams(settings=settings)
    client.indices.put_settings(index=stream, settings={"index.mapping.total_fields.limit": 100})
    before, template = mappings_of(client, stream), template_body(client, unique)
    with pytest.raises(
        EsSemanticError, match=r"index template .* cannot take the semantic field: .*invalid composite mappings"
    ):
        attach(client, stream)
    assert (mappings_of(client, stream), template_body(client, unique)) == (before, template)
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}
