"""Long texts: every chunk has the vector of exactly its part of the text, and stays true through every change."""

from __future__ import annotations

import random

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex
from tests.truth import untrue

WORDS = ["red", "green", "blue", "\U0001f600", "naïve", "日本語", "a", "incomprehensible", "."]
FIELDS = ["title", "body"]


def long_text(words: int, seed: int = 1) -> str:
    chosen = random.Random(seed).choices(WORDS, k=words)
    return "".join(word + ("\n\n" if i % 40 == 39 else " ") for i, word in enumerate(chosen))


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    documents = {str(i): {"title": f"number {i}", "body": long_text(i * 150, seed=i)} for i in range(12)}
    name = make_index({"title": {"type": "text"}, "body": {"type": "text"}}, documents=documents)
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder(), chunk="always")
    return name


def stamp(client: Elasticsearch, index: str) -> str:
    return es_semantic.status(client, index).model


def test_every_chunk_is_true_and_a_second_sync_reads_nothing(client: Elasticsearch, index: str) -> None:
    embedder = TinyEmbedder()
    report = es_semantic.sync(client, index, model=embedder)
    assert (report.embedded, report.failed) == (12, 0)
    assert len(embedder.texts) > 24
    assert untrue(client, index, FIELDS, embedder, stamp(client, index)) == {}
    state = es_semantic.status(client, index)
    assert (state.ready, state.pending, state.unread) == (12, 0, 0)
    assert es_semantic.sync(client, index, model=embedder).read == 0
    hits = es_semantic.search(client, index, long_text(150, seed=1), mode="knn", size=3, model=embedder).hits
    assert hits[0].id == "1"


def test_changed_documents_are_split_anew_and_the_others_left_alone(client: Elasticsearch, index: str) -> None:
    es_semantic.sync(client, index, model=TinyEmbedder())
    client.update(index=index, id="3", doc={"body": "short now"})
    client.bulk(index=index, operations=[{"update": {"_id": "4"}}, {"doc": {"body": long_text(700, seed=99)}}])
    client.update(index=index, id="5", doc={"views": 7})
    source = client.get(index=index, id="6")["_source"]
    assert "vector" not in str(source["semantic"])
    client.index(index=index, id="6", document={**source, "views": 8})
    client.index(index=index, id="7", document={"title": "", "body": None})
    report = es_semantic.sync(client, index, model=TinyEmbedder())
    assert (report.embedded, report.unchanged) == (3, 2)
    assert untrue(client, index, FIELDS, TinyEmbedder(), stamp(client, index)) == {}


def test_a_chunk_that_lost_its_vector_through_a_bulk_update_is_found(client: Elasticsearch, index: str) -> None:
    es_semantic.sync(client, index, model=TinyEmbedder())
    script = {"source": "ctx._source.semantic.chunks[1].remove('vector')"}
    assert not client.bulk(index=index, operations=[{"update": {"_id": "9"}}, {"script": script}])["errors"]
    chunks = client.get(index=index, id="9", source_exclude_vectors=False)["_source"]["semantic"]["chunks"]
    assert [i for i, chunk in enumerate(chunks) if "vector" not in chunk] == [1]
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 1
    assert untrue(client, index, FIELDS, TinyEmbedder(), stamp(client, index)) == {}


def test_other_chunks_under_the_same_name_are_made_anew(client: Elasticsearch, index: str) -> None:
    es_semantic.sync(client, index, model=TinyEmbedder())
    es_semantic.detach(client, index)
    es_semantic.attach(client, index, FIELDS, model=TinyEmbedder("another"), chunk="always")
    assert es_semantic.sync(client, index, model=TinyEmbedder("another")).embedded == 12
    assert untrue(client, index, FIELDS, TinyEmbedder("another"), stamp(client, index)) == {}
