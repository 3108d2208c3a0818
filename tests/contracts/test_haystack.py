"""Haystack's own suites for document stores, and the retrievers in its pipelines, on a real node."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.testing.document_store import (
    CountDocumentsByFilterTest,
    DocumentStoreBaseExtendedTests,
    FilterableDocsFixtureMixin,
)
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
)
from haystack.utils import Secret

import es_semantic
from es_semantic.chosen import loaded
from es_semantic.errors import FingerprintMismatch, IndexUnavailable, InvalidQuery, NotAttached, UsageError
from es_semantic.integrations.haystack import (
    EsSemanticBM25Retriever,
    EsSemanticDocumentStore,
    EsSemanticEmbeddingRetriever,
    EsSemanticHybridRetriever,
)
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex, SecuredNode, remove_everything

TEXT = {"type": "text"}
KEYWORD = {"type": "keyword"}


def assert_alike(received: list[Document], expected: list[Document]) -> None:
    """Equal in any order; embeddings as float32, which is how Elasticsearch keeps them."""
    received, expected = (sorted(documents, key=lambda each: each.id) for documents in (received, expected))
    assert [each.id for each in received] == [each.id for each in expected]
    for one, other in zip(received, expected, strict=True):
        assert (one.content, one.meta) == (other.content, other.meta)
        assert (one.embedding is None) == (other.embedding is None)
        if one.embedding is not None:
            np.testing.assert_allclose(one.embedding, other.embedding, rtol=1e-5, atol=1e-6)


@pytest.fixture
def store(node_url: str, client: Elasticsearch, unique: str) -> Iterator[EsSemanticDocumentStore]:
    """A store over an index that is not there yet."""
    each = EsSemanticDocumentStore(unique, url=node_url)
    yield each
    each.close()
    remove_everything(client, unique)


class TestSuite(DocumentStoreBaseExtendedTests, CountDocumentsByFilterTest):  # type: ignore[misc]
    """What Haystack asks of every document store."""

    @pytest.fixture
    def document_store(self, store: EsSemanticDocumentStore) -> EsSemanticDocumentStore:
        return store

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        assert_alike(received, expected)

    def test_write_documents(self, document_store: EsSemanticDocumentStore) -> None:
        documents = [Document(id="1", content="one"), Document(id="2", content="two", meta={"n": 2})]
        assert document_store.write_documents(documents) == 2
        assert_alike(document_store.filter_documents(), documents)
        with pytest.raises(DuplicateDocumentError, match=r"1 of 2 documents .* already: '1'"):
            document_store.write_documents([documents[0], Document(id="3", content="three")])
        assert document_store.count_documents() == 3


class TestAsyncSuite(
    CountDocumentsAsyncTest,  # type: ignore[misc]
    CountDocumentsByFilterAsyncTest,  # type: ignore[misc]
    WriteDocumentsAsyncTest,  # type: ignore[misc]
    DeleteDocumentsAsyncTest,  # type: ignore[misc]
    DeleteAllAsyncTest,  # type: ignore[misc]
    DeleteByFilterAsyncTest,  # type: ignore[misc]
    FilterDocumentsAsyncTest,  # type: ignore[misc]
    UpdateByFilterAsyncTest,  # type: ignore[misc]
    FilterableDocsFixtureMixin,  # type: ignore[misc]
):
    """The same of its asynchronous methods."""

    @pytest.fixture
    async def document_store(self, store: EsSemanticDocumentStore) -> AsyncIterator[EsSemanticDocumentStore]:
        yield store
        await store.close_async()

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        assert_alike(received, expected)

    async def test_write_documents_async(self, document_store: EsSemanticDocumentStore) -> None:
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])
        assert_alike(await document_store.filter_documents_async(), [document])


def test_everything_comes_back_as_it_was(store: EsSemanticDocumentStore) -> None:
    documents = [
        Document(id="all", content="", meta={"a": None, "b": [1, 2], "c": {"d": {"e": "f"}}, "g": 0.1, "h": 2**63}),
        Document(id="long", content="x", meta={"text": "y" * 40_000, "beyond": 2**70, "half": "\ud83d"}),
        Document(id="none", content=None, embedding=[1.0, 2.0]),
        Document(id="a/b ?c#", content="Zürich 東京", embedding=[0.5, -0.25]),
    ]
    assert store.write_documents(documents) == 4
    assert_alike(store.filter_documents(), documents)
    assert store.write_documents([]) == 0


def test_a_field_takes_values_of_every_type(store: EsSemanticDocumentStore) -> None:
    values = [2, "2", 2.5, True, "text", "2020-01-01T00:00:00", None, [3, "x"], "", -(2**60)]
    store.write_documents([Document(id=str(n), meta={"any": value}) for n, value in enumerate(values)])

    def ids(operator: str, value: Any) -> list[int]:
        found = store.filter_documents({"field": "meta.any", "operator": operator, "value": value})
        return sorted(int(each.id) for each in found)

    assert ids("==", 2) == [0]
    assert ids("==", "2") == [1]
    assert ids(">=", 2) == [0, 2, 7]
    assert ids("==", True) == [3]
    assert ids("<", "2020-01-02") == [5]
    assert ids("==", None) == [6]
    assert ids("in", ["x", "text", None]) == [4, 6, 7]
    assert ids("==", -(2**60)) == [9]
    assert ids("==", -(2**60) + 1) == []
    with pytest.raises(DocumentStoreError, match=r"refuses 1 of 2 documents \('no'\): document_parsing_exception"):
        store.write_documents([Document(id="no", meta={"any": {"object": 1}}), Document(id="yes", meta={"any": 1})])
    assert store.count_documents_by_filter({"field": "id", "operator": "in", "value": ["yes", "no"]}) == 1


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (Document(id="b", blob=ByteStream(b"1")), "document 'b' has a blob"),
        (Document(id="o", meta={"f": object}), "document 'o' cannot be written as JSON"),
    ],
)
def test_what_cannot_be_kept_is_refused(store: EsSemanticDocumentStore, document: Document, said: str) -> None:
    with pytest.raises(DocumentStoreError, match=said):
        store.write_documents([Document(id="1", content="one"), document])
    assert store.count_documents() == 0


@pytest.fixture
def shop(make_index: MakeIndex, node_url: str) -> Iterator[EsSemanticDocumentStore]:
    """An index with field names of its own, filled by somebody else, and a store over it."""
    index = make_index(
        {
            "body": TEXT,
            "title": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 20}}},
            "motto": TEXT,
            "kind": KEYWORD,
            "stock": {"type": "integer"},
            "since": {"type": "date", "format": "epoch_second||yyyy/MM/dd"},
            "active": {"type": "boolean"},
            "embedded": {"type": "dense_vector", "dims": 2, "similarity": "cosine", "index_options": {"type": "flat"}},
            "reviews": {"type": "nested", "properties": {"stars": {"type": "integer"}}},
            "raw": {"type": "object", "enabled": False},
            "label": {"type": "alias", "path": "kind"},
        },
        documents={
            "1": {"body": "Cats purr.", "title": "Cats", "kind": "animal", "stock": 3, "since": "2020/02/03"},
            "2": {"body": "Dogs bark at night.", "title": "Dogs", "kind": "animal", "embedded": [1, 0]},
            "3": {"body": "Rice boils in water.", "kind": "food", "active": True, "raw": {"x": 1}, "embedded": [0, 1]},
        },
    )
    each = EsSemanticDocumentStore(
        index, url=node_url, content_field="body", meta_field=None, embedding_field="embedded"
    )
    yield each
    each.close()


def test_an_index_that_is_there(shop: EsSemanticDocumentStore, client: Elasticsearch) -> None:
    before = client.indices.get_mapping(index=shop.index).body
    found = {each.id: each for each in shop.filter_documents()}
    assert found["1"].content == "Cats purr."
    assert found["1"].meta == {"title": "Cats", "kind": "animal", "stock": 3, "since": "2020/02/03"}
    assert (found["3"].meta, found["3"].embedding) == ({"kind": "food", "active": True, "raw": {"x": 1}}, [0, 1])

    def ids(field: str, operator: str, value: Any) -> list[str]:
        wanted = {"field": field, "operator": operator, "value": value}
        return sorted(each.id for each in shop.filter_documents(wanted))

    assert ids("meta.kind", "==", "animal") == ids("meta.label", "==", "animal") == ["1", "2"]
    assert ids("meta.title", "!=", "Cats") == ["2", "3"]
    assert ids("meta.stock", ">", 2.5) == ids("meta.stock", "==", 3) == ["1"]
    assert ids("meta.since", "==", "2020-02-03T01:00:00+01:00") == ["1"]
    assert ids("meta.since", "<=", "2020-02-02") == []
    assert ids("meta.active", "==", True) == ["3"]
    assert ids("meta.nowhere", "==", 1) == ids("meta.stock", "==", "3") == []

    new = Document(id="4", content="Snow falls.", meta={"kind": "weather"}, embedding=[1.0, 1.0])
    shop.write_documents([new])
    assert client.get(index=shop.index, id="4")["_source"] == {"body": "Snow falls.", "kind": "weather"}
    assert shop.update_by_filter({"field": "id", "operator": "==", "value": "4"}, {"stock": 9}) == 1
    assert_alike(
        shop.filter_documents({"field": "meta.stock", "operator": "==", "value": 9}),
        [Document(id="4", content="Snow falls.", meta={"kind": "weather", "stock": 9}, embedding=[1.0, 1.0])],
    )
    assert client.indices.get_mapping(index=shop.index).body == before


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("meta.motto", "x", "mapped as text"),
        ("meta.title", "x" * 21, "more than 20 characters"),
        ("meta.reviews.stars", 5, "nested objects"),
        ("meta.raw.x", 1, "may keep it without indexing it"),
        ("meta.kind", ["a"], "a list cannot be compared"),
        ("meta.kind", {"a": 1}, "a dict cannot be compared"),
        ("content", "x", "metadata is meta.NAME"),
        ("kind.name", "x", "metadata is meta.NAME"),
        ("embedding", [1], "metadata is meta.NAME"),
        ("meta.stock", float("nan"), "no number"),
    ],
)
def test_what_the_index_cannot_tell_is_no_guess(
    shop: EsSemanticDocumentStore, field: str, value: Any, said: str
) -> None:
    with pytest.raises(FilterError, match=said):
        shop.count_documents_by_filter({"field": field, "operator": "==", "value": value})


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.title", "operator": ">", "value": 1},
        {"field": "meta.stock", "operator": ">", "value": True},
        {"field": "meta.stock", "operator": ">", "value": "2020-01-01"},
        {"field": "id", "operator": "<", "value": "3"},
        {"field": "meta.stock", "operator": "~", "value": 1},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": {}},
        {"operator": "AND", "conditions": ["meta.stock"]},
        {"field": 1, "operator": "==", "value": 1},
    ],
)
def test_filters_that_say_nothing(shop: EsSemanticDocumentStore, filters: dict[str, Any]) -> None:
    with pytest.raises(FilterError):
        shop.filter_documents(filters)
    with pytest.raises(FilterError):
        shop.delete_by_filter(filters)


@pytest.mark.parametrize("key", ["body", "embedded", "embedded.x", "semantic"])
def test_metadata_take_nobodys_place(shop: EsSemanticDocumentStore, client: Elasticsearch, key: str) -> None:
    es_semantic.attach(client, shop.index, "body", model=TinyEmbedder())
    with pytest.raises(DocumentStoreError, match="keeps something else"):
        shop.write_documents([Document(id="4", content="x", meta={key: "y"})])
    with pytest.raises(DocumentStoreError, match="keeps something else"):
        shop.update_by_filter({"field": "id", "operator": "==", "value": "1"}, {key: "y"})
    assert shop.count_documents() == 3


def test_embeddings_need_a_place(node_url: str, client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"content": TEXT})
    store = EsSemanticDocumentStore(index, url=node_url)
    with pytest.raises(DocumentStoreError, match="no dense_vector field 'embedding'"):
        store.write_documents([Document(content="x", embedding=[1.0, 2.0])])
    with pytest.raises(DocumentStoreError, match="no dense_vector field 'embedding'"):
        EsSemanticEmbeddingRetriever(store).run([1.0, 2.0])
    assert store.write_documents([Document(content="x")]) == 1
    shared = EsSemanticDocumentStore(f"{index}-new", url=node_url, embedding_field="semantic.vector")
    with pytest.raises(DocumentStoreError, match="attach the semantic field first"):
        shared.write_documents([Document(content="x")])
    assert not client.indices.exists(index=shared.index)
    store.close()
    shared.close()


TEXTS = {
    "1": ("The cat sat on the mat", "animal"),
    "2": ("Dogs bark at night", "animal"),
    "3": ("How to cook rice", "food"),
    "4": ("A kitten is a young feline", "animal"),
}


@pytest.fixture(scope="module")
def embedded(node_url: str, client: Elasticsearch) -> Iterator[EsSemanticDocumentStore]:
    """A store whose documents have embeddings of their own in two dimensions, and MiniLM's in the semantic field."""
    index = f"test-haystack-{uuid.uuid4().hex[:12]}"
    store = EsSemanticDocumentStore(index, url=node_url)
    store.write_documents(
        [
            Document(id=key, content=text, meta={"kind": kind}, embedding=[float(key), 1.0])
            for key, (text, kind) in TEXTS.items()
        ]
    )
    es_semantic.attach(store.client, index, "content")
    es_semantic.sync(store.client, index)
    yield store
    store.close()
    remove_everything(client, index)


ANIMALS = {"field": "meta.kind", "operator": "==", "value": "animal"}


def test_retrievers(embedded: EsSemanticDocumentStore) -> None:
    words = EsSemanticBM25Retriever(embedded, top_k=2).run("cat rice")["documents"]
    assert {each.id for each in words} == {"1", "3"}
    assert all(each.score and each.embedding is None for each in words)
    assert words[0].meta == {"kind": TEXTS[words[0].id][1]}

    nearest = EsSemanticEmbeddingRetriever(embedded).run([4.0, 1.0], filters=ANIMALS)["documents"]
    assert [each.id for each in nearest] == ["4", "2", "1"]

    hybrid = EsSemanticHybridRetriever(embedded, top_k=3)
    assert {each.id for each in hybrid.run("feline", top_k=2)["documents"]} == {"1", "4"}
    own = hybrid.run("rice", query_embedding=[3.0, 1.0])["documents"]
    assert own[0].id == "3"
    assert len(own) == 3
    assert hybrid.run("rice", query_embedding=[3.0, 1.0], filters=ANIMALS, top_k=9)["documents"]
    assert "3" not in {each.id for each in hybrid.run("rice", filters=ANIMALS, top_k=9)["documents"]}


def test_filters_of_a_retriever_and_of_a_run(embedded: EsSemanticDocumentStore) -> None:
    first = {"field": "id", "operator": "in", "value": ["1", "3"]}

    def ids(policy: FilterPolicy, filters: dict[str, Any] | None) -> set[str]:
        retriever = EsSemanticEmbeddingRetriever(embedded, filters=ANIMALS, filter_policy=policy)
        return {each.id for each in retriever.run([1.0, 1.0], filters=filters)["documents"]}

    assert ids(FilterPolicy.REPLACE, None) == {"1", "2", "4"}
    assert ids(FilterPolicy.REPLACE, first) == {"1", "3"}
    assert ids(FilterPolicy.MERGE, first) == {"1"}


async def test_asynchronous_retrievers_say_the_same(embedded: EsSemanticDocumentStore) -> None:
    runs: list[tuple[Any, dict[str, Any]]] = [
        (EsSemanticBM25Retriever(embedded), {"query": "cat"}),
        (EsSemanticEmbeddingRetriever(embedded), {"query_embedding": [4.0, 1.0], "top_k": 2}),
        (EsSemanticHybridRetriever(embedded), {"query": "feline", "filters": ANIMALS}),
        (EsSemanticHybridRetriever(embedded), {"query": "feline", "query_embedding": [4.0, 1.0]}),
    ]
    for retriever, inputs in runs:
        mine = await retriever.run_async(**inputs)
        theirs = await asyncio.to_thread(retriever.run, **inputs)
        assert [each.id for each in mine["documents"]] == [each.id for each in theirs["documents"]]
        assert mine["documents"]
    await embedded.close_async()


def test_one_store_in_several_event_loops(embedded: EsSemanticDocumentStore) -> None:
    async def count() -> int:
        counted = await embedded.count_documents_async()
        await embedded.async_client.close()
        return counted

    assert [asyncio.run(count()) for _ in range(2)] == [4, 4]


def test_queries_that_cannot_be_answered(embedded: EsSemanticDocumentStore, store: EsSemanticDocumentStore) -> None:
    with pytest.raises(InvalidQuery, match="empty"):
        EsSemanticBM25Retriever(embedded).run(" ")
    with pytest.raises(InvalidQuery, match="size"):
        EsSemanticHybridRetriever(embedded, top_k=0).run("cat")
    with pytest.raises(InvalidQuery, match="dimension"):
        EsSemanticEmbeddingRetriever(embedded).run([1.0, 2.0, 3.0])
    with pytest.raises(IndexUnavailable, match=store.index):
        EsSemanticBM25Retriever(store).run("cat")
    store.write_documents([Document(content="cats and dogs")])
    assert EsSemanticBM25Retriever(store).run("cats")["documents"]
    with pytest.raises(NotAttached):
        EsSemanticHybridRetriever(store).run("cats")
    with pytest.raises(TypeError, match="EsSemanticDocumentStore"):
        EsSemanticBM25Retriever("documents")  # type: ignore[arg-type]


def test_embeddings_as_vectors_of_the_semantic_field(
    node_url: str, client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index({"content": TEXT, "meta": {"properties": {"title": TEXT}}})
    es_semantic.attach(client, index, ["meta.title", "content"], chunk="never")
    store = EsSemanticDocumentStore(index, url=node_url, embedding_field="semantic.vector")

    def document(key: str, embedded_text: str | None) -> Document:
        content, kind = TEXTS[key]
        vectors = loaded(None).embed_documents([embedded_text]).vectors if embedded_text is not None else None
        embedding = None if vectors is None else vectors[0].tolist()
        return Document(id=key, content=content, meta={"title": kind}, embedding=embedding)

    whole = "animal\nThe cat sat on the mat"
    store.write_documents([document("1", whole), document("2", None), Document(id="blank", embedding=[1.0] * 384)])
    assert es_semantic.status(client, index).ready == 1
    report = es_semantic.sync(client, index)
    assert (report.embedded, report.unchanged, report.failed) == (1, 1, 0)
    state = es_semantic.status(client, index)
    assert (state.ready, state.empty) == (2, 1)

    query = loaded(None).embed_queries(["feline"]).vectors[0].tolist()
    assert [each.id for each in EsSemanticEmbeddingRetriever(store).run(query)["documents"]] == ["1", "2"]
    (back,) = store.filter_documents({"field": "id", "operator": "==", "value": "1"})
    assert back.meta == {"title": "animal"}
    assert back.embedding is not None
    np.testing.assert_allclose(back.embedding, document("1", whole).embedding, atol=1e-4)

    for wrong in (document("3", "How to cook rice"), Document(id="3", content="Rice", embedding=[1.0, 0.0])):
        with pytest.raises(FingerprintMismatch, match="the embedding of document '3' is not what all-MiniLM-L6-v2"):
            store.write_documents([wrong], DuplicatePolicy.OVERWRITE)
    assert store.count_documents() == 3
    store.close()


def test_chunks_take_no_embeddings_of_whole_documents(
    node_url: str, client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index({"content": TEXT})
    es_semantic.attach(client, index, "content", chunk="always")
    store = EsSemanticDocumentStore(index, url=node_url, embedding_field="semantic.vector")
    with pytest.raises(DocumentStoreError, match=r"no dense_vector field 'semantic.vector'"):
        store.write_documents([Document(content="x", embedding=[1.0] * 384)])
    store.close()


def test_stores_and_retrievers_are_serialised(node_url: str, embedded: EsSemanticDocumentStore) -> None:
    store = EsSemanticDocumentStore(
        embedded.index, url=node_url, api_key=Secret.from_env_var("SOME_KEY_NOT_SET", strict=False)
    )
    again = EsSemanticDocumentStore.from_dict(store.to_dict())
    assert again.to_dict() == store.to_dict()
    assert again.count_documents() == 4

    pipeline = Pipeline()
    policy = FilterPolicy.MERGE
    pipeline.add_component("hybrid", EsSemanticHybridRetriever(store, filters=ANIMALS, top_k=2, filter_policy=policy))
    pipeline.add_component("words", EsSemanticBM25Retriever(store))
    pipeline.add_component("nearest", EsSemanticEmbeddingRetriever(store))
    read = Pipeline.loads(pipeline.dumps(), allowed_modules=["es_semantic.integrations.*"])
    assert read.to_dict() == pipeline.to_dict()
    inputs = {
        "hybrid": {"query": "feline"},
        "words": {"query": "rice"},
        "nearest": {"query_embedding": [1.0, 1.0], "top_k": 1},
    }
    answers = read.run(inputs)
    assert {each.id for each in answers["hybrid"]["documents"]} == {"1", "4"}
    assert [each.id for each in answers["words"]["documents"]] == ["3"]
    assert [each.id for each in answers["nearest"]["documents"]] == ["1"]
    again.close()
    store.close()


def test_a_token_is_not_written_down(node_url: str) -> None:
    store = EsSemanticDocumentStore("x", url=node_url, api_key=Secret.from_token("very-secret"))
    with pytest.raises(ValueError, match="Cannot serialize"):
        store.to_dict()
    assert "very-secret" not in repr(vars(store))
    wrong = EsSemanticDocumentStore("x", url="http://user:very-secret@")
    with pytest.raises(UsageError) as caught:
        wrong.count_documents()
    assert "very-secret" not in str(caught.value)


def test_an_api_key(secured_node: SecuredNode, superuser: Elasticsearch, monkeypatch: pytest.MonkeyPatch) -> None:
    index = f"test-haystack-{uuid.uuid4().hex[:12]}"
    role = {"own": {"indices": [{"names": [index], "privileges": ["all"]}]}}
    key = superuser.security.create_api_key(name=index, role_descriptors=role)
    monkeypatch.setenv("HAYSTACK_TEST_KEY", key["encoded"])
    store = EsSemanticDocumentStore(index, url=secured_node.url, api_key=Secret.from_env_var("HAYSTACK_TEST_KEY"))
    try:
        read = EsSemanticDocumentStore.from_dict(store.to_dict())
        assert key["encoded"] not in str(store.to_dict())
        assert read.write_documents([Document(content="behind a lock")]) == 1
        assert read.count_documents() == 1
        read.close()
    finally:
        superuser.options(ignore_status=404).indices.delete(index=index)
        superuser.security.invalidate_api_key(ids=[key["id"]])


def test_without_the_library_the_error_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['haystack'] = None; import es_semantic.integrations.haystack"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'es-semantic[haystack]'" in ran.stderr.splitlines()[-1]
