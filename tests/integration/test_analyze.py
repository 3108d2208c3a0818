"""``analyze``: documents from before ``attach --language`` come into the analysed fields, and nothing else changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request
from es_semantic.embedding import Embeddings
from es_semantic.errors import IndexUnavailable, RequestFailed, SchemaError
from es_semantic.schema.analysis import Analysis
from es_semantic.schema.binding import read_bindings
from es_semantic.schema.target import resolve
from es_semantic.sync import analyze
from es_semantic.sync.analyze import AnalyzeReport, analyze_steps
from tests.driving import Driver, Killed
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex

__all__ = ["cli"]

TEXT = {"type": "text"}
SUB = "es_semantic_english"
FIELDS = ["title"]
SOME = 30


def attach(client: Elasticsearch, index: str, fields: Sequence[str] = FIELDS, **options: Any) -> Any:
    options = {"model": TinyEmbedder(), "language": "en", "chunk": "never", **options}
    return es_semantic.attach(client, index, fields, **options)


def titles(count: int = SOME) -> dict[str, dict[str, Any]]:
    return {str(i): {"title": f"dogs were running {i} times"} for i in range(count)}


def analysis(client: Elasticsearch, index: str) -> Analysis:
    """The analysis in the binding, which all indices behind the name share."""
    mappings = client.indices.get_mapping(index=index).body
    every = [read_bindings(body["mappings"], index=index).fields["semantic"].analysis for body in mappings.values()]
    assert all(each == every[0] for each in every)
    assert every[0] is not None
    return every[0]


def documents(client: Elasticsearch, index: str) -> dict[str, Any]:
    """Every document with its vectors, byte for byte."""
    client.indices.refresh(index=index)
    body = {"size": 1000, "_source": {"exclude_vectors": False}}
    return {hit["_id"]: hit["_source"] for hit in client.search(index=index, body=body)["hits"]["hits"]}


def running(client: Elasticsearch, index: str, field: str = f"title.{SUB}") -> int:
    """How many documents are found by a form of a word that none of them has."""
    client.indices.refresh(index=index)
    count: int = client.count(index=index, query={"match": {field: "runs"}})["count"]
    return count


def settled(client: Elasticsearch, index: str, fields: Sequence[str] = FIELDS, **options: Any) -> None:
    """Attach without a language, embed everything, then add the language."""
    attach(client, index, fields, language=None, **options)
    es_semantic.sync(client, index, model=TinyEmbedder())
    attach(client, index, fields, **options)


@pytest.mark.parametrize("chunk", ["never", "always"])
def test_no_vector_is_lost_and_none_is_made_again(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch, chunk: str
) -> None:
    monkeypatch.setattr(analyze, "PAGE", 7)
    index = make_index({"title": TEXT}, documents={**titles(), "stop": {"title": "the"}, "none": {"pages": 7}})
    settled(client, index, chunk=chunk)
    before = documents(client, index)
    assert running(client, index) == 0
    seen: list[int] = []
    report = es_semantic.analyze(client, index, progress=lambda so_far: seen.append(so_far.written))
    assert (report.total, report.written, report.left, report.failed) == (SOME + 1, SOME + 1, 0, 0)
    assert report.complete
    assert (seen, report.fields) == ([7, 14, 21, 28, 31], [f"title.{SUB}"])
    assert running(client, index) == SOME
    assert analysis(client, index).complete
    assert documents(client, index) == before
    model = TinyEmbedder()
    synced = es_semantic.sync(client, index, model=model)
    assert (synced.read, synced.unchanged, synced.embedded, model.calls) == (SOME + 1, SOME + 1, 0, 0)
    again = es_semantic.analyze(client, index)
    assert (again.total, again.written, again.complete) == (0, 0, True)


def test_a_sync_brings_in_what_it_embeds(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT}, documents=titles())
    attach(client, index)
    assert running(client, index) == 0
    es_semantic.sync(client, index, model=TinyEmbedder())
    assert running(client, index) == SOME
    assert not analysis(client, index).complete
    report = es_semantic.analyze(client, index)
    assert (report.total, report.complete, analysis(client, index).complete) == (0, True, True)


def test_no_pipeline_of_the_owner_runs(client: Elasticsearch, make_index: MakeIndex, unique: str) -> None:
    script = {"source": "ctx.runs = (ctx.runs == null ? 0 : ctx.runs) + 1"}
    for kind in ("default", "final"):
        client.ingest.put_pipeline(id=f"{unique}-{kind}", processors=[{"script": script}])
    settings = {f"index.{kind}_pipeline": f"{unique}-{kind}" for kind in ("default", "final")}
    index = make_index({"title": TEXT}, documents=titles(), settings=settings)
    settled(client, index)
    before = documents(client, index)
    assert before["1"]["runs"] == 2
    assert es_semantic.analyze(client, index).written == SOME
    assert documents(client, index) == before


def test_fields_in_objects_custom_routing_and_several_fields(client: Elasticsearch, make_index: MakeIndex) -> None:
    properties = {"o": {"properties": {"note": TEXT}}, "title": {"type": "text", "norms": False}}
    index = make_index(
        properties, settings={"number_of_shards": 3, "index.max_result_window": 5}, _routing={"required": True}
    )
    for i in range(SOME):
        document = {"o": [{"note": "cats"}, {"note": "they were running"}]} if i % 2 else {"title": "running"}
        client.index(index=index, id=str(i), routing=f"r{i}", document=document)
    settled(client, index, ["o.note", "title"])
    report = es_semantic.analyze(client, index)
    assert (report.written, report.complete) == (SOME, True)
    assert running(client, index, f"o.note.{SUB}") == running(client, index) == SOME // 2


@pytest.mark.parametrize("requests", [1, 4, 7, 9])
def test_killed_anywhere_it_goes_on(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    monkeypatch.setattr(analyze, "PAGE", 7)
    index = make_index({"title": TEXT}, documents=titles())
    settled(client, index)
    before, sent = documents(client, index), 0

    def kill(_: Request) -> None:
        nonlocal sent
        sent += 1
        if sent > requests:
            raise Killed

    with pytest.raises(Killed):
        Driver(client, kill, lambda _: None).drive(steps_of(client, index))
    assert not analysis(client, index).complete
    written = running(client, index)
    report = es_semantic.analyze(client, index)
    assert (report.written, report.complete) == (SOME - written, True)
    assert running(client, index) == SOME
    assert documents(client, index) == before


def steps_of(client: Elasticsearch, index: str) -> Any:
    target = Driver(client, lambda _: None, lambda _: None).drive(resolve(index))
    binding = read_bindings(target.mapping, index=index).fields["semantic"]
    return analyze_steps(target, binding, name="semantic")


def test_documents_that_change_and_go_meanwhile(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT}, documents=titles())
    settled(client, index)

    def meddle(request: Request) -> None:
        if request.path == "/_bulk":
            client.index(index=index, id="1", document={"title": "they run"})
            client.delete(index=index, id="2")
            client.index(index=index, id="new", document={"title": "she runs"})

    report: AnalyzeReport = Driver(client, meddle, lambda _: None).drive(steps_of(client, index))
    assert (report.failed, report.left, report.complete) == (0, 0, True)
    assert documents(client, index)["1"]["title"] == "they run"
    assert running(client, index) == SOME
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 2


def test_an_index_that_is_gone_is_not_made_again(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT}, documents=titles())
    settled(client, index)

    def delete(request: Request) -> None:
        if request.path == "/_search":
            client.indices.delete(index=index, ignore_unavailable=True)

    with pytest.raises(IndexUnavailable, match="no such index"):
        Driver(client, lambda _: None, delete).drive(steps_of(client, index))
    assert not client.indices.exists(index=index)


class Meanwhile(TinyEmbedder):
    """While it embeds, something else is done once."""

    def __init__(self, action: Callable[[], Any]) -> None:
        super().__init__()
        self._action: Callable[[], Any] | None = action

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if self._action is not None and texts[0].startswith("dogs"):
            self._action()
            self._action = None
        return super().embed_documents(texts)


def test_a_sync_that_runs_meanwhile_goes_on(client: Elasticsearch, make_index: MakeIndex) -> None:
    """The language is nothing that vectors depend on: neither the field nor the mark is a reason to stop."""
    index = make_index({"title": TEXT}, documents=titles())
    attach(client, index, language=None)
    report = es_semantic.sync(client, index, model=Meanwhile(lambda: attach(client, index)))
    assert (report.embedded, report.complete) == (SOME, True)
    client.index(index=index, id="new", document={"title": "dogs and cats"})
    report = es_semantic.sync(client, index, model=Meanwhile(lambda: es_semantic.analyze(client, index)))
    assert (report.embedded, report.complete, analysis(client, index).complete) == (1, True, True)


def test_what_elasticsearch_refuses_is_named_and_the_rest_is_done(client: Elasticsearch, make_index: MakeIndex) -> None:
    bad = {"title": "running", "parts": [{"n": 1}, {"n": 2}, {"n": 3}]}
    index = make_index({"title": TEXT, "parts": {"type": "nested"}}, documents={**titles(), "bad": bad})
    settled(client, index)
    # What was within a limit once need not be within it now.
    client.indices.put_settings(index=index, settings={"index.mapping.nested_objects.limit": 2})
    report = es_semantic.analyze(client, index)
    assert (report.written, report.failed, report.left, report.complete) == (SOME, 1, 1, False)
    (failure,) = report.failures
    assert (failure.index, failure.id) == (index, "bad")
    assert failure.reason.startswith("document_parsing_exception")
    assert not analysis(client, index).complete
    client.indices.put_settings(index=index, settings={"index.mapping.nested_objects.limit": None})
    assert es_semantic.analyze(client, index).complete


def test_too_many_refusals_end_it(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyze, "MAX_FAILURES", 10)
    bad = {str(i): {"title": "running", "parts": [{"n": 1}, {"n": 2}, {"n": 3}]} for i in range(SOME)}
    index = make_index({"title": TEXT, "parts": {"type": "nested"}}, documents=bad)
    settled(client, index)
    client.indices.put_settings(index=index, settings={"index.mapping.nested_objects.limit": 2})
    with pytest.raises(RequestFailed, match="could not be indexed again: document_parsing_exception"):
        es_semantic.analyze(client, index)


def test_a_read_only_index(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT}, documents=titles())
    settled(client, index)
    client.indices.put_settings(index=index, settings={"index.blocks.write": True})
    report = es_semantic.analyze(client, index)
    assert (report.written, report.left, report.complete) == (0, SOME, False)
    assert report.notes == [f"left out, because read-only: {index}"]
    client.indices.put_settings(index=index, settings={"index.blocks.write": None})

    def block(request: Request) -> None:
        if request.path == "/_bulk":
            client.indices.put_settings(index=index, settings={"index.blocks.write": True})

    with pytest.raises(RequestFailed, match=r"could not be indexed again: cluster_block_exception: .*blocked"):
        Driver(client, block, lambda _: None).drive(steps_of(client, index))
    client.indices.put_settings(index=index, settings={"index.blocks.write": None})
    assert es_semantic.analyze(client, index).complete


def test_a_semantic_field_without_a_language(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT})
    attach(client, index, language=None)
    with pytest.raises(SchemaError, match="has no language") as caught:
        es_semantic.analyze(client, index)
    assert f"es-semantic attach {index} --fields title --language en" in caught.value.hint


def test_by_an_asynchronous_client(client: Elasticsearch, make_index: MakeIndex, node_url: str) -> None:
    index = make_index({"title": TEXT}, documents=titles())
    settled(client, index)

    async def both() -> AnalyzeReport:
        async with AsyncElasticsearch(node_url) as asynchronous:
            report: AnalyzeReport = await es_semantic.analyze(asynchronous, index)
            return report

    assert asyncio.run(both()).complete
    assert running(client, index) == SOME


def test_on_the_command_line(client: Elasticsearch, make_index: MakeIndex, cli: Cli) -> None:
    index = make_index({"title": TEXT}, documents=titles())
    settled(client, index)
    assert f"{SOME} documents more are in title.{SUB}, in " in cli("analyze", index).out
    ran = cli("analyze", index, "--json")
    assert (ran.code, ran.json["complete"], ran.json["fields"]) == (0, True, [f"title.{SUB}"])
    assert f"every document is in title.{SUB}" in cli("analyze", index).out
