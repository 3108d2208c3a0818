"""Files and lines become chunks that are found; changes and deletions are followed, and nothing else is touched."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch
from elasticsearch.helpers import scan

import es_semantic
from es_semantic.api_ingest import ingest, ingest_document
from es_semantic.errors import (
    BindingConflict,
    FingerprintMismatch,
    IndexUnavailable,
    SchemaError,
    TooManyFailures,
    UsageError,
)
from es_semantic.ingest import procedure
from es_semantic.ingest.convert import Converters
from es_semantic.ingest.files import find_files
from es_semantic.ingest.report import IngestReport
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex, remove_everything
from tests.truth import untrue
from tests.unit.test_ingest_convert import docx, pdf

__all__ = ["cli"]

MODEL = TinyEmbedder()
PARTS = [f"## Part {number}\n\n" + f"Animal {number} digs burrow {number * 7919}. " * 12 for number in range(8)]


@pytest.fixture
def index(client: Elasticsearch, unique: str) -> Iterator[str]:
    yield f"{unique}-chunks"
    remove_everything(client, unique)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    (root / "sub").mkdir(parents=True)
    (root / "guide.md").write_text("\n\n".join(PARTS))
    (root / "note.txt").write_text("Quokkas smile")
    (root / "sub" / "deep.md").write_text("# Numbats\n\nNumbats eat termites")
    return root


def counts(report: IngestReport) -> tuple[int, ...]:
    """New, changed, unchanged, deleted, failed."""
    return report.new, report.changed, report.unchanged, report.deleted, report.failed


def chunks(client: Elasticsearch, index: str, **terms: str) -> dict[str, dict[str, Any]]:
    """The chunks with these values, by id, with their versions and without the semantic field."""
    client.indices.refresh(index=index)
    query = {"bool": {"filter": [{"term": {key: value}} for key, value in terms.items()]}}
    body = {"query": query, "_source": {"excludes": ["semantic"]}, "version": True}
    return {hit["_id"]: {**hit["_source"], "version": hit["_version"]} for hit in scan(client, body, index=index)}


def texts(client: Elasticsearch, index: str, name: str, dataset: str = "d") -> list[str]:
    """The texts of one document's chunks in their order."""
    found = chunks(client, index, **{"document_name.keyword": name, "dataset_id": dataset}).values()
    ordered = sorted(found, key=lambda chunk: int(chunk["position"]))
    assert [chunk["position"] for chunk in ordered] == list(range(len(ordered)))
    assert all(chunk["chunk_count"] == len(ordered) for chunk in ordered)
    return [chunk["content"] for chunk in ordered]


def test_files_are_found_and_changes_followed(client: Elasticsearch, index: str, folder: Path) -> None:
    (folder / "bad.txt").write_bytes(b"\xff")
    (folder / ".hidden.md").write_text("hidden")
    (folder / "blank.md").write_text("\n")
    stages: list[str] = []
    first = ingest(client, folder, dataset="d", index=index, model=MODEL, progress=lambda r: stages.append(r.stage))
    assert counts(first) == (3, 0, 0, 0, 1)
    assert first.skipped == {"hidden": 1, "without text": 1}
    assert (first.failures[0].id, first.failures[0].reason[:17]) == (str(folder / "bad.txt"), "it is not UTF-8 t")
    assert first.chunks == first.embedded == len(chunks(client, index)) > 5
    assert list(dict.fromkeys(stages)) == ["reading", "embedding", "done"]
    assert (first.stage, first.done, first.total) == ("done", 5, 5)
    assert untrue(client, index, ["content"], MODEL) == {}
    assert es_semantic.search(client, index, "quokkas", model=MODEL).hits[0].source["source"] == str(
        folder / "note.txt"
    )
    assert "".join("".join(texts(client, index, "guide.md")).split()) == "".join("".join(PARTS).split())

    before, idle = chunks(client, index), TinyEmbedder()
    again = ingest(client, [folder], dataset="d", index=index, model=idle)
    assert (counts(again), again.chunks, again.removed, again.embedded) == ((0, 0, 3, 0, 1), 0, 0, 0)
    assert chunks(client, index) == before
    assert not [text for text in idle.texts if "burrow" in text]

    changed = [*PARTS[:4], "## Part 4\n\nThis one is about echidnas now. " * 10, *PARTS[5:]]
    (folder / "guide.md").write_text("\n\n".join(changed))
    (folder / "note.txt").rename(folder / "sub" / "moved.txt")
    (folder / "bad.txt").write_text("now it is text")
    model = TinyEmbedder()
    third = ingest(client, folder, dataset="d", index=index, model=model)
    assert counts(third) == (2, 1, 1, 1, 0)
    assert untrue(client, index, ["content"], MODEL) == {}
    assert "".join("".join(texts(client, index, "guide.md")).split()) == "".join("".join(changed).split())
    assert texts(client, index, "note.txt") == []
    assert texts(client, index, "moved.txt") == ["Quokkas smile"]
    embedded = [text for text in model.texts if "burrow" in text]
    assert len(embedded) < len(PARTS) - 4
    assert es_semantic.failures(client, index).failures == []

    lost = next(
        key
        for key, chunk in chunks(client, index, **{"document_name.keyword": "guide.md"}).items()
        if chunk["position"] == 1
    )
    client.delete(index=index, id=lost, refresh=True)
    mended = ingest(client, folder, dataset="d", index=index, model=MODEL)
    assert (counts(mended), mended.embedded) == ((0, 1, 3, 0, 0), 1)
    assert "".join("".join(texts(client, index, "guide.md")).split()) == "".join("".join(changed).split())

    (folder / "guide.md").write_text(" ")
    last = ingest(client, folder / "guide.md", dataset="d", index=index, model=MODEL)
    assert (counts(last), last.skipped) == ((0, 0, 0, 1, 0), {"without text": 1})
    assert {chunk["document_name"] for chunk in chunks(client, index).values()} == {"moved.txt", "deep.md", "bad.txt"}


def test_what_cannot_be_read_keeps_its_chunks_and_is_tried_again_when_it_has_changed(
    client: Elasticsearch, index: str, folder: Path
) -> None:
    for name in ("good.pdf", "later.pdf"):
        (folder / name).write_bytes(pdf(f"The text of {name}"))
    (folder / "word.docx").write_bytes(docx("Wombats", "They dig"))
    (folder / "page.html").write_text("<h1>Dingo</h1><p>It howls</p>")
    first = ingest(client, folder, dataset="d", index=index, model=MODEL)
    assert counts(first) == (7, 0, 0, 0, 0)
    assert texts(client, index, "word.docx") == ["# Wombats\n\nThey dig"]
    assert texts(client, index, "page.html") == ["# Dingo\n\nIt howls"]

    (folder / "later.pdf").write_bytes(b"%PDF-1.4 torn")
    said = "it cannot be read as PDF (PDFSyntaxError)"
    for retry in (False, False, True):
        report = ingest(client, folder, dataset="d", index=index, model=MODEL, retry=retry)
        assert counts(report) == (0, 0, 6, 0, 1)
        assert [(each.id, each.reason) for each in report.failures] == [(str(folder / "later.pdf"), said)]
    (letter,) = es_semantic.failures(client, index, retry=True).failures
    assert (letter.id, letter.reason) == (f"d: {folder}/later.pdf", f"not in this index: {said}")
    assert texts(client, index, "later.pdf") == ["The text of later.pdf"]
    assert es_semantic.sync(client, index, model=MODEL).failed == 0

    (folder / "later.pdf").write_bytes(pdf("mended"))
    assert counts(ingest(client, folder, dataset="d", index=index, model=MODEL)) == (0, 1, 6, 0, 0)
    assert texts(client, index, "later.pdf") == ["mended"]
    assert es_semantic.failures(client, index).failures == []


def test_the_same_torn_file_is_not_converted_twice(
    client: Elasticsearch, index: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[str] = []
    convert = Converters.texts

    def spy(self: Any, documents: Any) -> Any:
        converted.extend(document.name for document in documents)
        return convert(self, documents)

    monkeypatch.setattr(Converters, "texts", spy)
    (folder / "torn.txt").write_bytes(b"\xff")
    for retry, names in ((False, 4), (False, 0), (True, 1)):
        converted.clear()
        ingest(client, folder, dataset="d", index=index, model=MODEL, retry=retry)
        assert len(converted) == names, converted


def test_two_datasets_side_by_side(client: Elasticsearch, index: str, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "docs-2"
    other.mkdir()
    (other / "second.md").write_text("# Another guide")
    lines = folder / "lines.jsonl"
    lines.write_text('{"id": "1", "name": "a line", "text": "Line of text"}\n')
    for dataset in ("x", "y"):
        ingest(client, [folder, other], dataset=dataset, jsonl=lines, index=index, model=MODEL)
    ingest_document(client, dataset="x", name="up.md", data=b"uploaded", index=index, model=MODEL)
    client.index(index=index, id="foreign", document={"dataset_id": "x", "document_id": "f", "content": "theirs"})
    before = chunks(client, index)
    assert len({(chunk["dataset_id"], chunk["document_id"]) for chunk in before.values()}) == 2 * 5 + 2

    (folder / "guide.md").write_text("# Short")
    (folder / "note.txt").unlink()
    report = ingest(client, folder, dataset="x", index=index, model=MODEL)
    assert counts(report) == (0, 1, 1, 1, 0)
    after = chunks(client, index)
    touched = {str(folder / "guide.md"), str(folder / "note.txt")}

    def others(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {key: c for key, c in found.items() if c["dataset_id"] != "x" or c.get("source") not in touched}

    # The foreign chunk was given its vector, which is a new version of it.
    assert before["foreign"].pop("version") < after["foreign"].pop("version")
    assert others(after) == others(before)
    assert texts(client, index, "guide.md", "x") == ["# Short"]
    assert texts(client, index, "note.txt", "x") == []
    assert untrue(client, index, ["content"], MODEL) == {}


def test_lines(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    def write(*rows: Any) -> None:
        path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))

    rows: list[Any] = [{"id": n, "name": f"name {n}", "text": f"# Title\n\ntext number {n}"} for n in range(150)]
    rows[3] |= {"metadata": {"year": 2026, "tags": ["a", "b"], "dc.title": "x"}, "keywords": ["k"], "questions": ["q?"]}
    rows[4] |= {"available": False}
    broken = [*rows[:7], "{\n", *rows[7:], {"id": 3, "name": "twice", "text": "twice"}]
    write(*broken)
    report = ingest(client, dataset="d", jsonl=path, index=index, model=MODEL)
    assert counts(report) == (150, 0, 0, 0, 2)
    assert [each.id.removeprefix(f"{path}:") for each in report.failures] == ["8", "152"]
    assert report.failures[0].reason.startswith("it is not JSON: ")
    assert report.failures[1].reason == f"its id is that of {path}:4 already"
    (third,) = chunks(client, index, document_id="3").values()
    assert (third["metadata"], third["keywords"], third["questions"], third["available"]) == (
        *({"year": 2026, "tags": ["a", "b"], "dc.title": "x"}, ["k"], ["q?"]),
        True,
    )
    assert next(iter(chunks(client, index, document_id="4").values()))["available"] is False
    for query in (
        {"range": {"metadata.year.number": {"gte": 2025.5}}},
        {"term": {"metadata.tags": "b"}},
        {"term": {"metadata.dc.title": "x"}},
    ):
        assert client.count(index=index, query=query)["count"] == 1

    # Only what its chunks carry changes: nothing is embedded, and keys that are gone are gone.
    rows[3]["metadata"] = {"year": "late"}
    write(*rows, {"id": "new", "name": "n", "text": "one more"})
    model = TinyEmbedder()
    report = ingest(client, dataset="d", jsonl=path, index=index, model=model)
    assert counts(report) == (1, 1, 149, 0, 0)
    assert (report.embedded, [text for text in model.texts if "text" in text]) == (1, [])
    (third,) = chunks(client, index, document_id="3").values()
    assert (third["metadata"], third["document_id"]) == ({"year": "late"}, "3")
    assert es_semantic.failures(client, index).failures == []

    # Lines that are gone delete nothing; a document that another file has as well is that file's from then on.
    second = tmp_path / "b.jsonl"
    second.write_text(json.dumps({**rows[5], "text": "another text"}))
    report = ingest(client, dataset="d", jsonl=second, index=index, model=MODEL)
    assert (counts(report), report.notes) == ((0, 1, 0, 0, 0), ["1 documents had come from another source before"])
    assert len(chunks(client, index)) == 151
    assert untrue(client, index, ["content"], MODEL) == {}


def test_one_document_from_memory(client: Elasticsearch, index: str) -> None:
    def put(data: bytes, name: str = "up.pdf", **more: Any) -> tuple[str, bool]:
        done = ingest_document(client, dataset="d", name=name, data=data, index=index, model=MODEL, **more)
        return done.id, done.written

    first, written = put(pdf("First text"), metadata={"a": 1}, keywords=["k"], questions=("q",))
    assert written
    assert put(pdf("First text"), metadata={"a": 1}, keywords=["k"], questions=("q",)) == (first, False)
    assert put(pdf("Second text")) == (first, True)
    assert texts(client, index, "up.pdf") == ["Second text"]
    assert put(b"named", "other.md", id="own") == ("own", True)
    for data, name, said in (
        (b"%PDF torn", "up.pdf", r"upload:up.pdf cannot be ingested: it cannot be read as PDF"),
        (b" ", "up.md", "it holds no text"),
        (b"x", "up.exe", "nothing tells what 'up.exe' is"),
        (b"x", "a\n.md", "control characters"),
    ):
        with pytest.raises(UsageError, match=said):
            put(data, name)
    with pytest.raises(UsageError, match="`metadata` must be"):
        put(b"x", "up.md", metadata=[1])
    assert texts(client, index, "up.pdf") == ["Second text"]
    assert es_semantic.failures(client, index).failures == []
    assert untrue(client, index, ["content"], MODEL) == {}


async def test_by_an_asynchronous_client(node_url: str, client: Elasticsearch, index: str, folder: Path) -> None:
    (folder / "page.html").write_text("<p>Dingo</p>")
    async with AsyncElasticsearch(node_url) as own:
        assert counts(await ingest(own, folder, dataset="d", index=index, model=MODEL)) == (4, 0, 0, 0, 0)
        (folder / "page.html").unlink()
        assert counts(await ingest(own, folder, dataset="d", index=index, model=MODEL)) == (0, 0, 3, 1, 0)
        assert (await ingest_document(own, dataset="d", name="a.md", data=b"x", index=index, model=MODEL)).written
    assert untrue(client, index, ["content"], MODEL) == {}


def test_an_index_of_another_shape_is_refused(
    client: Elasticsearch, make_index: MakeIndex, index: str, folder: Path
) -> None:
    def refused(name: str, error: type[Exception], said: str, **more: Any) -> None:
        before = client.indices.get(index=name)[name] if "*" not in name else None
        with pytest.raises(error, match=said):
            ingest(client, folder, dataset="d", index=name, **{"model": MODEL, **more})
        assert before is None or client.indices.get(index=name)[name] == before

    refused(make_index({"title": {"type": "text"}}), SchemaError, "its field 'dataset_id' is missing, not keyword")
    properties = json.loads(Path("mappings/chunks.json").read_text())["mappings"]["properties"]
    refused(make_index({**properties, "position": {"type": "text"}}), SchemaError, "'position' is text, not integer")
    refused("a*", UsageError, "not the name of one index")
    closed = make_index(properties)
    client.indices.close(index=closed)
    refused(closed, IndexUnavailable, "is closed")
    client.indices.open(index=closed)
    chunked = make_index(properties)
    es_semantic.attach(client, chunked, ["content"], model=MODEL, chunk="always")
    refused(chunked, BindingConflict, "not one vector of 'content'")
    other = make_index(properties)
    es_semantic.attach(client, other, ["questions"], model=MODEL, chunk="never")
    refused(other, BindingConflict, "not one vector of 'content'")
    ingest(client, folder, dataset="d", index=index, model=MODEL)
    refused(index, FingerprintMismatch, "older", model=TinyEmbedder("older"))
    with pytest.raises(UsageError, match="what shall be ingested"):
        ingest(client, dataset="d", index=index)
    with pytest.raises(UsageError, match="name of a dataset"):
        ingest(client, folder, dataset=" ", index=index)
    with pytest.raises(UsageError, match="no file or folder"):
        ingest(client, [folder, folder / "missing"], dataset="d", index=index)


def test_an_alias_is_what_it_stands_for(client: Elasticsearch, index: str, folder: Path) -> None:
    ingest(client, folder, dataset="d", index=index, model=MODEL)
    client.indices.put_alias(index=index, name=f"{index}-alias")
    report = ingest(client, folder, dataset="d", index=f"{index}-alias", model=MODEL)
    assert (report.index, counts(report)) == (index, (0, 0, 3, 0, 0))


def test_a_document_that_elasticsearch_refuses_is_a_dead_letter(
    client: Elasticsearch, index: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"id": str(n), "name": f"n{n}", "text": f"text {n}", "metadata": {"bad": n == 1}} for n in range(3)]
    path.write_text(json.dumps(rows[0]))
    ingest(client, dataset="d", jsonl=path, index=index, model=MODEL)
    refuse = {"fail": {"if": "ctx.metadata.bad == true", "message": "not this one"}}
    client.ingest.put_pipeline(id=f"{index}-owners", processors=[refuse])
    client.indices.put_settings(index=index, settings={"default_pipeline": f"{index}-owners"})
    path.write_text("\n".join(map(json.dumps, rows)))
    for new in (1, 0):
        report = ingest(client, dataset="d", jsonl=path, index=index, model=MODEL)
        assert counts(report) == (new, 0, 2 - new, 0, 1)
        assert report.failures[0].reason.startswith("1 of its 1 chunks were refused: ")
    client.indices.put_settings(index=index, settings={"default_pipeline": None})
    assert counts(ingest(client, dataset="d", jsonl=path, index=index, model=MODEL, retry=True)) == (1, 0, 2, 0, 0)
    assert es_semantic.failures(client, index).failures == []


def test_so_many_failures_are_hardly_the_documents_fault(
    client: Elasticsearch, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procedure, "MAX_FAILURES", 100)
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "name": "n", "text": "good"}\n' + '{"id": 2}\n' * 500)
    with pytest.raises(TooManyFailures, match="it has no `name` and no `text`"):
        ingest(client, dataset="d", jsonl=path, index=index, model=MODEL)
    assert len(es_semantic.failures(client, index).failures) <= 100 + procedure.BATCH
    path.write_text('{"id": 1, "name": "n", "text": "good"}\n')
    assert counts(ingest(client, dataset="d", jsonl=path, index=index, model=MODEL)) == (0, 0, 1, 0, 0)
    assert es_semantic.failures(client, index).failures == []


def test_of_a_closed_folder_nothing_is_known(
    client: Elasticsearch, index: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import es_semantic.api_ingest as api

    ingest(client, folder, dataset="d", index=index, model=MODEL)

    def closed(paths: Any) -> Any:
        found = find_files(paths)
        found.files = [path for path in found.files if path.parent.name != "sub"]
        found.closed[folder / "sub"] = "the folder cannot be read: Permission denied"
        return found

    # Root, who may run the tests, can read every folder.
    monkeypatch.setattr(api, "find_files", closed)
    (folder / "note.txt").unlink()
    report = ingest(client, folder, dataset="d", index=index, model=MODEL)
    assert counts(report) == (0, 0, 1, 1, 1)
    assert report.failures[0].id == str(folder / "sub")
    assert texts(client, index, "deep.md") != []
    monkeypatch.setattr(api, "find_files", find_files)
    assert counts(ingest(client, folder, dataset="d", index=index, model=MODEL)) == (0, 0, 2, 0, 0)
    assert es_semantic.failures(client, index).failures == []


SUFFIXES: list[tuple[str, Callable[[str], bytes]]] = [
    (".md", lambda text: f"# {text}".encode()),
    (".txt", str.encode),
    (".pdf", pdf),
    (".docx", docx),
    (".html", lambda text: f"<p>{text}</p>".encode()),
]


def test_the_command_line_with_the_real_model(cli: Cli, index: str, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    animals = ["The cat sleeps on the sofa", "How to boil rice", "Trains leave every hour", "Repairing a bicycle"]
    animals.append("The stock market fell")
    for (suffix, make), sentence in zip(SUFFIXES, animals, strict=True):
        (folder / f"file{suffix}").write_bytes(make(sentence))
    (folder / "torn.pdf").write_bytes(b"%PDF-1.7 \xff")
    common = ("--dataset", "everyday", "--index", index)
    ran = cli("ingest", "docs", *common)
    assert ran.code == 3, ran.err
    assert f"failed: {folder}/torn.pdf: it cannot be read as PDF (PDFSyntaxError)" in ran.err
    assert "5 chunks written, 0 removed, 5 embedded" in ran.out
    for query, name in (("kitten", "file.md"), ("cooking", "file.txt"), ("railway", "file.pdf")):
        hits = cli("search", index, query, "--mode", "knn", "--size", "1", "--json").json["hits"]
        assert hits[0]["source"]["document_name"] == name
    for query, name in (("fix my bike", "file.docx"), ("shares and investors", "file.html")):
        hits = cli("search", index, query, "--mode", "knn", "--size", "1", "--json").json["hits"]
        assert hits[0]["source"]["document_name"] == name
    (folder / "torn.pdf").unlink()
    (folder / "file.md").write_text("# The dog barks")
    again = cli("ingest", "docs", *common, "--json")
    assert again.code == 0
    assert {key: again.json[key] for key in ("new", "changed", "unchanged", "deleted", "failed")} == {
        **{"new": 0, "changed": 1, "unchanged": 4},
        **{"deleted": 0, "failed": 0},
    }
    assert (again.json["chunks"], again.json["embedded"], again.json["sync"]["field"]) == (1, 1, "semantic")
    Path(tmp_path / "a.jsonl").write_text('{"id": "1", "name": "n", "text": "Whales sing"}\n{\n')
    assert cli("ingest", "--jsonl", "a.jsonl", *common).code == 3
    assert cli("ingest", *common).code == 2
    assert cli("ingest", "docs").code == 2
    assert cli("ingest", "missing", *common).code == 2
    long = " ".join(random.Random(5).choices(["wombat", "burrow", "rice", "train"], k=1500))
    (folder / "long.md").write_text(long)
    report = cli("ingest", "docs", *common, "--json").json
    assert report["chunks"] == report["embedded"] > 5
    assert report["sync"]["over_long"] == 0
