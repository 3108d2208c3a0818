"""A part of a query fails: the answer is right for what is left and names what is missing, or there is an error."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.config import Config, CrossEncoderSettings
from es_semantic.errors import (
    Forbidden,
    IndexUnavailable,
    InputRejected,
    InvalidRetriever,
    ModelUnavailable,
    RequestFailed,
    RerankerError,
    RerankerUnavailable,
    Unreachable,
)
from tests.faults.exchange import Exchange
from tests.faults.models import ModelServer, model_server, score
from tests.faults.proxy import BlackHole, FaultProxy, Reset, Rule, TooMany, ends, every
from tests.nodes import MakeIndex

Json = dict[str, Any]

TITLES = {"1": "old oak", "2": "raised beds", "3": "old raised wall", "4": "oak wall", "5": "soft water"}
OLD: Json = {"standard": {"query": {"match": {"title": "old"}}}}
WALL: Json = {"standard": {"query": {"match": {"title": "wall"}}, "_name": "walls"}}
COUNT: Json = {"n": {"value_count": {"field": "_index"}}}
WATER: Json = {"standard": {"query": {"match": {"title": "water"}}}}


@dataclass
class Scene:
    """An index, and a client that reaches the node through the proxy."""

    through: Elasticsearch
    index: str
    models: ModelServer
    config: Config

    def retrieve(self, tree: Json, **more: Any) -> Json:
        return es_semantic.retrieve(self.through, self.index, retriever=tree, config=self.config, **more)


@pytest.fixture
def models() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def scene(client: Elasticsearch, through: Elasticsearch, make_index: MakeIndex, models: ModelServer) -> Scene:
    name = make_index({"title": {"type": "text"}}, documents={key: {"title": title} for key, title in TITLES.items()})
    config = Config(models={"tiny": models.embedding}, rerankers={"words": models.reranking})
    es_semantic.attach(client, name, ["title"], model=models.embedding)
    es_semantic.sync(client, name, model=models.embedding)
    scene = Scene(through, name, models, config)
    # What the client asks once is asked before anything breaks.
    scene.retrieve(rrf(OLD, WALL))
    models.asked.clear()
    return scene


def rrf(*retrievers: Json, **more: Any) -> Json:
    return {"rrf": {"retrievers": list(retrievers), **more}}


def by_meaning(text: str, **more: Any) -> Json:
    builder = {"text_embedding": {"model_text": text}}
    return {"knn": {"field": "semantic.vector", "query_vector_builder": builder, "k": 5, "num_candidates": 10, **more}}


def reranked(retriever: Json, **more: Any) -> Json:
    tree = {"retriever": retriever, "field": "title", "inference_id": "words", "inference_text": "oak wall", **more}
    return {"text_similarity_reranker": tree}


def ids(answer: Json) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def missing(answer: Json) -> list[str]:
    return [each["leg"] for each in answer.get("es_semantic", {}).get("degraded", [])]


def unheard() -> str:
    """A text that nobody has embedded yet: vectors of others are remembered."""
    return uuid.uuid4().hex


FAULTS = ["refuse", "hang", "gone"]


def breaks(models: ModelServer, fault: str) -> None:
    if fault == "gone":
        models.server_close()
    else:
        models.fault = fault


class TestEmbedder:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_down_leaves_what_the_words_find(self, scene: Scene, fault: str) -> None:
        breaks(scene.models, fault)
        text = unheard()
        tree = rrf(OLD, by_meaning(text), by_meaning(text, _name="meaning"))
        answer = scene.retrieve(tree, allow_degraded=True, deadline=0.5, aggs=COUNT)
        assert ids(answer) == ids(scene.retrieve(rrf(OLD))) == ["1", "3"]
        assert [hit["_score"] for hit in answer["hits"]["hits"]] == pytest.approx([1 / 61, 1 / 62])
        assert missing(answer) == ["rrf.retrievers[1].knn", "meaning"]
        assert answer["aggregations"]["n"]["value"] == 2
        # Both legs want the same text: it was asked for once.
        assert len(scene.models.asked) == (0 if fault == "gone" else 1)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_down_is_an_error_unless_it_is_allowed(self, scene: Scene, fault: str) -> None:
        breaks(scene.models, fault)
        with pytest.raises(ModelUnavailable, match="not embedded within" if fault == "hang" else "embeddings|server"):
            scene.retrieve(rrf(OLD, by_meaning(unheard())), deadline=0.5)

    def test_a_text_that_the_model_refuses_leaves_what_the_words_find(self, scene: Scene) -> None:
        scene.models.fault = "reject"
        tree = rrf(OLD, by_meaning(unheard()))
        answer = scene.retrieve(tree, allow_degraded=True)
        assert (ids(answer), missing(answer)) == (["1", "3"], ["rrf.retrievers[1].knn"])
        with pytest.raises(InputRejected):
            scene.retrieve(tree)
        options: Json = {"model": scene.models.embedding, "allow_degraded": True}
        found = es_semantic.search(scene.through, scene.index, f"old {unheard()}", **options)
        assert ([hit.id for hit in found.hits], [each.leg for each in found.degraded]) == (["1", "3"], ["knn"])

    def test_down_with_nothing_else_to_find_is_an_error(self, scene: Scene) -> None:
        scene.models.fault = "refuse"
        one, two = by_meaning(unheard()), by_meaning(unheard())
        for tree in (one, rrf(one), rrf(one, two)):
            with pytest.raises(ModelUnavailable):
                scene.retrieve(tree, allow_degraded=True)

    def test_down_leaves_diversity_without_a_query(self, scene: Scene) -> None:
        scene.models.fault = "refuse"
        builder = {"text_embedding": {"model_text": unheard()}}
        options = {"type": "mmr", "field": "semantic.vector", "lambda": 0.5, "query_vector_builder": builder}
        tree = {"diversify": {"retriever": OLD, **options}}
        answer = scene.retrieve(tree, allow_degraded=True)
        assert (ids(answer), missing(answer)) == (["1", "3"], ["diversify"])

    async def test_down_for_an_asynchronous_client(self, scene: Scene, node_url: str) -> None:
        scene.models.fault = "hang"
        async with AsyncElasticsearch(node_url) as client:
            tree = rrf(OLD, by_meaning(unheard()))
            options: Json = {"config": scene.config, "deadline": 0.5}
            answer = await es_semantic.retrieve(client, scene.index, retriever=tree, allow_degraded=True, **options)
            assert (ids(answer), missing(answer)) == (["1", "3"], ["rrf.retrievers[1].knn"])
            with pytest.raises(ModelUnavailable):
                await es_semantic.retrieve(client, scene.index, retriever=tree, **options)


@dataclass(frozen=True)
class RejectSearches:
    """Answer searches of an ``_msearch`` for which ``choose(position)`` is true as a node without memory does."""

    choose: Callable[[int], bool]
    status: int = 429

    async def apply(self, exchange: Exchange) -> None:
        reply = await exchange.forward()
        answer = json.loads(reply.content)
        error = {"type": "circuit_breaking_exception", "reason": "[parent] Data too large", "durability": "TRANSIENT"}
        for position in range(len(answer["responses"])):
            if self.choose(position):
                answer["responses"][position] = {"error": {"root_cause": [error], **error}, "status": self.status}
        await exchange.answer(HTTPStatus.OK, answer)


def leaves_only(_method: str, path: str, body: bytes) -> bool:
    """Whether these are the leaves' searches, which come before the page."""
    return path.endswith("/_msearch") and b"_shard_doc" in body


class TestLeaf:
    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_one_that_fails_leaves_the_others(self, scene: Scene, proxy: FaultProxy, status: int) -> None:
        proxy.add(Rule(RejectSearches(lambda position: position == 1, status), when=leaves_only))
        tree = rrf(OLD, WALL, WATER)
        aggs = {
            "titles": {"filters": {"filters": {"wall": WALL["standard"]["query"], "old": OLD["standard"]["query"]}}}
        }
        answer = scene.retrieve(tree, allow_degraded=True, aggs=aggs, highlight={"fields": {"title": {}}})
        # 4 has a wall and nothing else: who looked for walls has failed.
        assert ids(answer) == ["1", "5", "3"]
        assert missing(answer) == ["walls"]
        assert answer["hits"]["total"]["value"] == 3
        assert answer["aggregations"]["titles"]["buckets"]["wall"]["doc_count"] == 1
        assert "Data too large" in answer["es_semantic"]["degraded"][0]["reason"]
        with pytest.raises(RequestFailed, match="Data too large") as caught:
            scene.retrieve(tree)
        assert caught.value.status == status

    def test_all_that_fail_are_an_error(self, scene: Scene, proxy: FaultProxy) -> None:
        proxy.add(Rule(RejectSearches(lambda _: True), when=leaves_only))
        with pytest.raises(RequestFailed, match="Data too large"):
            scene.retrieve(rrf(OLD, WALL), allow_degraded=True)

    def test_one_that_fails_below_others(self, scene: Scene, proxy: FaultProxy) -> None:
        """Weights and normalizers stay with their retrievers; what is over the failed one has failed as well."""
        proxy.add(Rule(RejectSearches(lambda position: position == 0), when=leaves_only))
        rescore = {"window_size": 10, "query": {"rescore_query": {"match_all": {}}}}
        entries = [
            {"retriever": {"rescorer": {"retriever": OLD, "rescore": rescore}}, "weight": 5},
            {"retriever": WALL, "weight": 2, "normalizer": "minmax"},
        ]
        answer = scene.retrieve({"linear": {"retrievers": entries}}, allow_degraded=True)
        assert {hit["_id"]: hit["_score"] for hit in answer["hits"]["hits"]} == {"4": 2.0, "3": 1.4e-45}
        assert missing(answer) == ["linear.retrievers[0].retriever.rescorer.retriever.standard"]
        proxy.clear()
        proxy.add(Rule(RejectSearches(lambda position: position == 1), when=leaves_only))
        pinned = {"pinned": {"ids": ["2"], "retriever": OLD}}
        answer = scene.retrieve(pinned, allow_degraded=True)
        assert (ids(answer), missing(answer)) == (["2"], ["pinned.retriever.standard"])

    def test_the_page_must_come(self, scene: Scene, proxy: FaultProxy) -> None:
        pages = every(2)
        proxy.add(Rule(RejectSearches(lambda _: True), when=ends("/_msearch"), often=pages))
        with pytest.raises(RequestFailed, match="Data too large"):
            scene.retrieve(rrf(OLD, WALL), allow_degraded=True)

    @pytest.mark.parametrize(("action", "error"), [(TooMany(), RequestFailed), (Reset(), Unreachable)])
    def test_a_node_that_refuses_everything_is_an_error(
        self, scene: Scene, proxy: FaultProxy, action: Any, error: type[Exception]
    ) -> None:
        proxy.add(Rule(action, when=ends("/_msearch")))
        for allowed in (True, False):
            with pytest.raises(error):
                scene.retrieve(rrf(OLD, WALL), allow_degraded=allowed)

    def test_a_node_that_does_not_answer_is_an_error(self, scene: Scene, proxy: FaultProxy) -> None:
        proxy.add(Rule(BlackHole(), when=ends("/_msearch")))
        impatient = scene.through.options(request_timeout=0.5)
        with pytest.raises(Unreachable):
            es_semantic.retrieve(impatient, scene.index, retriever=rrf(OLD, WALL), allow_degraded=True)

    def test_one_that_is_too_slow(self, scene: Scene, client: Elasticsearch) -> None:
        operations: list[Json] = []
        for number in range(3000):
            operations += [{"index": {"_id": f"more {number}"}}, {"title": "slow"}]
        client.bulk(index=scene.index, operations=operations, refresh=True)
        source = "double sum = 0; for (int i = 0; i < 40000; i++) { sum += Math.sin(i) } return Math.abs(sum)"
        scripted = {"query": {"match": {"title": "slow"}}, "script": {"source": source}}
        slow = {"standard": {"query": {"script_score": scripted}, "_name": "slow"}}
        tree = rrf(OLD, slow)
        answer = scene.retrieve(tree, deadline=0.5, allow_degraded=True)
        assert (ids(answer), missing(answer)) == (["1", "3"], ["slow"])
        with pytest.raises(RequestFailed, match=r"slow|[Tt]ime"):
            scene.retrieve(tree, deadline=0.5)
        # A leaf alone: what was found in time is told to be a part, or nothing is told.
        assert missing(scene.retrieve(slow, deadline=0.5, allow_degraded=True)) == ["slow"]
        with pytest.raises(RequestFailed, match=r"slow: not answered within 0\.5 seconds"):
            scene.retrieve(slow, deadline=0.5)
        # By Elasticsearch's own option it answers as an ordinary search does.
        assert scene.retrieve(slow, timeout="500ms")["timed_out"]
        assert missing(scene.retrieve(tree, timeout="500ms", allow_degraded=True)) == ["slow"]
        with pytest.raises(RequestFailed, match="slow: not answered within 500ms"):
            scene.retrieve(tree, timeout="500ms")


class TestReranker:
    @pytest.mark.parametrize("fault", [*FAULTS, "few"])
    def test_down_leaves_the_order_that_came_in(self, scene: Scene, fault: str) -> None:
        tree = reranked(rrf(OLD, WALL))
        expected = scene.retrieve(rrf(OLD, WALL))
        whole = scene.retrieve(tree)
        said = [score("oak wall", TITLES[doc_id]) for doc_id in ids(whole)]
        assert said == sorted(said, reverse=True)
        breaks(scene.models, fault)
        with pytest.raises(RerankerError if fault == "few" else RerankerUnavailable):
            scene.retrieve(tree, deadline=0.5)
        for options in ({"allow_degraded": True}, {}):
            allowed = tree if options else reranked(rrf(OLD, WALL), allow_rerank_failures=True)
            answer = scene.retrieve(allowed, deadline=0.5, **options)
            assert ids(answer) == ids(expected)
            # As in Elasticsearch: 1/rank.
            ranks = range(1, len(ids(answer)) + 1)
            assert [hit["_score"] for hit in answer["hits"]["hits"]] == pytest.approx([1 / rank for rank in ranks])
            assert missing(answer) == ["text_similarity_reranker"]

    def test_a_model_that_cannot_be_loaded(self, scene: Scene) -> None:
        gone = CrossEncoderSettings(provider="cross-encoder", name="no/such-model", offline=True)
        config = scene.config.model_copy(update={"rerankers": {"words": gone}})
        tree = reranked(rrf(OLD, WALL))
        with pytest.raises(RerankerUnavailable, match="no/such-model"):
            es_semantic.retrieve(scene.through, scene.index, retriever=tree, config=config)
        answer = es_semantic.retrieve(
            scene.through, scene.index, retriever=tree, config=config, allow_degraded=True, deadline=5
        )
        assert (ids(answer), missing(answer)) == (ids(scene.retrieve(rrf(OLD, WALL))), ["text_similarity_reranker"])

    def test_equal_scores_keep_the_order_that_came_in(self, scene: Scene) -> None:
        tree = reranked(rrf(OLD, WALL), inference_text="nobody writes this")
        assert ids(scene.retrieve(tree)) == ids(scene.retrieve(rrf(OLD, WALL)))


class TestRescorer:
    def test_down_leaves_the_order_that_came_in(self, scene: Scene, proxy: FaultProxy) -> None:
        rescore = {"window_size": 10, "query": {"rescore_query": {"match": {"title": "wall"}}}}
        tree = {"rescorer": {"retriever": rrf(OLD, WALL), "rescore": rescore}}
        proxy.add(Rule(TooMany(), when=ends(f"{scene.index}/_search")))
        answer = scene.retrieve(tree, allow_degraded=True, execution="client")
        assert (ids(answer), missing(answer)) == (ids(scene.retrieve(rrf(OLD, WALL))), ["rescorer"])
        with pytest.raises(RequestFailed):
            scene.retrieve(tree, execution="client")


class TestWhatIsNeverDegraded:
    """What was asked is wrong: that stays so however often it is tried."""

    @pytest.mark.parametrize(
        ("tree", "path"),
        [
            (rrf(OLD, {"standard": {"query": {"mtach": {"title": "old"}}}}), "rrf.retrievers[1].standard"),
            (
                rrf(OLD, {"knn": {"field": "semantic.vector", "query_vector": [1, 2], "k": 1, "num_candidates": 1}}),
                "rrf.retrievers[1].knn",
            ),
            (rrf(OLD, filter={"term": {"title": {"valeu": "old"}}}), "rrf.retrievers[0].standard"),
            (
                {
                    "rescorer": {
                        "retriever": rrf(OLD),
                        "rescore": {"window_size": 5, "query": {"rescore_query": {"mtach": {"title": "old"}}}},
                    }
                },
                "rescorer",
            ),
            (
                {
                    "diversify": {
                        "retriever": rrf(OLD),
                        "type": "mmr",
                        "field": "semantic.vector",
                        "lambda": 0.5,
                        "query_vector": [1, 2],
                    }
                },
                "diversify.query_vector",
            ),
        ],
        ids=["query", "dimensions", "filter", "rescore_query", "query_vector"],
    )
    def test_a_wrong_tree(self, scene: Scene, tree: Json, path: str) -> None:
        for allowed in (True, False):
            with pytest.raises(InvalidRetriever) as caught:
                scene.retrieve(tree, allow_degraded=allowed, execution="client")
            assert caught.value.path == path
            assert caught.value.type

    def test_a_wrong_page(self, scene: Scene) -> None:
        pages: list[Json] = [{"aggs": {"n": {"trems": {}}}}, {"highlight": {"fields": {"title": {"tpye": 1}}}}]
        for page in pages:
            with pytest.raises(InvalidRetriever, match=r"trems|tpye"):
                scene.retrieve(rrf(OLD), allow_degraded=True, **page)

    def test_an_index_that_is_not_there(self, scene: Scene) -> None:
        with pytest.raises(IndexUnavailable):
            es_semantic.retrieve(scene.through, f"{scene.index}-no", retriever=rrf(OLD), allow_degraded=True)
        both = f"{scene.index},{scene.index}-no"
        options: Json = {"allow_degraded": True, "ignore_unavailable": True}
        assert ids(es_semantic.retrieve(scene.through, both, retriever=rrf(OLD), **options)) == ["1", "3"]

    def test_a_closed_index(self, scene: Scene, client: Elasticsearch) -> None:
        client.indices.close(index=scene.index)
        with pytest.raises(IndexUnavailable):
            scene.retrieve(rrf(OLD), allow_degraded=True)

    def test_an_inference_endpoint_that_is_not_there(self, scene: Scene) -> None:
        """Nor may this licence use one."""
        tree = reranked(rrf(OLD), inference_id="no such endpoint")
        with pytest.raises((RequestFailed, Forbidden, IndexUnavailable)) as caught:
            scene.retrieve(tree, allow_degraded=True)
        assert caught.value.status in (403, 404)
        assert "No reranker 'no such endpoint' is configured" in caught.value.hint
        forgiven = scene.retrieve(reranked(rrf(OLD), inference_id="no such endpoint", allow_rerank_failures=True))
        assert (ids(forgiven), missing(forgiven)) == (["1", "3"], ["text_similarity_reranker"])
