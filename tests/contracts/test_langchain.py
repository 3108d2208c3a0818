"""LangChain's own suites for vector stores and retrievers, and what they do not ask: indices of other programs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager
from langchain_core.indexing import index as langchain_index
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

import es_semantic
from es_semantic.config import Config
from es_semantic.config.settings import CrossEncoderSettings
from es_semantic.errors import (
    FingerprintMismatch,
    IndexUnavailable,
    MissingExtra,
    ModelUnavailable,
    NotAttached,
    RequestFailed,
    UsageError,
)
from es_semantic.integrations.langchain import EsSemanticRetriever, EsSemanticVectorStore, LangChainEmbedder
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex, remove_everything
from tests.small_rerankers import small_cross_encoder

ARTICLES = {
    "1": {"title": "Red boots", "body": "for walking in the rain", "shop": "north", "price": 40, "by": {"name": "Kim"}},
    "2": {"title": "Blue sandals", "body": "for walking on the beach", "shop": "south", "price": 20},
    "3": {"title": "Green hat", "body": "against the sun", "shop": "south", "price": 10},
    "4": {"title": "Umbrella", "body": "against the rain", "shop": "north", "price": 15},
}
PROPERTIES: dict[str, Any] = {
    "title": {"type": "text"},
    "body": {"type": "text"},
    "shop": {"type": "keyword"},
    "price": {"type": "integer"},
}


class TinyEmbeddings(Embeddings):  # type: ignore[misc]
    """What LangChain calls an embedding model: the tests' tiny one."""

    model = "tiny"

    def __init__(self, name: str = "tiny") -> None:
        self.tiny = TinyEmbedder(name)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.tiny.vector(text).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector: list[float] = self.tiny.vector(text).tolist()
        return vector


class Broken(TinyEmbeddings):
    """A model that is down."""

    def embed_query(self, text: str) -> list[float]:
        raise ConnectionError(f"no answer for {text}")


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
def articles(make_index: MakeIndex) -> str:
    """Somebody's index, not attached."""
    return make_index(PROPERTIES, documents=ARTICLES)


@pytest.fixture
def attached(client: Elasticsearch, articles: str) -> str:
    """Somebody's index, attached and synced by our own Python interface with a LangChain model."""
    model = LangChainEmbedder(TinyEmbeddings())
    es_semantic.attach(client, articles, ["title", "body"], model=model)
    es_semantic.sync(client, articles, model=model)
    client.indices.refresh(index=articles)
    return articles


class TestVectorStore(VectorStoreIntegrationTests):
    """LangChain's suite for vector stores, synchronous and asynchronous."""

    @pytest.fixture
    def vectorstore(self, client: Elasticsearch, async_client: AsyncElasticsearch, index: str) -> EsSemanticVectorStore:
        store = EsSemanticVectorStore(index, client=client, async_client=async_client, embedding=self.get_embeddings())
        store.attach()
        return store


class TestRetriever(RetrieversIntegrationTests):
    """LangChain's suite for retrievers, over somebody's index."""

    @pytest.fixture(autouse=True)
    def _given(self, client: Elasticsearch, async_client: AsyncElasticsearch, attached: str) -> None:
        self.params = {
            "index": attached,
            "client": client,
            "async_client": async_client,
            "embedding": TinyEmbeddings(),
        }

    @property
    def retriever_constructor(self) -> type[EsSemanticRetriever]:
        return EsSemanticRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self.params

    @property
    def retriever_query_example(self) -> str:
        return "walking against the rain"


def test_a_store_makes_its_index_with_the_first_document(client: Elasticsearch, index: str) -> None:
    store = EsSemanticVectorStore(index, client=client, embedding=TinyEmbeddings())
    with pytest.raises(IndexUnavailable):
        store.similarity_search("boots")
    ids = store.add_texts(["red boots", "green hats"], [{"year": 2020, "tag": "2020-01-01"}, {"year": 1.5, "tag": "x"}])
    (found,) = store.similarity_search("boots", k=1)
    assert found == Document(id=ids[0], page_content="red boots", metadata={"year": 2020, "tag": "2020-01-01"})
    newest = {"range": {"year": {"gt": 1.2, "lt": 1.7}}}
    assert [each.id for each in store.similarity_search("boots", filter=newest)] == [ids[1]]
    assert [each.id for each in store.similarity_search("boots", filter=[{"term": {"tag": "x"}}])] == [ids[1]]


def test_the_index_that_is_made_belongs_to_everybody(client: Elasticsearch, index: str) -> None:
    store = EsSemanticVectorStore.from_texts(["red boots"], TinyEmbeddings(), index=index, client=client)
    client.index(index=index, id="theirs", document={"text": "green hats", "shop": "south"})
    es_semantic.sync(client, index, model=LangChainEmbedder(TinyEmbeddings()))
    client.indices.refresh(index=index)
    (found,) = store.similarity_search("green hats", k=1)
    assert found == Document(id="theirs", page_content="green hats", metadata={"shop": "south"})
    hits = es_semantic.search(client, index, "red boots", model=LangChainEmbedder(TinyEmbeddings())).hits
    assert hits[0].source == {"text": "red boots"}


def test_a_store_attaches_to_somebodys_index(client: Elasticsearch, articles: str) -> None:
    fields = ["title", "body"]
    store = EsSemanticVectorStore(articles, client=client, embedding=TinyEmbeddings(), text_fields=fields)
    with pytest.raises(NotAttached):
        store.similarity_search("boots")
    store.attach()
    (found,) = store.similarity_search("red boots for walking in the rain", k=1)
    assert found.page_content == "Red boots\nfor walking in the rain"
    assert found.metadata == {"shop": "north", "price": 40, "by": {"name": "Kim"}}
    assert store.get_by_ids(["1", "no"]) == [found]
    client.index(index=articles, id="5", document={"title": "Purple scarf", "body": "of wool"}, refresh=True)
    assert "5" not in {each.id for each in store.similarity_search("purple scarf of wool", k=10)}
    store.attach()
    assert store.similarity_search("purple scarf of wool", k=1)[0].id == "5"


def test_somebodys_index_is_not_attached_without_being_asked(client: Elasticsearch, articles: str) -> None:
    before = client.indices.get_mapping(index=articles).body
    store = EsSemanticVectorStore(articles, client=client, embedding=TinyEmbeddings(), text_fields=["title"])
    with pytest.raises(NotAttached):
        store.add_texts(["a text"])
    with pytest.raises(UsageError, match="hold the text"):
        EsSemanticVectorStore(articles, client=client, embedding=TinyEmbeddings()).attach()
    assert client.indices.get_mapping(index=articles).body == before
    assert client.count(index=articles)["count"] == len(ARTICLES)


def test_text_fields_are_those_of_the_binding(client: Elasticsearch, attached: str) -> None:
    store = EsSemanticVectorStore(attached, client=client, embedding=TinyEmbeddings())
    assert store.get_by_ids(["3"])[0].page_content == "Green hat\nagainst the sun"
    titles = EsSemanticVectorStore(attached, client=client, embedding=TinyEmbeddings(), text_fields=["title"])
    (hat,) = titles.get_by_ids(["3"])
    assert (hat.page_content, hat.metadata["body"]) == ("Green hat", "against the sun")
    with pytest.raises(UsageError, match="title, body"):
        store.add_texts(["where to?"])
    assert titles.add_texts(["Purple scarf"], ids=["5"]) == ["5"]
    assert store.get_by_ids(["5"])[0].page_content == "Purple scarf"
    shops = EsSemanticVectorStore(attached, client=client, embedding=TinyEmbeddings(), text_fields=["shop"])
    with pytest.raises(UsageError, match=r"'shop'.*not embedded"):
        shops.add_texts(["north"])


def test_a_field_within_an_object(client: Elasticsearch, make_index: MakeIndex) -> None:
    theirs = make_index({"page": {"properties": {"body": {"type": "text"}}}})
    fields = ["page.body"]
    store = EsSemanticVectorStore(theirs, client=client, embedding=TinyEmbeddings(), text_fields=fields)
    client.index(index=theirs, id="1", document={"page": {"body": "a hat", "number": 7}}, refresh=True)
    client.index(index=theirs, id="2", document={"page": {"body": "a boot"}, "shop": "x"}, refresh=True)
    store.attach()
    found = {each.id: each for each in store.similarity_search("hat")}
    assert (found["1"].page_content, found["1"].metadata) == ("a hat", {"page": {"number": 7}})
    assert found["2"].metadata == {"shop": "x"}
    store.add_texts(["a scarf"], [{"shop": "y"}], ids=["3"])
    assert store.get_by_ids(["3"]) == [Document(id="3", page_content="a scarf", metadata={"shop": "y"})]


def test_without_embeddings_the_bound_model_is_used(client: Elasticsearch, articles: str) -> None:
    """The real MiniLM finds what has no word in common with the query."""
    store = EsSemanticVectorStore(articles, client=client, text_fields=["title", "body"])
    store.attach()
    assert store.embeddings is None
    assert store.similarity_search("footwear", k=2, filter={"term": {"shop": "north"}})[0].id == "1"
    retriever = EsSemanticRetriever(index=articles, client=client, k=1)
    assert [each.id for each in retriever.invoke("protection from wet weather")] == ["4"]


def test_another_model_is_refused(client: Elasticsearch, attached: str) -> None:
    store = EsSemanticVectorStore(attached, client=client, embedding=TinyEmbeddings("another"))
    with pytest.raises(FingerprintMismatch):
        store.similarity_search("boots")


def test_scores_and_thresholds(client: Elasticsearch, attached: str) -> None:
    store = EsSemanticVectorStore(attached, client=client, embedding=TinyEmbeddings())
    scored = store.similarity_search_with_score("Green hat\nagainst the sun", k=4)
    scores = [score for _, score in scored]
    assert scored[0][0].id == "3"
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert scores == sorted(scores, reverse=True)
    assert store.similarity_search_with_relevance_scores("Green hat\nagainst the sun", k=4) == scored
    strict = {"score_threshold": 0.95, "k": 4}
    retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=strict)
    assert [each.id for each in retriever.invoke("Green hat\nagainst the sun")] == ["3"]
    with pytest.raises(UsageError, match="similarities"):
        store.similarity_search_with_relevance_scores("hat", mode="hybrid")


def test_modes_of_a_store(client: Elasticsearch, attached: str) -> None:
    store = EsSemanticVectorStore(attached, client=client, embedding=TinyEmbeddings())
    assert {each.id for each in store.similarity_search("rain", k=4, mode="bm25")} == {"1", "4"}
    assert len(store.similarity_search("rain", k=4)) == 4
    with pytest.raises(UsageError, match="takes no 'passages'"):
        store.similarity_search("rain", passages=1)


def test_diverse_documents(client: Elasticsearch, index: str) -> None:
    texts = ["red boots", "red boots too", "red hats", "purple scarf"]
    store = EsSemanticVectorStore.from_texts(
        texts, TinyEmbeddings(), [{"n": n} for n in range(4)], ids=list("0123"), index=index, client=client
    )
    assert [each.id for each in store.similarity_search("red boots", k=2)] == ["0", "1"]
    diverse = store.max_marginal_relevance_search("red boots", k=2, fetch_k=4, lambda_mult=0.0)
    assert "0" in {each.id for each in diverse}
    assert "1" not in {each.id for each in diverse}
    same = store.max_marginal_relevance_search("red boots", k=2, fetch_k=4, lambda_mult=1.0)
    assert same == store.similarity_search("red boots", k=2)
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "filter": {"range": {"n": {"gt": 1}}}})
    assert {each.id for each in retriever.invoke("red boots")} == {"2", "3"}


async def test_everything_asynchronously(async_client: AsyncElasticsearch, articles: str, index: str) -> None:
    """With an asynchronous client alone: whatever went another way would fail for want of the other."""
    store = await EsSemanticVectorStore.afrom_texts(
        ["red boots", "green hats"], TinyEmbeddings(), [{"n": 1}, {"n": 2}], ids=["a", "b"], index=index,
        async_client=async_client,
    )  # fmt: skip
    assert [each.id for each in await store.asimilarity_search("green hats", k=1)] == ["b"]
    assert (await store.asimilarity_search_with_relevance_scores("green hats", k=1))[0][1] > 0.99
    assert [each.id for each in await store.amax_marginal_relevance_search("green hats", k=1)] == ["b"]
    assert [each.metadata for each in await store.aget_by_ids(["a"])] == [{"n": 1}]
    assert await store.adelete(["a"])
    assert await store.aget_by_ids(["a"]) == []
    fields = ["title", "body"]
    theirs = EsSemanticVectorStore(articles, async_client=async_client, embedding=TinyEmbeddings(), text_fields=fields)
    await theirs.aattach()
    retriever = EsSemanticRetriever(index=articles, async_client=async_client, embedding=TinyEmbeddings(), k=1)
    assert [each.id for each in await retriever.ainvoke("Umbrella against the rain")] == ["4"]
    with pytest.raises(UsageError, match="synchronous client"):
        theirs.similarity_search("rain")


async def test_an_asynchronous_call_needs_its_own_client(client: Elasticsearch, attached: str) -> None:
    retriever = EsSemanticRetriever(index=attached, client=client, embedding=TinyEmbeddings())
    with pytest.raises(UsageError, match="asynchronous client"):
        await retriever.ainvoke("rain")
    with pytest.raises(UsageError, match="no client"):
        EsSemanticVectorStore(attached)


def test_what_a_retriever_tells(client: Elasticsearch, attached: str) -> None:
    asked = {"passages": 1, "highlight": True, "filter": {"term": {"shop": "north"}}}
    retriever = EsSemanticRetriever(
        index=[attached], client=client, embedding=TinyEmbeddings(), k=3, search_kwargs=asked
    )
    first, second = retriever.invoke("red boots")
    assert (first.id, second.id) == ("1", "4")
    assert first.metadata["shop"] == "north"
    told = first.metadata["es_semantic"]
    assert told["index"] == attached
    assert told["legs"]["bm25"]["rank"] == told["legs"]["knn"]["rank"] == 1
    assert told["legs"]["knn"]["score"] > 0.5
    assert set(second.metadata["es_semantic"]["legs"]) == {"knn"}
    assert told["score"] > second.metadata["es_semantic"]["score"]
    (passage,) = told["passages"]
    assert first.page_content[passage["start"] : passage["end"]] == passage["text"]
    assert told["highlights"]["title"] == ["<em>Red</em> <em>boots</em>"]
    (only,) = retriever.invoke("rain", k=1, mode="bm25", passages=0, highlight=False)
    assert set(only.metadata["es_semantic"]) == {"index", "score", "legs"}
    with pytest.raises(UsageError, match="takes no 'filters'"):
        retriever.invoke("rain", filters={})


def test_a_reranker_of_the_configuration(client: Elasticsearch, attached: str, tmp_path: Path) -> None:
    reranker = small_cross_encoder(tmp_path)
    config = Config(rerankers={"mine": CrossEncoderSettings(provider="cross-encoder", name=reranker, max_length=128)})
    south, model = {"term": {"shop": "south"}}, LangChainEmbedder(TinyEmbeddings())
    best = es_semantic.search(client, attached, "hat", filters=south, rerank="mine", config=config, model=model).hits
    retriever = EsSemanticRetriever(
        index=attached, client=client, embedding=TinyEmbeddings(), config=config, search_kwargs={"rerank": "mine"}
    )
    found = retriever.invoke("hat", filter=south)
    assert [each.id for each in found] == [hit.id for hit in best]
    assert [each.metadata["es_semantic"]["score"] for each in found] == pytest.approx([hit.score for hit in best])


def test_a_model_that_is_down(client: Elasticsearch, attached: str) -> None:
    retriever = EsSemanticRetriever(index=attached, client=client, embedding=Broken())
    with pytest.raises(ModelUnavailable, match="ConnectionError") as caught:
        retriever.invoke("secret umbrella")
    assert "secret" not in str(caught.value)
    degraded = retriever.invoke("secret umbrella", allow_degraded=True)
    assert [each.id for each in degraded] == ["4"]
    assert [each["leg"] for each in degraded[0].metadata["es_semantic"]["degraded"]] == ["knn"]


def test_what_cannot_be_written(client: Elasticsearch, index: str) -> None:
    store = EsSemanticVectorStore.from_texts(["first"], TinyEmbeddings(), index=index, client=client)
    with pytest.raises(UsageError, match="'semantic'"):
        store.add_texts(["second"], [{"semantic": 1}])
    with pytest.raises(UsageError, match="'text'"):
        store.add_texts(["second"], [{"text.raw": 1}])
    with pytest.raises(UsageError, match="JSON"):
        store.add_texts(["second"], [{"what": object()}])
    with pytest.raises(UsageError, match="2 ids for 1"):
        store.add_documents([Document(page_content="second")], ids=["1", "2"])
    with pytest.raises(UsageError, match="which documents"):
        store.delete()
    assert client.count(index=index)["count"] == 1
    store.add_texts(["a number"], [{"size": 7}])
    with pytest.raises(RequestFailed, match="refused 1 of 2 documents; 'bad'") as caught:
        store.add_texts(["good", "bad"], [{"size": 8}, {"size": "a secret size"}], ids=["good", "bad"])
    assert "secret" not in str(caught.value)
    assert [each.id for each in store.similarity_search("good", k=1)] == ["good"]
    assert store.get_by_ids(["bad"]) == []


def test_langchains_indexing_keeps_a_store_up_to_date(client: Elasticsearch, index: str) -> None:
    store = EsSemanticVectorStore(index, client=client, embedding=TinyEmbeddings())
    records = InMemoryRecordManager(namespace=index)
    records.create_schema()

    def indexed(*texts: str) -> dict[str, int]:
        documents = [Document(page_content=text, metadata={"source": "a file"}) for text in texts]
        counts: dict[str, int] = dict(
            langchain_index(documents, records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
        )
        return counts

    assert indexed("red boots", "green hat")["num_added"] == 2
    counts = indexed("red boots", "purple scarf")
    assert (counts["num_added"], counts["num_skipped"], counts["num_deleted"]) == (1, 1, 1)
    assert {each.page_content for each in store.similarity_search("scarf")} == {"red boots", "purple scarf"}


def test_more_documents_than_a_page(client: Elasticsearch, index: str) -> None:
    ids = [str(n) for n in range(1_100)]
    store = EsSemanticVectorStore.from_texts(
        [f"word{n}" for n in range(1_100)], TinyEmbeddings(), ids=ids, index=index, client=client
    )
    assert {each.id for each in store.get_by_ids(ids)} == set(ids)
    store.delete(ids[1:])
    assert [each.id for each in store.get_by_ids(ids)] == ["0"]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core.documents", None)
    monkeypatch.delitem(sys.modules, "es_semantic.integrations.langchain")
    with pytest.raises(MissingExtra) as caught:
        importlib.import_module("es_semantic.integrations.langchain")
    assert caught.value.hint == "pip install 'es-semantic[langchain]'"


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_models_of_one_name_are_kept_apart(client: Elasticsearch, index: str, order: tuple[str, str]) -> None:
    for name in order:
        store = EsSemanticVectorStore.from_texts(
            ["green hat", "a scarf"], TinyEmbeddings(name), index=f"{index}-{name}", client=client
        )
        assert store.similarity_search_with_score("green hat", k=1)[0][1] == pytest.approx(1.0, abs=1e-3)
