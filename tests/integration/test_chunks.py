"""Long texts in nested chunks: the mapping, what every write path leaves of them, and kNN over them."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cli.main import main
from es_semantic.embedding import ModelProfile
from es_semantic.embedding.chunking import Chunking, split
from es_semantic.embedding.encoding import encode_vector
from es_semantic.errors import BindingConflict, SchemaError
from es_semantic.schema.attach import Change
from es_semantic.schema.binding import Binding, read_bindings
from es_semantic.schema.text import source_text, text_hash
from tests.attaching import state_of
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex, SecuredNode

PROPERTIES = {"title": {"type": "text"}, "body": {"type": "text"}, "tenant": {"type": "keyword"}}
FIELDS = ["title", "body"]
WORDS = "red green blue apple pear plum run walk swim fast slow big small old new day night".split()  # noqa: SIM905 (short)
LONG = {"title": "a title", "body": "A sentence of several words. " * 12}
WINDOW = 32
QUANTISATION = 0.01


class Windowed(TinyEmbedder):
    """A model that looks at 32 tokens."""

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile(super().profile.fingerprint, "cosine", WINDOW)


def attach(client: Elasticsearch, index: str, **options: Any) -> Change:
    return es_semantic.attach(client, index, FIELDS, model=Windowed(), **options)


def binding_of(client: Elasticsearch, index: str) -> Binding:
    mapping = client.indices.get_mapping(index=index)[index]["mappings"]
    return read_bindings(mapping, index=index).one("semantic", index=index)


def embed(client: Elasticsearch, index: str, binding: Binding | None = None) -> None:
    """Give every document the chunks of its text, by bulk updates, as ``sync`` does."""
    binding = binding or binding_of(client, index)
    assert binding.chunking is not None
    client.indices.refresh(index=index)
    operations: list[dict[str, Any]] = []
    for hit in client.search(index=index, size=1000)["hits"]["hits"]:
        text = source_text(hit["_source"], FIELDS)
        chunks = [
            {
                "start": chunk.start,
                "end": chunk.end,
                "vector": encode_vector(Windowed().vector(text[chunk.start : chunk.end])),
            }
            for chunk in split(text, binding.chunking)
        ]
        state = {"status": "ready", "hash": text_hash(text), "model": binding.stamp, "chunks": chunks}
        operations += [{"update": {"_id": hit["_id"]}}, {"doc": {"semantic": state}}]
    assert not client.bulk(index=index, operations=operations, refresh=True)["errors"]


def state(client: Elasticsearch, index: str, doc_id: str = "1") -> dict[str, Any]:
    """The semantic field of one document, with its vectors."""
    client.indices.refresh(index=index)
    hits = client.search(index=index, query={"ids": {"values": [doc_id]}}, source_exclude_vectors=False)["hits"]["hits"]
    (found,) = (hit["_source"]["semantic"] for hit in hits)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    """An attached index with one document in chunks."""
    name = make_index(PROPERTIES, documents={"1": LONG})
    attach(client, name, chunk="always")
    embed(client, name)
    return name


def test_a_live_index_takes_nested_chunks_and_gives_them_back(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES, documents={"1": LONG})
    change = attach(client, index, chunk="always")
    assert change.binding is not None
    assert change.binding.chunking == Chunking(max_tokens=32, overlap=3)
    fields = client.indices.get_mapping(index=index)[index]["mappings"]["properties"]["semantic"]["properties"]
    assert "vector" not in fields
    assert fields["chunks"]["type"] == "nested"
    assert fields["chunks"]["properties"]["vector"]["index_options"] == change.binding.index_options
    before = state_of(client, index)
    for chunk in ("auto", "always"):
        assert attach(client, index, chunk=chunk).requests == ()
    embed(client, index)
    hits = client.search(
        index=index,
        query={"nested": {"path": "semantic.chunks", "query": {"match_all": {}}, "inner_hits": {"size": 99}}},
    )["hits"]["hits"]
    text = source_text(hits[0]["_source"], FIELDS)
    spans = [each["_source"] for each in hits[0]["inner_hits"]["semantic.chunks"]["hits"]["hits"]]
    assert len(spans) > 2
    assert "".join(text[span["start"] : span["end"]].strip() for span in spans[:1]) == text[: spans[0]["end"]]

    es_semantic.detach(client, index)
    attach(client, index)
    assert state_of(client, index) == before
    assert es_semantic.detach(client, index, purge=True)[1] == 1
    client.indices.refresh(index=index)
    assert client.get(index=index, id="1")["_source"] == LONG


@pytest.mark.parametrize(("first", "other"), [("always", "never"), ("never", "always")])
def test_the_other_shape_is_refused(client: Elasticsearch, make_index: MakeIndex, first: str, other: str) -> None:
    index = make_index(PROPERTIES)
    attach(client, index, chunk=first)
    before = state_of(client, index)
    with pytest.raises(BindingConflict, match=f"wanted one vector .* \\(--chunk {other}\\)"):
        attach(client, index, chunk=other)
    assert state_of(client, index) == before
    es_semantic.detach(client, index)
    with pytest.raises(SchemaError, match=r"already has a field 'semantic' .* mapped for one vector") as caught:
        attach(client, index, chunk=other)
    assert f"--chunk {first}" in caught.value.hint
    attach(client, index, chunk=other, name="other")


def put_back(client: Elasticsearch, index: str, *, vectors: bool, **changes: Any) -> None:
    """GET, modify, PUT."""
    source = dict(client.get(index=index, id="1", source_exclude_vectors=not vectors)["_source"])
    assert all(("vector" in chunk) is vectors and "start" in chunk for chunk in source["semantic"]["chunks"])
    client.index(index=index, id="1", document={**source, **changes})


def bulk_update(client: Elasticsearch, index: str, **body: Any) -> None:
    assert not client.bulk(index=index, operations=[{"update": {"_id": "1"}}, body])["errors"]


def script(field: str) -> dict[str, Any]:
    return {"source": f"ctx._source.{field} = 'new'"}


BY_ID = {"ids": {"values": ["1"]}}
KEPT, DROPPED, STALE = "kept", "dropped", "kept, of another text"
WRITES: dict[str, tuple[Callable[[Elasticsearch, str], Any], str]] = {
    "index, same text": (lambda c, i: c.index(index=i, id="1", document=LONG), DROPPED),
    "index, pipeline=_none": (lambda c, i: c.index(index=i, id="1", document=LONG, pipeline="_none"), DROPPED),
    "GET, modify, PUT": (lambda c, i: put_back(c, i, vectors=False, tenant="new"), DROPPED),
    "GET, modify, PUT, other text": (lambda c, i: put_back(c, i, vectors=False, title="new"), DROPPED),
    "GET with vectors, modify, PUT": (lambda c, i: put_back(c, i, vectors=True, tenant="new"), KEPT),
    "GET with vectors, modify, PUT, other text": (lambda c, i: put_back(c, i, vectors=True, title="new"), DROPPED),
    "_update, a source field": (lambda c, i: c.update(index=i, id="1", doc={"title": "new"}), DROPPED),
    "_update, another field": (lambda c, i: c.update(index=i, id="1", doc={"tenant": "new"}), KEPT),
    "_update by script": (lambda c, i: c.update(index=i, id="1", script=script("title")), DROPPED),
    "_update by script, another field": (lambda c, i: c.update(index=i, id="1", script=script("tenant")), KEPT),
    "_update_by_query": (lambda c, i: c.update_by_query(index=i, query=BY_ID, script=script("title")), DROPPED),
    "_update_by_query, another field": (
        lambda c, i: c.update_by_query(index=i, query=BY_ID, script=script("tenant")),
        KEPT,
    ),
    "_update_by_query, nothing": (lambda c, i: c.update_by_query(index=i, query=BY_ID), KEPT),
    "bulk index": (lambda c, i: c.bulk(index=i, operations=[{"index": {"_id": "1"}}, LONG]), DROPPED),
    "bulk update": (lambda c, i: bulk_update(c, i, doc={"title": "new"}), STALE),
    "bulk update, another field": (lambda c, i: bulk_update(c, i, doc={"tenant": "new"}), KEPT),
    "bulk doc_as_upsert": (lambda c, i: bulk_update(c, i, doc={"title": "new"}, doc_as_upsert=True), DROPPED),
    "bulk doc_as_upsert, another field": (
        lambda c, i: bulk_update(c, i, doc={"tenant": "new"}, doc_as_upsert=True),
        KEPT,
    ),
}


@pytest.mark.parametrize("path", WRITES)
def test_what_a_write_leaves_of_the_chunks(client: Elasticsearch, index: str, path: str) -> None:
    write, expected = WRITES[path]
    before = state(client, index)
    write(client, index)
    after = state(client, index)
    text = source_text(client.get(index=index, id="1")["_source"], FIELDS)
    if expected == DROPPED:
        assert (after["status"], after["chunks"], after["hash"]) == ("pending", None, text_hash(text)) or (
            # An upsert shows the pipeline only a part of the text.
            "upsert" in path and (after["status"], after["chunks"]) == ("pending", None)
        )
    else:
        assert after == before
        assert all(chunk["vector"] is not None for chunk in after["chunks"])
    assert (after["hash"] == text_hash(text)) is (expected == KEPT or (expected == DROPPED and "upsert" not in path))
    embed(client, index)
    vectors = {"nested": {"path": "semantic.chunks", "query": {"exists": {"field": "semantic.chunks.vector"}}}}
    assert client.count(index=index, query=vectors)["count"] == 1


def without_one_vector(chunks: list[dict[str, Any]]) -> Any:
    return [{k: v for k, v in chunk.items() if k != "vector" or n} for n, chunk in enumerate(chunks)]


@pytest.mark.parametrize(
    "spoil",
    [
        without_one_vector,
        lambda chunks: [{**chunks[0], "vector": None}, *chunks[1:]],
        lambda chunks: [*chunks, None],
        lambda chunks: [*chunks, 7],
        lambda _: [],
        lambda _: None,
        lambda _: "text",
        lambda chunks: chunks[0],
        lambda chunks: [chunks],
    ],
)
def test_chunks_of_which_a_vector_is_missing_are_dropped(
    client: Elasticsearch, index: str, spoil: Callable[[Any], Any]
) -> None:
    source = client.get(index=index, id="1", source_exclude_vectors=False)["_source"]
    source["semantic"]["chunks"] = spoil(source["semantic"]["chunks"])
    client.index(index=index, id="1", document=source)
    after = state(client, index)
    assert (after["status"], after["chunks"]) == ("pending", None)


def test_chunks_of_another_size_are_not_true(client: Elasticsearch, index: str) -> None:
    bound = binding_of(client, index)
    other = bound.model_copy(update={"chunking": Chunking(max_tokens=64, overlap=6)})
    embed(client, index, other)
    assert es_semantic.search(client, index, "sentence", mode="knn", model=Windowed()).hits == ()
    client.update(index=index, id="1", doc={"tenant": "new"})
    assert state(client, index)["status"] == "pending"
    embed(client, index)
    assert len(es_semantic.search(client, index, "sentence", mode="knn", model=Windowed()).hits) == 1


def prose(draw: random.Random, sentences: int) -> str:
    return " ".join(" ".join(draw.choices(WORDS, k=draw.randint(4, 9))).capitalize() + "." for _ in range(sentences))


@pytest.mark.parametrize("shards", [1, 3])
def test_knn_ranks_documents_by_their_nearest_chunk(client: Elasticsearch, make_index: MakeIndex, shards: int) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    draw = random.Random(seed)
    # One document of very many chunks must not crowd out the others.
    documents = {str(n): {"title": prose(draw, draw.randint(1, 12)), "tenant": f"t{n % 10}"} for n in range(300)}
    documents["0"]["title"] = prose(draw, 400)
    index = make_index(PROPERTIES, settings={"number_of_shards": shards})
    operations = [line for n, document in documents.items() for line in ({"index": {"_id": n}}, document)]
    client.bulk(index=index, operations=operations, refresh=True)
    attach(client, index, chunk="always")
    embed(client, index)
    chunking = Chunking(max_tokens=32, overlap=3)
    nearest: dict[str, float] = {}
    query = Windowed().vector("red apple fast")
    for n, document in documents.items():
        text = document["title"]
        vectors = np.stack([Windowed().vector(text[c.start : c.end]) for c in split(text, chunking)])
        nearest[n] = (1 + float((vectors @ query).max())) / 2

    for filters, allowed in ((None, set(documents)), ({"term": {"tenant": "t3"}}, {str(n) for n in range(3, 300, 10)})):
        for size in (10, len(allowed)):
            result = es_semantic.search(
                client, index, "red apple fast", mode="knn", size=size, filters=filters, model=Windowed()
            )
            exact = sorted((nearest[n] for n in allowed), reverse=True)[:size]
            # Where two chunks of a document are about as near, int8 may take the second for the first.
            assert [hit.score for hit in result.hits] == pytest.approx(exact, abs=QUANTISATION)
            assert all(hit.score == pytest.approx(nearest[hit.id], abs=QUANTISATION) for hit in result.hits)
            assert len({hit.id for hit in result.hits}) == size
            assert {hit.id for hit in result.hits} <= allowed
            assert all(set(hit.source) == {"title", "tenant"} for hit in result.hits)

    hybrid = es_semantic.search(
        client, index, "red apple", size=20, filters={"term": {"tenant": "t3"}}, model=Windowed()
    )
    assert {"bm25", "knn"} == {leg for hit in hybrid.hits for leg in hit.legs}
    assert {hit.source["tenant"] for hit in hybrid.hits} == {"t3"}


@pytest.mark.parametrize(
    ("short", "long", "chunked", "found"),
    [
        (40, 0, False, "0 of 40 sampled texts are longer than the model's 32 tokens"),
        (38, 2, False, "2 of 40 sampled texts are longer .*: documents get one vector each, of its beginning"),
        (37, 3, True, "3 of 40 sampled texts are longer .*: documents get one vector a chunk"),
        (0, 3, True, "3 of 3 sampled texts"),
    ],
)
def test_auto_looks_at_a_sample(
    client: Elasticsearch, make_index: MakeIndex, short: int, long: int, chunked: bool, found: str
) -> None:
    documents: dict[str, dict[str, Any]] = {f"short {n}": {"title": f"number {n}"} for n in range(short)}
    documents |= {f"long {n}": LONG for n in range(long)}
    documents |= {f"no text {n}": {"tenant": "x", "title": " "} for n in range(5)}
    index = make_index(PROPERTIES, documents=documents)
    planned = attach(client, index, dry_run=True)
    change = attach(client, index)
    assert planned.notes == change.notes
    (note,) = change.notes
    assert re.search(found, note)
    assert binding_of(client, index).chunking == (Chunking(max_tokens=32, overlap=3) if chunked else None)
    again = attach(client, index)
    assert (again.changed, again.notes) == (False, ())


def test_auto_on_many_documents_reads_a_thousand(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES, settings={"number_of_shards": 2})
    operations: list[dict[str, Any]] = []
    for n in range(2500):
        operations += [{"index": {"_id": str(n), "routing": str(n % 7)}}, {"title": "short", "tenant": "x"}]
    client.bulk(index=index, operations=operations, refresh=True)
    (note,) = attach(client, index).notes
    assert note.startswith("0 of 1,000 sampled texts")


def test_auto_without_documents_says_so(client: Elasticsearch, make_index: MakeIndex, unique: str) -> None:
    index = make_index(PROPERTIES)
    change = attach(client, index)
    assert binding_of(client, index).chunking is None
    assert "holds no text to look at yet: documents get one vector each; --chunk always" in change.notes[0]
    template = f"{unique}-template"
    client.indices.put_index_template(
        name=template, index_patterns=[f"{unique}-born-*"], template={"mappings": {"properties": PROPERTIES}}
    )
    change = attach(client, template, template=True)
    assert any("an index template has no documents to look at" in note for note in change.notes)
    always = attach(client, template, template=True, chunk="always", name="chunked")
    assert always.changed
    born = f"{unique}-born-1"
    client.index(index=born, id="1", document=LONG)
    source = client.get(index=born, id="1")["_source"]
    assert (source["semantic"]["status"], "chunks" in source["semantic"]) == ("pending", False)
    assert (source["chunked"]["status"], source["chunked"]["chunks"]) == ("pending", None)


def test_auto_with_a_key_that_may_not_read(superuser: Elasticsearch, secured_node: SecuredNode, unique: str) -> None:
    superuser.indices.create(index=unique, mappings={"properties": PROPERTIES}, settings={"number_of_replicas": 0})
    try:
        superuser.index(index=unique, id="1", document=LONG, refresh=True)
        role = {
            "cluster": ["manage_ingest_pipelines"],
            "indices": [{"names": [unique], "privileges": ["manage", "view_index_metadata"]}],
        }
        key = superuser.security.create_api_key(name=unique, role_descriptors={"only": role})["encoded"]
        with Elasticsearch(secured_node.url, api_key=key) as client:
            change = attach(client, unique)
        assert change.changed
        assert any("these credentials may not read documents" in note for note in change.notes)
        assert es_semantic.detach(superuser, unique)[0].changed
    finally:
        superuser.indices.delete(index=unique)


def test_the_command_line_tells_what_was_found(
    make_index: MakeIndex,
    node_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    index = make_index(PROPERTIES, documents={"1": {**LONG, "body": LONG["body"] * 20}})
    monkeypatch.setenv("ES_SEMANTIC_URL", node_url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def cli(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["es-semantic", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    code, out, err = cli("attach", index, "--fields", "title,body", "--json")
    assert code == 0
    assert json.loads(out)["chunking"] == {"max_tokens": 256, "overlap": 25}
    assert "1 of 1 sampled text is longer than the model's 256 tokens" in err.replace("\n", " ")
    assert "nothing to do" in cli("attach", index, "--fields", "title,body", "--chunk", "always")[1]
    code, out, err = cli("attach", index, "--fields", "title,body", "--chunk", "never")
    assert (code, out) == (1, "")
    assert "is bound to one vector a chunk; wanted one vector a document (--chunk never)" in err.replace("\n", " ")
    code, _, err = cli("attach", index, "--fields", "title", "--chunk", "often", "--name", "other")
    assert code == 2
    assert "auto, never, always" in err

    (tmp_path / "es-semantic.yml").write_text(
        f"semantic_fields:\n  - index: {index}\n    fields: [title]\n    name: titles\n    chunk: always\n"
    )
    code, out, _ = cli("attach", index, "--name", "titles")
    assert code == 0
    assert "a vector for each chunk of 256 tokens (overlap 25)" in out
