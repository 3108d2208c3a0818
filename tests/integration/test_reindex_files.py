"""A new index from files: every row is a document or a dead letter with its line; vectors stay if the model agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import SchemaError, TooManyFailures, UsageError
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex, remove_everything
from tests.reindexing import documents
from tests.truth import untrue

__all__ = ["cli"]


@pytest.fixture
def new(client: Elasticsearch, unique: str) -> Any:
    yield f"{unique}-new"
    remove_everything(client, unique)


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def test_lines_of_json(client: Elasticsearch, new: str, tmp_path: Path) -> None:
    rows: list[Any] = [{"title": f"text {i}", "n": i} for i in range(1200)]
    rows[7], rows[9] = "no json\n", "\n"
    rows[11] = {"title": ["a", "b"], "n": "no number"}
    path = lines(tmp_path / "some.jsonl", *rows)
    embedder = TinyEmbedder()
    columns = {"mappings": {"properties": {"n": {"type": "integer"}}}, "settings": {"number_of_replicas": 0}}
    report = es_semantic.reindex_files(client, path, new, fields="title", columns=columns, model=embedder)
    assert (report.stage, report.refused, report.counts.copied, report.counts.embedded) == ("filled", 2, 1197, 1197)
    found = documents(client, new)
    assert found["some-0"] == ({"title": "text 0", "n": 0}, None, 1)
    assert found.keys() == {f"some-{i}" for i in range(1200)} - {"some-7", "some-9", "some-11"}
    assert untrue(client, new, ["title"], embedder) == {}
    letters = {letter.id: letter.reason for letter in es_semantic.failures(client, new).failures}
    assert letters.keys() == {"some.jsonl:8", "some-11"}
    assert "line 8 of some.jsonl: it is not JSON" in letters["some.jsonl:8"]
    assert client.indices.get_mapping(index=new)[new]["mappings"]["properties"]["title"]["type"] == "text"
    again = es_semantic.reindex_files(client, path, new, fields="title", columns=columns, model=TinyEmbedder())
    assert again.counts.copied == 1197
    lines(path, *rows, {"title": "one more"})
    more = TinyEmbedder()
    again = es_semantic.reindex_files(client, path, new, fields="title", columns=columns, model=more)
    assert [text for text in more.texts if text.startswith(("text", "one"))] == ["one more"]
    assert len(documents(client, new)) == 1198
    assert es_semantic.search(client, new, "one more", model=embedder).hits[0].id == "some-1200"


def test_interrupted_and_gone_on_with(client: Elasticsearch, new: str, tmp_path: Path) -> None:
    for part in range(3):
        lines(tmp_path / f"{part}.jsonl", *({"title": f"part {part} row {i}"} for i in range(600)))

    class Dying(TinyEmbedder):
        def embed_documents(self, texts: Any) -> Any:
            if any(text.startswith("part 1") for text in texts):
                raise KeyboardInterrupt
            return super().embed_documents(texts)

    first, second = Dying(), TinyEmbedder()
    with pytest.raises(KeyboardInterrupt):
        es_semantic.reindex_files(client, tmp_path, new, fields="title", model=first)
    report = es_semantic.reindex_files(client, tmp_path, new, fields="title", model=second)
    assert report.resumed
    assert report.counts.copied >= 1800
    assert len(documents(client, new)) == 1800
    texts = [text for text in first.texts + second.texts if text.startswith("part")]
    assert len(texts) == len(set(texts)) == 1800


@pytest.mark.parametrize("kind", ["qdrant", "chroma", "pinecone", "weaviate", "elasticdump"])
def test_what_other_stores_export(client: Elasticsearch, new: str, tmp_path: Path, kind: str) -> None:
    model = TinyEmbedder()
    texts = [f"the text of document {i}" for i in range(20)]
    vectors = [[float(number) for number in model.vector(text)] for text in texts]
    every = list(zip(range(20), texts, vectors, strict=True))
    path = tmp_path / "export.json"
    match kind:
        case "qdrant":
            points = [{"id": i, "vector": v, "payload": {"text": t, "n": i}} for i, t, v in every]
            path.write_text(json.dumps({"result": {"points": points, "next_page_offset": None}}))
        case "weaviate":
            path.write_text(json.dumps([{"id": str(i), "vector": v, "properties": {"text": t}} for i, t, v in every]))
        case "pinecone":
            path = lines(
                tmp_path / "a.jsonl", *({"id": str(i), "values": v, "metadata": {"text": t}} for i, t, v in every)
            )
        case "chroma":
            content = {"ids": [str(i) for i in range(20)], "documents": texts, "embeddings": vectors}
            path.write_text(json.dumps({**content, "metadatas": [{"n": i} for i in range(20)]}))
        case "elasticdump":
            path = lines(tmp_path / "a.json", *({"_id": str(i), "_source": {"text": t}} for i, t, _ in every))
            path = path.rename(tmp_path / "a.jsonl")
    columns = {"format": kind, **({"fields": {"text": "document"}} if kind == "chroma" else {})}
    embedder = TinyEmbedder()
    report = es_semantic.reindex_files(client, path, new, fields="text", columns=columns, model=embedder)
    assert report.counts.embedded == (20 if kind == "elasticdump" else 0)
    assert report.counts.reused == (0 if kind == "elasticdump" else 20)
    assert untrue(client, new, ["text"], model) == {}
    found = documents(client, new)
    assert found.keys() == {str(i) for i in range(20)}
    assert found["3"][0]["text"] == texts[3]


def test_vectors_of_another_model_are_refused(client: Elasticsearch, new: str, tmp_path: Path) -> None:
    other = TinyEmbedder("another")
    rows = [{"title": f"text {i}", "v": [float(n) for n in other.vector(f"text {i}")]} for i in range(5)]
    path = lines(tmp_path / "a.jsonl", *rows)
    wanted: dict[str, Any] = {"fields": "title", "columns": {"vector": "v"}}
    with pytest.raises(UsageError, match="are not what tiny makes of title: of 5 the least cosine"):
        es_semantic.reindex_files(client, path, new, model=TinyEmbedder(), **wanted)
    with pytest.raises(UsageError, match="has a vector of 32 numbers"):
        es_semantic.reindex_files(client, path, new, model=TinyEmbedder(dims=32), **wanted)
    assert not client.indices.exists(index=new)
    assert es_semantic.reindex_files(client, path, new, model=other, **wanted).counts.reused == 5


def test_what_cannot_be_done_is_said(client: Elasticsearch, new: str, tmp_path: Path, make_index: MakeIndex) -> None:
    path = lines(tmp_path / "a.jsonl", *["no json\n"] * 600)
    with pytest.raises(TooManyFailures, match="documents failed"):
        es_semantic.reindex_files(client, path, new, fields="title", model=TinyEmbedder())
    with pytest.raises(UsageError, match="is another one"):
        es_semantic.reindex_files(client, path, new, fields="body", model=TinyEmbedder())
    assert es_semantic.cancel_reindex(client, new).stage == "cancelled"
    lines(path, {"title": "text"})
    with pytest.raises(UsageError, match="is there already"):
        es_semantic.reindex_files(client, path, make_index({}), fields="title", model=TinyEmbedder())
    columns = {"mappings": {"properties": {"title": {"type": "keyword"}}}}
    with pytest.raises(SchemaError, match="title"):
        es_semantic.reindex_files(client, path, new, fields="title", columns=columns, model=TinyEmbedder())
    assert not client.indices.exists(index=new)


def test_the_command_line(cli: Cli, client: Elasticsearch, new: str, tmp_path: Path) -> None:
    lines(tmp_path / "a.csv", "key,headline\n", "x,The cat sat on the mat\n", "y,Dogs bark,too much\n")
    (tmp_path / "map.yml").write_text("id: key\nfields: {title: headline}\nonly: true\n")
    ran = cli("reindex", "./a.csv", "--to", new, "--fields", "title", "--map", "map.yml", "--json")
    assert ran.code == 3, ran.err
    assert (ran.json["stage"], ran.json["refused"], ran.json["counts"]["embedded"]) == ("filled", 1, 1)
    assert documents(client, new) == {"x": ({"title": "The cat sat on the mat"}, None, 1)}
    listed = cli("failures", new, "--json").json
    assert "line 3 of a.csv: it has 3 columns, the first line 2" in listed["failures"][0]["reason"]
    assert "cat" in cli("search", new, "feline").out
    assert cli("reindex", "./missing.csv", "--to", new, "--fields", "title").code == 2
    assert cli("reindex", "./a.csv", "--to", new).code == 2
