"""Attach to a data stream: what is born from it later, and what is left after detaching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import BindingConflict, EsSemanticError, SchemaError
from es_semantic.schema.attach import attach_steps, detach_steps
from tests.attaching import final_pipelines, mappings_of, pipelines_of, put_template, run_until, template_body
from tests.embedder import TinyEmbedder
from tests.integration.test_attach_targets import FIELDS, MAPPINGS, attach
from tests.truth import untrue

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
