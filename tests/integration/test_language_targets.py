"""``attach --language`` to index templates and data streams, by the command line, and with few privileges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.errors import Forbidden, SchemaError
from es_semantic.schema.attach import attach_steps
from es_semantic.schema.binding import read_bindings
from es_semantic.schema.lookup import find_binding
from es_semantic.schema.roles import worker_role
from tests.attaching import mappings_of, pipelines_of, put_template, run_until, template_body
from tests.embedder import TinyEmbedder
from tests.integration.test_attach_streams import MakeStreams, add, make_streams
from tests.integration.test_attach_targets import components
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex, SecuredNode, remove_everything

__all__ = ["cli", "components", "make_streams"]

TEXT = {"type": "text"}
SUB = "es_semantic_english"
WITH_SUB = {"type": "text", "fields": {SUB: {"type": "text", "analyzer": "english"}}}
MAPPINGS: dict[str, Any] = {"properties": {"title": TEXT}}


def attach(client: Elasticsearch, target: str, **options: Any) -> Any:
    options = {"model": TinyEmbedder(), "language": "en", "chunk": "never", **options}
    return es_semantic.attach(client, target, ["title"], **options)


def fields_of(client: Elasticsearch, index: str) -> list[str]:
    return run(client, find_binding(index, "semantic"))[0].bm25_fields


def running(client: Elasticsearch, index: str) -> int:
    client.indices.refresh(index=index)
    count: int = client.count(index=index, query={"match": {f"title.{SUB}": "runs"}})["count"]
    return count


COMPLETE, INCOMPLETE = [f"title.{SUB}", "title^0.5"], [f"title.{SUB}", "title"]


# Index templates.


@pytest.mark.usefixtures("make_index")
def test_what_is_created_from_a_template_is_complete(client: Elasticsearch, unique: str) -> None:
    before = put_template(client, unique, f"{unique}-*", template={"mappings": MAPPINGS})
    attach(client, unique, template=True)
    assert attach(client, unique, template=True).changed is False
    client.index(index=f"{unique}-1", id="1", document={"title": "running"})
    assert (running(client, f"{unique}-1"), fields_of(client, f"{unique}-1")) == (1, COMPLETE)
    assert attach(client, f"{unique}-1").changed is False
    change, _ = es_semantic.detach(client, unique, template=True)
    assert not any("remain mapped" in note for note in change.notes)
    assert template_body(client, unique) == before


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"title": {"type": "text", "fields": {"raw": {"type": "keyword"}}}, "body": TEXT},
        {"o.note": TEXT},
        {"o": {"properties": {"other": TEXT}}},
    ],
)
def test_a_detached_template_is_what_it_was(
    client: Elasticsearch, unique: str, components: list[str], own: dict[str, Any]
) -> None:
    """The component maps ``title``; what the template itself says of it, or does not say, comes back."""
    template = {"template": {"mappings": {"properties": own}}} if own else {}
    before, gives = composed(client, unique, components, **template)
    attach_both(client, unique)
    client.index(index=f"{unique}-1", id="1", document={"title": "running", "o": {"note": "running", "other": "x"}})
    client.indices.refresh(index=f"{unique}-1")
    for field in ("title", "o.note"):
        assert client.count(index=f"{unique}-1", query={"match": {f"{field}.{SUB}": "runs"}})["count"] == 1
    made = mappings_of(client, f"{unique}-1")[0]["properties"]
    assert made["title"]["fields"].keys() - {SUB} == own.get("title", {}).get("fields", {}).keys()
    es_semantic.detach(client, unique, template=True)
    assert template_body(client, unique) in (before, {**before, "template": before.get("template", {})})
    assert client.indices.simulate_template(name=unique).body == gives


def test_what_a_template_says_just_as_its_component_does_need_not_come_back(
    client: Elasticsearch, unique: str, components: list[str]
) -> None:
    """Whether its owner or attach has repeated it is not known; the indices made from it are the same."""
    _, gives = composed(client, unique, components, template={"mappings": MAPPINGS})
    attach_both(client, unique)
    es_semantic.detach(client, unique, template=True)
    assert "title" not in template_body(client, unique).get("template", {}).get("mappings", {}).get("properties", {})
    assert client.indices.simulate_template(name=unique).body == gives


def composed(client: Elasticsearch, unique: str, components: list[str], **template: Any) -> tuple[Any, Any]:
    """Put a template that is composed of a component with two text fields; return its body and what it gives."""
    note = {"o": {"properties": {"note": {"type": "text", "norms": False}}}}
    mappings = {"properties": {"title": TEXT, **note}}
    client.cluster.put_component_template(name=components[0], template={"mappings": mappings})
    body = put_template(client, unique, f"{unique}-*", composed_of=components, **template)
    return body, client.indices.simulate_template(name=unique).body


def attach_both(client: Elasticsearch, unique: str) -> None:
    es_semantic.attach(client, unique, ["title", "o.note"], model=TinyEmbedder(), language="en", template=True)


@pytest.mark.usefixtures("make_index")
def test_a_strict_template_is_refused_with_what_to_declare(client: Elasticsearch, unique: str) -> None:
    mappings = {**MAPPINGS, "dynamic": "strict"}
    before = put_template(client, unique, f"{unique}-*", template={"mappings": mappings})
    with pytest.raises(SchemaError, match="`dynamic: strict`") as caught:
        attach(client, unique, template=True)
    assert SUB in caught.value.hint
    assert template_body(client, unique) == before


# Data streams.


def test_older_documents_of_a_data_stream_and_those_after_a_rollover(
    client: Elasticsearch, make_streams: MakeStreams, unique: str
) -> None:
    (stream,) = make_streams()
    before = template_body(client, unique)
    for _ in range(3):
        add(client, stream, "running")
    change = attach(client, stream)
    assert any(note.startswith(f"4 documents are not in title.{SUB} yet") for note in change.notes)
    client.indices.rollover(alias=stream)
    add(client, stream, "they ran and were running")
    assert (running(client, stream), fields_of(client, stream)) == (1, INCOMPLETE)
    (newest,) = (mapping for mapping in mappings_of(client, stream)[1:])
    assert read_bindings(newest, index=stream).fields["semantic"].bm25_fields == COMPLETE
    assert attach(client, stream).changed is False
    model = TinyEmbedder()
    assert es_semantic.sync(client, stream, model=model).embedded == 5
    report = es_semantic.analyze(client, stream)
    assert (report.left, report.complete) == (0, True)
    assert (running(client, stream), fields_of(client, stream)) == (4, COMPLETE)
    assert attach(client, stream).changed is False
    assert es_semantic.sync(client, stream, model=model).embedded == 0
    es_semantic.detach(client, stream)
    assert template_body(client, unique) == before


def test_a_read_only_backing_index_is_left_out(client: Elasticsearch, make_streams: MakeStreams) -> None:
    (stream,) = make_streams()
    attach(client, stream)
    client.indices.rollover(alias=stream)
    older, newer = sorted(client.indices.get_mapping(index=stream).body)
    client.indices.put_settings(index=older, settings={"index.blocks.write": True})
    report = es_semantic.analyze(client, stream)
    assert (report.left, report.complete, report.notes) == (1, False, [f"left out, because read-only: {older}"])
    assert fields_of(client, stream) == INCOMPLETE
    client.indices.put_settings(index=older, settings={"index.blocks.write": None})
    assert es_semantic.analyze(client, stream).written == 1
    assert fields_of(client, stream) == fields_of(client, newer) == COMPLETE


def test_a_field_that_only_documents_map_would_have_no_sub_field_in_the_next_index(
    client: Elasticsearch, make_streams: MakeStreams, unique: str
) -> None:
    (stream,) = make_streams(mappings={})
    before, template = mappings_of(client, stream), template_body(client, unique)
    with pytest.raises(SchemaError, match=f"index template '{unique}' does not map title") as caught:
        attach(client, stream)
    assert '"title": {' in caught.value.hint
    assert (mappings_of(client, stream), template_body(client, unique)) == (before, template)
    assert attach(client, stream, language=None).changed


@pytest.mark.parametrize("done", [1, 2, 3])
def test_an_interrupted_attach_of_a_data_stream_that_rolls_over_meanwhile(
    client: Elasticsearch, make_streams: MakeStreams, unique: str, done: int
) -> None:
    (stream,) = make_streams()
    template = template_body(client, unique)
    assert run_until(client, attach_steps(stream, ["title"], lambda: TinyEmbedder().profile, language="en"), done)
    client.indices.rollover(alias=stream)
    add(client, stream, "running")
    assert attach(client, stream).changed
    assert attach(client, stream).changed is False
    assert [mapping["properties"]["title"] for mapping in mappings_of(client, stream)] == 2 * [WITH_SUB]
    assert fields_of(client, stream) == INCOMPLETE
    assert es_semantic.analyze(client, stream).complete
    assert running(client, stream) == 1
    es_semantic.detach(client, stream)
    assert template_body(client, unique) == template
    assert pipelines_of(client, f"es-semantic-*{unique}*") == {}


# Few privileges.


@pytest.fixture
def secured_index(superuser: Elasticsearch, unique: str) -> Iterator[str]:
    superuser.indices.create(index=unique, mappings=MAPPINGS, settings={"number_of_replicas": 0})
    superuser.index(index=unique, id="1", document={"title": "running"}, refresh=True)
    yield unique
    remove_everything(superuser, unique)


def test_who_may_not_read_attaches_without_a_count(
    superuser: Elasticsearch, secured_node: SecuredNode, secured_index: str
) -> None:
    privileges = ["view_index_metadata", "manage"]
    role = {
        "cluster": ["manage_ingest_pipelines"],
        "indices": [{"names": [secured_index, "es-semantic-control-1"], "privileges": privileges}],
    }
    key = superuser.security.create_api_key(name=secured_index, role_descriptors={"role": role})["encoded"]
    with Elasticsearch(secured_node.url, api_key=key) as administrator:
        change = attach(administrator, secured_index)
        assert any(note.startswith(f"documents from before are not in title.{SUB} yet") for note in change.notes)
        with pytest.raises(Forbidden, match="may not read") as caught:
            es_semantic.analyze(administrator, secured_index)
    assert "read, index, view_index_metadata and maintenance" in caught.value.hint
    assert fields_of(superuser, secured_index) == INCOMPLETE


def test_a_reader_changes_nothing(superuser: Elasticsearch, secured_node: SecuredNode, secured_index: str) -> None:
    attach(superuser, secured_index)
    role = {"cluster": [], "indices": [{"names": [secured_index], "privileges": ["read", "view_index_metadata"]}]}
    key = superuser.security.create_api_key(name=secured_index, role_descriptors={"role": role})["encoded"]
    with Elasticsearch(secured_node.url, api_key=key) as reader, pytest.raises(Forbidden) as caught:
        es_semantic.analyze(reader, secured_index)
    assert "read, index, view_index_metadata and maintenance" in caught.value.hint
    assert running(superuser, secured_index) == 0


def test_a_worker_may_bring_the_documents_in_and_an_administrator_notes_it(
    superuser: Elasticsearch, secured_node: SecuredNode, unique: str
) -> None:
    """On a data stream: on an index its privileges allow the mapping's change too, in this version of Elasticsearch."""
    stream = f"{unique}-stream"
    put_template(superuser, unique, f"{unique}-*", template={"mappings": MAPPINGS}, data_stream={})
    try:
        add(superuser, stream, "running")
        attach(superuser, stream)
        role = {"worker": worker_role([stream])}
        key = superuser.security.create_api_key(name=unique, role_descriptors=role)["encoded"]
        with (
            Elasticsearch(secured_node.url, api_key=key) as worker,
            pytest.raises(Forbidden, match="the mapping could not be told so"),
        ):
            es_semantic.analyze(worker, stream)
        assert (running(superuser, stream), fields_of(superuser, stream)) == (1, INCOMPLETE)
        assert es_semantic.analyze(superuser, stream).complete
        assert fields_of(superuser, stream) == COMPLETE
    finally:
        remove_everything(superuser, unique)


# The command line.


def test_a_language_on_the_command_line_and_in_the_settings_file(
    make_index: MakeIndex, cli: Cli, tmp_path: Path
) -> None:
    first, second = (make_index(MAPPINGS["properties"], documents={"1": {"title": "running"}}) for _ in range(2))
    ran = cli("attach", first, "--fields", "title", "--language", "en-GB", "--chunk", "never", "--json")
    assert (ran.code, ran.json["language"], ran.json["bm25_fields"]) == (0, "en", INCOMPLETE)
    ran = cli("attach", second, "--fields", "title", "--language", "xx")
    assert ran.code == 2
    assert "no built-in analyser for the language 'xx'" in ran.err
    settings = f"semantic_fields:\n  - index: {second}\n    fields: [title]\n    language: en\n    chunk: never\n"
    (tmp_path / "es-semantic.yml").write_text(settings)
    ran = cli("attach", second)
    assert ran.code == 0
    assert f"for BM25 by the english analyser, in title.{SUB}" in ran.out
    assert f"es-semantic analyze {second}" in ran.err
    assert f"title.{SUB} remain mapped" in cli("detach", second).err
