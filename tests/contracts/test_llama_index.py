"""LlamaIndex over real indices: through a VectorStoreIndex, the store alone, and in indices of other programs."""

from __future__ import annotations

import importlib
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import (
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from pydantic import PrivateAttr

import es_semantic
from es_semantic.errors import FingerprintMismatch, InvalidQuery, MissingExtra, NotAttached, RequestFailed, UsageError
from es_semantic.integrations.llama_index import EsSemanticRetriever, EsSemanticVectorStore, LlamaIndexEmbedder
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex, remove_everything

NO_MODEL = MockEmbedding(embed_dim=1)
"""For a VectorStoreIndex, whose own vectors the store does not use."""


class TinyEmbedding(BaseEmbedding):  # type: ignore[misc]
    """What LlamaIndex calls an embedding model: the tests' tiny one."""

    _tiny: TinyEmbedder = PrivateAttr(default_factory=TinyEmbedder)

    def _get_text_embedding(self, text: str) -> list[float]:
        vector: list[float] = self._tiny.vector(text).tolist()
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def node(node_id: str, text: str, document: str | None = None, **metadata: Any) -> TextNode:
    source = {} if document is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(id_=node_id, text=text, metadata=metadata, relationships=source)


NODES = [
    node("rome", "red boots for walking in the rain", "north", author="Kim Lee", year=2019, tags=["rain", "shoes"]),
    node("oslo", "blue sandals for walking on the beach", "south", author="Ada", year=2021, tags=["sun", "shoes"]),
    node("bern", "green hat against the sun", "south", author="Kim Moss", year=2023.5, tags=["sun"], note=""),
    node("wien", "umbrella against the rain", author="100%*", year=2020, tags=[]),
]


@pytest.fixture
async def async_client(node_url: str) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(node_url, request_timeout=60) as client:
        yield client


@pytest.fixture
def index(client: Elasticsearch, unique: str) -> Iterator[str]:
    """The name of an index that is not there yet."""
    yield unique
    remove_everything(client, unique)


@pytest.fixture
def store(client: Elasticsearch, index: str) -> EsSemanticVectorStore:
    """A store with the nodes in it."""
    store = EsSemanticVectorStore(index, client=client, embed_model=TinyEmbedding())
    assert store.add(NODES) == [each.node_id for each in NODES]
    return store


@pytest.fixture
def articles(make_index: MakeIndex) -> str:
    """Somebody's index, not attached."""
    properties = {
        "title": {"type": "text"},
        "body": {"type": "text"},
        "by": {"properties": {"name": {"type": "text", "fields": {"raw": {"type": "keyword"}}}}},
        "reviews": {"type": "nested", "properties": {"stars": {"type": "integer"}}},
    }
    documents = {
        "1": {"title": "Red boots", "body": "for the rain", "by": {"name": "Kim Lee"}, "reviews": [{"stars": 5}]},
        "2": {"title": "Green hat", "body": "for the sun", "by": {"name": "Ada Moss"}},
    }
    return make_index(properties, documents=documents)


def ids_of(nodes: list[Any]) -> list[str]:
    return [each.node_id for each in nodes]


def one(key: str, operator: FilterOperator, value: Any = None) -> MetadataFilter:
    return MetadataFilter(key=key, operator=operator, value=value)


def both(*filters: Any, condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=condition)


def asked(text: str, mode: str = "default", **more: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_str=text, mode=VectorStoreQueryMode(mode), similarity_top_k=4, **more)


class TestThroughAVectorStoreIndex:
    """What LlamaIndex's own index does with a store."""

    def test_documents_go_in_and_are_found(self, client: Elasticsearch, index: str) -> None:
        store = EsSemanticVectorStore(index, client=client, embed_model=TinyEmbedding())
        documents = [Document(id_=each.node_id, text=each.text, metadata=each.metadata) for each in NODES]
        built = VectorStoreIndex.from_documents(
            documents, storage_context=StorageContext.from_defaults(vector_store=store), embed_model=TinyEmbedding()
        )
        (best,) = built.as_retriever(similarity_top_k=1).retrieve("green hat against the sun")
        assert best.score == pytest.approx(1.0, abs=1e-3)
        assert (best.node.ref_doc_id, best.text) == ("bern", "green hat against the sun")
        assert best.metadata == NODES[2].metadata
        built.insert(Document(id_="nice", text="purple scarf of wool", metadata={"author": "Ada"}))
        found = built.as_retriever(similarity_top_k=1).retrieve("purple scarf")
        assert [each.node.ref_doc_id for each in found] == ["nice"]
        built.delete_ref_doc("nice")
        assert len(store.get_nodes()) == len(NODES)
        assert "nice" not in {each.ref_doc_id for each in store.get_nodes()}
        built.delete_nodes([found[0].node_id, store.get_nodes()[0].node_id])
        assert len(store.get_nodes()) == len(NODES) - 1

    def test_modes_and_filters_of_a_retriever(self, store: EsSemanticVectorStore) -> None:
        built = VectorStoreIndex.from_vector_store(store, embed_model=NO_MODEL)

        def found(mode: str, **more: Any) -> list[str]:
            retriever = built.as_retriever(vector_store_query_mode=mode, similarity_top_k=4, **more)
            return ids_of(retriever.retrieve("umbrella against the rain"))

        assert found("default")[0] == "wien"
        assert len(found("default")) == 4
        assert found("text_search")[0] == "wien"
        assert set(found("text_search")) == {"wien", "rome", "bern", "oslo"}
        assert found("hybrid")[0] == "wien"
        shoes = both(one("tags", FilterOperator.CONTAINS, "shoes"))
        assert set(found("hybrid", filters=shoes)) == {"rome", "oslo"}
        assert found("default", doc_ids=["north"]) == ["rome"]
        assert found("text_search", vector_store_kwargs={"fields": ["author"]}) == []

    async def test_asynchronously(self, async_client: AsyncElasticsearch, index: str) -> None:
        """With an asynchronous client alone: whatever went another way would fail for want of the other."""
        store = EsSemanticVectorStore(index, async_client=async_client, embed_model=TinyEmbedding())
        await store.aattach()
        built = VectorStoreIndex.from_vector_store(store, embed_model=NO_MODEL)
        await built.ainsert_nodes(NODES)
        for mode in ("default", "text_search", "hybrid"):
            retriever = built.as_retriever(vector_store_query_mode=mode, similarity_top_k=1)
            assert ids_of(await retriever.aretrieve("green hat against the sun")) == ["bern"]
        await built.adelete_ref_doc("south")
        assert set(ids_of(await store.aget_nodes())) == {"rome", "wien"}
        await built.adelete_nodes(["rome"])
        assert ids_of(await store.aget_nodes(filters=both(one("year", FilterOperator.GT, 2000)))) == ["wien"]
        await store.aclear()
        assert await store.aget_nodes() == []
        with pytest.raises(UsageError, match="synchronous client"):
            store.get_nodes()


def test_nodes_come_back_as_they_were(client: Elasticsearch, index: str) -> None:
    store = EsSemanticVectorStore(index, client=client, embed_model=TinyEmbedding())
    shown = TextNode(
        id_="text",
        text="a text\nof two lines",
        metadata={"a": 1, "b": "x", "c": None, "d": {"e": [True]}},
        excluded_llm_metadata_keys=["a"],
        metadata_template="{key}={value}",
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="document", metadata={"a": 1}),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="image"),
        },
        start_char_idx=3,
        end_char_idx=22,
    )
    image = ImageNode(id_="image", text="a picture", image_url="http://localhost/x.png")
    link = IndexNode(id_="link", text="see there", index_id="elsewhere")
    store.add([shown, image, link])
    found = {each.node_id: each for each in store.get_nodes()}
    for each in (shown, image, link):
        back = found[each.node_id]
        assert type(back) is type(each)
        assert back == each
    assert found["text"].get_content(MetadataMode.LLM) == shown.get_content(MetadataMode.LLM)
    assert shown.embedding is None
    store.add([TextNode(id_="text", text="another text", metadata={"b": "y"})])
    (changed,) = store.get_nodes(["text"])
    assert (changed.text, changed.metadata, changed.ref_doc_id) == ("another text", {"b": "y"}, None)


def test_a_vector_that_a_node_brings_is_not_used(client: Elasticsearch, index: str) -> None:
    store = EsSemanticVectorStore(index, client=client, embed_model=TinyEmbedding())
    liar = TextNode(id_="1", text="red boots", embedding=TinyEmbedder().vector("green hat").tolist())
    store.add([liar, TextNode(id_="2", text="a green scarf")])
    assert store.query(asked("green hat")).ids == ["2", "1"]


def test_changes_of_other_programs_are_seen(client: Elasticsearch, store: EsSemanticVectorStore) -> None:
    client.update(index=store.index, id="rome", doc={"author": "Zoe", "text": "a purple scarf"}, refresh=True)
    model = LlamaIndexEmbedder(TinyEmbedding())
    assert es_semantic.sync(client, store.index, model=model).embedded == 1
    client.indices.refresh(index=store.index)
    (best,) = store.query(asked("purple scarf", node_ids=["rome", "oslo"])).nodes[:1]
    assert (best.node_id, best.text, best.metadata["author"]) == ("rome", "a purple scarf", "Zoe")
    assert best.ref_doc_id == "north"


def test_what_a_query_answers(store: EsSemanticVectorStore) -> None:
    answer = store.query(asked("green hat against the sun"))
    assert answer.ids == ids_of(answer.nodes)
    assert answer.ids[0] == "bern"
    assert answer.similarities == sorted(answer.similarities, reverse=True)
    assert answer.similarities[0] == pytest.approx(1.0, abs=1e-3)
    assert len(store.query(VectorStoreQuery(query_str="hat", similarity_top_k=2)).ids) == 2
    assert len(store.query(asked("hat", "hybrid", hybrid_top_k=3)).ids) == 3
    assert store.query(asked("nothing of this", "text_search")).ids == []


def test_alpha_weighs_the_legs(client: Elasticsearch, index: str) -> None:
    store = EsSemanticVectorStore(index, client=client, embed_model=TinyEmbedding())
    others = [node(animal, f"the {animal}") for animal in ("lion", "bear", "wolf", "deer")]
    store.add([node("often", "the the the"), node("rare", "one zebra among many words"), *others])
    text = "the the zebra"
    assert store.query(asked(text, "text_search")).ids[0] == "rare"
    assert store.query(asked(text)).ids[0] == "often"
    assert store.query(asked(text, "hybrid", alpha=0.0)).ids[0] == "rare"
    assert store.query(asked(text, "hybrid", alpha=1.0)).ids[0] == "often"
    with pytest.raises(InvalidQuery, match="alpha"):
        store.query(asked("rain", "hybrid", alpha=1.5))


@pytest.mark.parametrize(
    ("query", "what"),
    [
        (asked("rain", "sparse"), "'sparse'"),
        (asked("rain", "mmr"), "'mmr'"),
        (asked("rain", "semantic_hybrid"), "'semantic_hybrid'"),
        (VectorStoreQuery(query_embedding=[1.0]), "query_str"),
        (asked("rain", sparse_top_k=3), "sparse_top_k"),
        (asked("rain", mmr_threshold=0.5), "mmr_threshold"),
        (asked("rain", output_fields=["text"]), "output_fields"),
    ],
)
def test_queries_that_are_refused(client: Elasticsearch, query: VectorStoreQuery, what: str) -> None:
    with pytest.raises(InvalidQuery, match=what):
        EsSemanticVectorStore("not-looked-at", client=client).query(query)


FILTERS: list[tuple[Any, set[str]]] = [
    (one("author", FilterOperator.EQ, "Ada"), {"oslo"}),
    (one("author", FilterOperator.EQ, "Kim"), set()),
    (one("year", FilterOperator.EQ, 2023.5), {"bern"}),
    (one("author", FilterOperator.NE, "Ada"), {"rome", "bern", "wien"}),
    (one("note", FilterOperator.NE, "x"), {"rome", "oslo", "bern", "wien"}),
    (one("year", FilterOperator.GT, 2020), {"oslo", "bern"}),
    (one("year", FilterOperator.GTE, 2020), {"oslo", "bern", "wien"}),
    (one("year", FilterOperator.LT, 2020.5), {"rome", "wien"}),
    (one("year", FilterOperator.LTE, 2019), {"rome"}),
    (one("author", FilterOperator.LT, "B"), {"oslo", "wien"}),
    (one("author", FilterOperator.IN, ["Ada", "Kim Lee"]), {"oslo", "rome"}),
    (one("year", FilterOperator.IN, [2019, 2020]), {"rome", "wien"}),
    (one("author", FilterOperator.NIN, ["Ada", "Kim Lee"]), {"bern", "wien"}),
    (one("tags", FilterOperator.ANY, ["rain", "sun"]), {"rome", "oslo", "bern"}),
    (one("tags", FilterOperator.ALL, ["sun", "shoes"]), {"oslo"}),
    (one("tags", FilterOperator.CONTAINS, "shoes"), {"rome", "oslo"}),
    (one("author", FilterOperator.TEXT_MATCH, "Kim"), {"rome", "bern"}),
    (one("author", FilterOperator.TEXT_MATCH, "kim"), set()),
    (one("author", FilterOperator.TEXT_MATCH, "%*"), {"wien"}),
    (one("author", FilterOperator.TEXT_MATCH, "A*a"), set()),
    (one("author", FilterOperator.TEXT_MATCH_INSENSITIVE, "kim "), {"rome", "bern"}),
    (one("text", FilterOperator.TEXT_MATCH, "walking in the"), {"rome"}),
    (one("tags", FilterOperator.IS_EMPTY), {"wien"}),
    (one("note", FilterOperator.IS_EMPTY), {"rome", "oslo", "bern", "wien"}),
    (one("no such field", FilterOperator.IS_EMPTY), {"rome", "oslo", "bern", "wien"}),
    (one("no such field", FilterOperator.EQ, "x"), set()),
]


@pytest.fixture(scope="class")
def filtered(client: Elasticsearch) -> Iterator[EsSemanticVectorStore]:
    """One store for many filters."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    store = EsSemanticVectorStore(name, client=client, embed_model=TinyEmbedding())
    store.add(NODES)
    yield store
    remove_everything(client, name)


class TestFilters:
    """Metadata filters, by themselves and together."""

    @pytest.mark.parametrize(("condition", "expected"), FILTERS)
    def test_operators(self, filtered: EsSemanticVectorStore, condition: MetadataFilter, expected: set[str]) -> None:
        assert set(ids_of(filtered.get_nodes(filters=both(condition)))) == expected
        for mode in ("default", "hybrid"):
            assert set(filtered.query(asked("rain", mode, filters=both(condition))).ids) == expected

    def test_every_operator_is_tried(self) -> None:
        assert {condition.operator for condition, _ in FILTERS} == set(FilterOperator)

    def test_together(self, filtered: EsSemanticVectorStore) -> None:
        kim = one("author", FilterOperator.TEXT_MATCH, "Kim")
        shoes = one("tags", FilterOperator.CONTAINS, "shoes")
        late = one("year", FilterOperator.GT, 2022)
        either, neither = FilterCondition.OR, FilterCondition.NOT

        def found(filters: MetadataFilters) -> set[str]:
            return set(ids_of(filtered.get_nodes(filters=filters)))

        assert found(both(kim, shoes)) == {"rome"}
        assert found(both(kim, shoes, condition=either)) == {"rome", "bern", "oslo"}
        assert found(both(kim, shoes, condition=neither)) == {"wien"}
        assert found(both(kim, both(shoes, late, condition=either))) == {"rome", "bern"}
        assert found(both(both(kim, shoes), both(kim, late), condition=either)) == {"rome", "bern"}
        assert found(both(kim, both(both(late), condition=neither))) == {"rome"}
        assert found(both()) == {"rome", "oslo", "bern", "wien"}
        assert ids_of(filtered.get_nodes(["rome", "oslo", "no"], both(kim))) == ["rome"]

    @pytest.mark.parametrize(
        ("condition", "what"),
        [
            (one("text", FilterOperator.EQ, "rain"), "'text'.*analysed"),
            (one("text", FilterOperator.IN, ["rain"]), "'text'.*analysed"),
            (one("author", FilterOperator.EQ, None), "'author'.*one value"),
            (one("author", FilterOperator.EQ, ["Ada"]), "'author'.*one value"),
            (one("author", FilterOperator.IN, "Ada"), "'author'.*a list"),
            (one("year", FilterOperator.TEXT_MATCH, "20"), "'year'.*keyword and text"),
            (one("author", FilterOperator.TEXT_MATCH, 7), "'author'.*keyword and text"),
        ],
    )
    def test_what_cannot_be_expressed(
        self, filtered: EsSemanticVectorStore, condition: MetadataFilter, what: str
    ) -> None:
        with pytest.raises(InvalidQuery, match=what):
            filtered.query(asked("rain", filters=both(condition)))
        with pytest.raises(InvalidQuery, match=what):
            filtered.delete_nodes(filters=both(condition))
        assert len(filtered.get_nodes()) == len(NODES)


def test_deleting(store: EsSemanticVectorStore) -> None:
    store.delete_nodes(["oslo", "no"], both(one("author", FilterOperator.EQ, "Kim Lee")))
    assert len(store.get_nodes()) == 4
    store.delete_nodes(["oslo"])
    assert set(ids_of(store.get_nodes())) == {"rome", "bern", "wien"}
    store.delete_nodes(filters=both(one("year", FilterOperator.GT, 2022)))
    assert set(ids_of(store.get_nodes())) == {"rome", "wien"}
    with pytest.raises(UsageError, match="which nodes"):
        store.delete_nodes()
    store.delete("north")
    store.delete("nowhere")
    assert ids_of(store.get_nodes()) == ["wien"]
    assert store.query(asked("red boots")).ids == ["wien"]


def test_somebodys_index(client: Elasticsearch, articles: str) -> None:
    store = EsSemanticVectorStore(articles, client=client, embed_model=TinyEmbedding(), text_fields=["title", "body"])
    with pytest.raises(NotAttached):
        store.add(NODES)
    assert client.count(index=articles)["count"] == 2
    store.attach()
    answer = store.query(asked("red boots for the rain", "hybrid"))
    assert answer.ids == ["1", "2"]
    best = answer.nodes[0]
    assert (type(best), best.text) == (TextNode, "Red boots\nfor the rain")
    assert best.metadata == {"by": {"name": "Kim Lee"}, "reviews": [{"stars": 5}]}

    def found(condition: MetadataFilter) -> list[str]:
        return ids_of(store.get_nodes(filters=both(condition)))

    assert found(one("by.name", FilterOperator.EQ, "Kim Lee")) == ["1"]
    assert found(one("by.name", FilterOperator.EQ, "Kim")) == []
    assert found(one("by.name", FilterOperator.TEXT_MATCH, "moss")) == ["2"]
    with pytest.raises(InvalidQuery, match="'reviews' is nested"):
        found(one("reviews.stars", FilterOperator.EQ, 5))
    with pytest.raises(UsageError, match="title, body"):
        store.add(NODES)


def test_nodes_beside_somebodys_documents(client: Elasticsearch, make_index: MakeIndex) -> None:
    theirs = make_index({"words": {"type": "text"}}, documents={"1": {"words": "a purple scarf"}}, dynamic="false")
    store = EsSemanticVectorStore(theirs, client=client, embed_model=TinyEmbedding(), text_fields=["words"])
    store.attach()
    store.add(NODES)
    assert set(ids_of(store.get_nodes())) == {"1", "rome", "oslo", "bern", "wien"}
    assert store.query(asked("green hat against the sun")).ids[0] == "bern"
    store.delete("south")
    assert set(ids_of(store.get_nodes())) == {"1", "rome", "wien"}
    store.clear()
    assert ids_of(store.get_nodes()) == ["1"]
    assert client.get(index=theirs, id="1")["_source"]["words"] == "a purple scarf"


def test_another_model_is_refused(client: Elasticsearch, store: EsSemanticVectorStore) -> None:
    other = EsSemanticVectorStore(store.index, client=client, embed_model=TinyEmbedding(model_name="another"))
    with pytest.raises(FingerprintMismatch):
        other.query(asked("rain"))
    assert other.query(asked("umbrella", "text_search")).ids == ["wien"]


def test_without_an_embed_model_the_bound_one_is_used(client: Elasticsearch, index: str) -> None:
    """The real MiniLM finds what has no word in common with the query."""
    store = EsSemanticVectorStore(index, client=client)
    store.add(NODES)
    (best,) = VectorStoreIndex.from_vector_store(store, embed_model=NO_MODEL).as_retriever(
        similarity_top_k=1
    ).retrieve("footwear for wet weather")  # fmt: skip
    assert best.node_id == "rome"
    retriever = EsSemanticRetriever(index, client=client, similarity_top_k=1)
    assert ids_of(retriever.retrieve("footwear for wet weather")) == ["rome"]


def test_nodes_that_cannot_be_written(store: EsSemanticVectorStore) -> None:
    with pytest.raises(UsageError, match="'llama_index'"):
        store.add([node("x", "a text", llama_index=1)])
    with pytest.raises(UsageError, match="'text'"):
        store.add([TextNode(id_="x", text="a text", metadata={"text": "another"})])
    with pytest.raises(RequestFailed, match="refused 1 of 2 documents; 'bad'") as caught:
        store.add([node("good", "a text"), node("bad", "a text", year="a secret year")])
    assert "secret" not in str(caught.value)
    assert set(ids_of(store.get_nodes(["good", "bad", "x"]))) == {"good"}
    with pytest.raises(UsageError, match="no client"):
        EsSemanticVectorStore(store.index)


def found_by(retriever: EsSemanticRetriever, text: str) -> list[NodeWithScore]:
    found: list[NodeWithScore] = retriever.retrieve(text)
    return found


async def test_the_retriever(
    client: Elasticsearch, async_client: AsyncElasticsearch, store: EsSemanticVectorStore
) -> None:
    retriever = EsSemanticRetriever(
        [store.index],
        client=client,
        async_client=async_client,
        embed_model=TinyEmbedding(),
        similarity_top_k=2,
        filters=both(one("year", FilterOperator.LT, 2022)),
        search_kwargs={"passages": 1},
    )
    found = found_by(retriever, "umbrella against the rain")
    assert ids_of(found) == ["wien", "rome"]
    best = found[0]
    told = best.metadata["es_semantic"]
    assert told["score"] == best.score
    assert set(told["legs"]) == {"bm25", "knn"}
    assert told["passages"][0]["text"] == "umbrella against the rain"
    assert best.metadata["author"] == "100%*"
    assert "es_semantic" not in best.get_content(MetadataMode.LLM)
    assert "es_semantic" not in best.get_content(MetadataMode.EMBED)
    again = await retriever.aretrieve("umbrella against the rain")
    assert [each.node for each in again] == [each.node for each in found]
    words = EsSemanticRetriever(store.index, client=client, search_kwargs={"mode": "bm25"})
    assert ids_of(found_by(words, "umbrella")) == ["wien"]
    with pytest.raises(UsageError, match="takes no 'size'"):
        EsSemanticRetriever(store.index, client=client, search_kwargs={"size": 3})
    with pytest.raises(UsageError, match="takes no 'mode'"):
        store.query(asked("umbrella"), mode="bm25")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core.schema", None)
    monkeypatch.delitem(sys.modules, "es_semantic.integrations.llama_index")
    with pytest.raises(MissingExtra) as caught:
        importlib.import_module("es_semantic.integrations.llama_index")
    assert caught.value.hint == "pip install 'es-semantic[llama-index]'"
