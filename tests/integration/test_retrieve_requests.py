"""What a query costs: how many requests, how many calls of a model, and what travels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.memory import memory_of
from es_semantic.embedding import Embeddings
from es_semantic.retrieval import query_vectors
from es_semantic.retrieval.query_vectors import query_vector
from es_semantic.schema import lookup
from tests.embedder import TinyEmbedder
from tests.integration.test_retrieve_documentation import BOTH, NEAREST, WORDS, garden
from tests.nodes import MakeIndex
from tests.recording import Exchanged, recording_client

__all__ = ["garden"]

Json = dict[str, Any]


class Counting(TinyEmbedder):
    """Counts the texts of queries."""

    def __init__(self, name: str = "tiny") -> None:
        super().__init__(name)
        self.queries: list[str] = []

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        self.queries += texts
        return super().embed_queries(texts)


@pytest.fixture
def recorded(node_url: str) -> Iterator[tuple[Elasticsearch, list[Exchanged]]]:
    client, exchanged = recording_client(node_url)
    with client:
        yield client, exchanged


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """No vector of a query is remembered yet."""
    monkeypatch.setattr(query_vectors, "_REMEMBERED", type(query_vectors._REMEMBERED)())


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    name = make_index({"title": {"type": "text"}}, documents={"1": {"title": "old oak"}, "2": {"title": "ferns"}})
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    es_semantic.sync(client, name, model=TinyEmbedder())
    return name


def asked(exchanged: list[Exchanged]) -> list[str]:
    return [each.path.rpartition("/")[2] for each in exchanged]


def by_text(text: str, **more: Any) -> Json:
    builder = {"text_embedding": {"model_text": text}}
    knn = {"field": "semantic.vector", "query_vector_builder": builder, "k": 5, "num_candidates": 10, **more}
    return {"knn": knn}


def test_one_request_for_all_leaves_and_one_for_the_page(
    recorded: tuple[Elasticsearch, list[Exchanged]], garden: str
) -> None:
    client, exchanged = recorded
    es_semantic.retrieve(client, garden, retriever=BOTH)
    # Whether the cluster may fuse, and how it sorts, is asked for once.
    assert sorted(asked(exchanged)[:-2]) == ["_search", "_search"]
    for more in ({}, {"aggs": {"n": {"max": {"field": "year"}}}}, {"collapse": {"field": "year"}}, {"explain": True}):
        exchanged.clear()
        es_semantic.retrieve(client, garden, retriever=BOTH, **more)
        assert asked(exchanged) == ["_msearch", "_msearch"]
        assert len(exchanged[0].lines) == 4
    exchanged.clear()
    es_semantic.retrieve(client, garden, retriever=WORDS)
    assert asked(exchanged) == ["_search"]


def test_another_shape_of_tree_is_tried_once_and_another_query_of_a_shape_is_not(
    recorded: tuple[Elasticsearch, list[Exchanged]], garden: str
) -> None:
    def tree(word: str, **more: Any) -> Json:
        rescore = {"window_size": 10, "query": {"rescore_query": {"match": {"text": word}}}}
        retriever: Json = {"standard": {"query": {"match": {"text": word}}}}
        diverse = {"retriever": {"rescorer": {"retriever": retriever, "rescore": rescore}}, **more}
        return {"diversify": {"type": "mmr", "field": "vector", "lambda": 0.5, **diverse}}

    client, exchanged = recorded
    es_semantic.retrieve(client, garden, retriever=tree("oak", query_vector=[1, 0, 0]))
    assert asked(exchanged) == ["_search", "_search"]
    exchanged.clear()
    es_semantic.retrieve(client, garden, retriever=tree("ferns", query_vector=[0, 0.5, 0]))
    assert asked(exchanged) == ["_search"]
    for word in ("oak", "ferns"):
        exchanged.clear()
        pinned = {"pinned": {"ids": ["1", word], "retriever": tree(word), "rank_window_size": 5}}
        reranked = {"retriever": pinned, "field": "text", "inference_text": word, "rank_window_size": 5}
        # The endpoint does not exist: what is counted is what was asked before.
        with pytest.raises(es_semantic.EsSemanticError):
            es_semantic.retrieve(client, garden, retriever={"text_similarity_reranker": reranked})
        probes = [each for each in exchanged if "probe" in each.path]
        assert len(probes) == (1 if word == "oak" else 0)


def test_leaves_bring_ids_and_scores_and_no_documents(
    recorded: tuple[Elasticsearch, list[Exchanged]], garden: str
) -> None:
    client, exchanged = recorded
    es_semantic.retrieve(client, garden, retriever=BOTH)
    leaves, page = exchanged[-2:]
    for body in leaves.lines[1::2]:
        assert (body["_source"], body["track_total_hits"]) == (False, False)
        assert body.keys() <= {"size", "_source", "track_total_hits", "sort", "query", "knn"}
    answer = orjson.loads(leaves.answer)
    assert answer.keys() == {"responses"}
    for response in answer["responses"]:
        assert response.keys() <= {"hits", "status", "timed_out"}
        assert response["hits"].keys() == {"hits"}
        assert all(hit.keys() == {"_index", "_id", "_score", "sort"} for hit in response["hits"]["hits"])
    assert len(leaves.answer) < 200 * 5
    # The page fetches its own documents and no others.
    es_semantic.retrieve(client, garden, retriever=BOTH, size=1, track_total_hits=False)
    (response,) = orjson.loads(exchanged[-1].answer)["responses"]
    assert [hit["_id"] for hit in response["hits"]["hits"]] == ["1"]
    assert "_source" in page.answer.decode()


def test_what_a_retriever_above_reads_comes_with_its_leaves_alone(
    recorded: tuple[Elasticsearch, list[Exchanged]], garden: str
) -> None:
    diverse = {"retriever": BOTH, "type": "mmr", "field": "vector", "lambda": 0.5, "rank_window_size": 10}
    tree = {"rrf": {"retrievers": [{"diversify": diverse}, WORDS], "rank_window_size": 10}}
    client, exchanged = recorded
    es_semantic.retrieve(client, garden, retriever=tree)
    bodies = exchanged[-2].lines[1::2]
    assert [body.get("fields") for body in bodies] == [["vector"], ["vector"], None]
    responses = orjson.loads(exchanged[-2].answer)["responses"]
    assert all(hit["fields"].keys() == {"vector"} for hit in responses[0]["hits"]["hits"])
    assert all("fields" not in hit for hit in responses[2]["hits"]["hits"])


def test_inner_hits_are_not_computed_for_leaves(recorded: tuple[Elasticsearch, list[Exchanged]], garden: str) -> None:
    grouped = {"standard": {**WORDS["standard"], "collapse": {"field": "year", "inner_hits": {"name": "same"}}}}
    client, exchanged = recorded
    es_semantic.retrieve(client, garden, retriever={"rrf": {"retrievers": [grouped, NEAREST]}})
    assert exchanged[-2].lines[1]["collapse"] == {"field": "year"}


@pytest.mark.usefixtures("forgetful")
def test_a_text_is_embedded_once_for_each_model(client: Elasticsearch, index: str) -> None:
    model = Counting()
    tree = {"rrf": {"retrievers": [by_text("old oak"), by_text("old oak", k=1), by_text("ferns")]}}
    for _ in range(3):
        es_semantic.retrieve(client, index, retriever=tree, model=model)
    assert model.queries == ["old oak", "ferns"]
    other = Counting("other")
    query_vector(other, "ferns")
    query_vector(model, "ferns")
    assert (other.queries, model.queries) == (["ferns"], ["old oak", "ferns"])


@pytest.mark.usefixtures("forgetful")
def test_the_vectors_of_a_thousand_texts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_vectors, "MAX_REMEMBERED", 3)
    model = Counting()
    for text in ["a", "b", "c", "a", "d", "a", "b"]:
        query_vector(model, text)
    # The one that was not asked for longest has made way.
    assert model.queries == ["a", "b", "c", "d", "b"]


def test_nothing_is_asked_twice_within_two_seconds(
    recorded: tuple[Elasticsearch, list[Exchanged]], index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, exchanged = recorded
    tree = {"rrf": {"retrievers": [by_text("old oak"), {"standard": {"query": {"match": {"title": "oak"}}}}]}}
    assert lookup.SECONDS == 2
    for seconds, mappings in ((600.0, [1, 0, 0]), (0.0, [1, 1, 1])):
        monkeypatch.setattr(lookup, "SECONDS", seconds)
        memory_of(client).clear()
        for count in mappings:
            exchanged.clear()
            es_semantic.retrieve(client, index, retriever=tree, model=TinyEmbedder())
            assert asked(exchanged).count("_mapping") == count
            assert asked(exchanged)[-2:] == ["_msearch", "_msearch"]
        assert len(exchanged) == 2 + mappings[-1]


def test_a_change_of_the_mapping_is_seen_after_attaching(client: Elasticsearch, make_index: MakeIndex) -> None:
    name = make_index({"title": {"type": "text"}}, documents={"1": {"title": "old oak"}})
    with pytest.raises(es_semantic.EsSemanticError, match="not the vector of a semantic field"):
        es_semantic.retrieve(client, name, retriever=by_text("oak"), model=TinyEmbedder())
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    assert es_semantic.retrieve(client, name, retriever=by_text("oak"), model=TinyEmbedder())["hits"]["hits"] == []


def test_every_search_of_a_query_asks_the_same_copies_for_all_that_there_is(
    recorded: tuple[Elasticsearch, list[Exchanged]], garden: str
) -> None:
    """Copies of a shard may score and order alike documents otherwise, and may not have seen the same refresh."""
    rescore = {"window_size": 10, "query": {"rescore_query": {"match": {"text": "oak"}}}}
    tree = {"rescorer": {"retriever": BOTH, "rescore": rescore}}
    client, exchanged = recorded
    for page in ({}, {"size": 2, "from_": 1}, {"aggs": {"n": {"max": {"field": "year"}}}}):
        es_semantic.retrieve(client, garden, retriever=tree, **page)
    headers = [line for each in exchanged if each.path == "/_msearch" for line in each.lines[::2]]
    assert {header["allow_partial_search_results"] for header in headers} == {"false"}
    (copies,) = {header["preference"] for header in headers}
    es_semantic.retrieve(client, garden, retriever=BOTH)
    assert exchanged[-1].lines[0]["preference"] != copies
    es_semantic.retrieve(client, garden, retriever=BOTH, preference="_local", routing="1", expand_wildcards="open")
    for each in exchanged[-2:]:
        header = each.lines[0]
        assert (header["preference"], header["routing"], header["expand_wildcards"]) == ("_local", "1", "open")
