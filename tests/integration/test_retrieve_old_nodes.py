"""Trees on the oldest versions of Elasticsearch that are supported: the answer is that of 9.x.

Neither knows ``_shard_doc`` outside of a point in time, nor the retrievers ``rescorer``, ``linear``, ``pinned`` and
``diversify``; what these do is done here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import InvalidQuery, InvalidRetriever
from tests.nodes import remove_everything
from tests.old_nodes import CARRIERS, ask, old_node
from tests.retrieval_corpus import PROPERTIES, WORDS

Json = dict[str, Any]

# Not quantized, and searched as a graph: 8.14 knows no other kind that is exact.
VECTOR: Json = {"type": "dense_vector", "dims": 3, "similarity": "l2_norm", "index_options": {"type": "flat"}}

WITHOUT_VECTORS: Json = {"excludes": ["vector"]}
RED: Json = {"standard": {"query": {"match": {"title": {"query": "red", "_name": "in titles"}}}, "_name": "red"}}
APPLE: Json = {"standard": {"query": {"match": {"body": "apple"}}, "filter": {"range": {"n": {"lte": 7}}}}}
BY_N: Json = {"standard": {"query": {"match_all": {}}, "sort": [{"n": "desc"}]}}
NEAREST: Json = {"knn": {"field": "vector", "query_vector": [1, 1, 1], "k": 15, "num_candidates": 60}}
OF_PEARS: Json = {
    "standard": {
        "query": {"nested": {"path": "comments", "query": {"match": {"comments.text": "pear"}}, "inner_hits": {}}}
    }
}
RESCORE: Json = {"window_size": 20, "query": {"rescore_query": {"match": {"title": "apple"}}}}


def rrf(*retrievers: Json, **more: Any) -> Json:
    return {"rrf": {"retrievers": list(retrievers), "rank_window_size": 20, **more}}


def rescored(retriever: Json) -> Json:
    return {"rescorer": {"retriever": retriever, "rescore": RESCORE}}


MMR: Json = {"type": "mmr", "field": "vector", "lambda": 0.5, "rank_window_size": 20, "size": 8}
LINEAR: Json = {
    "linear": {
        "retrievers": [
            {"retriever": RED, "weight": 2, "normalizer": "minmax"},
            {"retriever": NEAREST, "normalizer": "l2_norm"},
        ],
        "rank_window_size": 20,
    }
}
TREES: dict[str, Json] = {
    "standard": RED,
    "knn": NEAREST,
    "rrf": rrf(RED, APPLE, NEAREST),
    "filtered": rrf(RED, APPLE, NEAREST, filter={"term": {"tag": "a"}}),
    "sorted": rrf(BY_N, RED),
    "linear": LINEAR,
    "rescored": rescored(RED),
    "rescored nearest": rescored(NEAREST),
    "rescored fusion": rescored(rrf(RED, NEAREST)),
    "pinned": {"pinned": {"ids": ["7", "3"], "retriever": rrf(RED, APPLE), "rank_window_size": 20}},
    "diversified": {"diversify": {"retriever": NEAREST, **MMR}},
    "nested": rrf(OF_PEARS, RED),
}
BEST: Json = {"top_hits": {"size": 1, "_source": ["n"]}}
PAGES: dict[str, Json] = {
    "plain": {"size": 10, "from_": 3},
    "groups": {"size": 3, "collapse": {"field": "tag", "inner_hits": {"name": "same", "size": 2, "_source": ["n"]}}},
    "facets": {"size": 5, "aggs": {"tags": {"terms": {"field": "tag"}, "aggs": {"best": BEST}}}},
    "highlights": {"size": 5, "highlight": {"fields": {"title": {}}}, "source": ["n"], "fields": ["t*"]},
    "filtered": {"size": 5, "post_filter": {"range": {"n": {"gte": 5}}}},
}


@dataclass(frozen=True)
class Node:
    """A node, and an index of documents that score alike."""

    client: Elasticsearch
    index: str

    def fill(self) -> None:
        properties = {name: PROPERTIES[name] for name in ("title", "body", "n", "tag", "comments")} | {"vector": VECTOR}
        settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}
        ask(self.client, "PUT", f"/{self.index}", {"mappings": {"properties": properties}, "settings": settings})
        lines: list[Json] = []
        for number in range(90):
            words = [WORDS[(number * step + number // 7) % len(WORDS)] for step in (1, 2, 3, 5)]
            source: Json = {"title": " ".join(words[:2]), "body": " ".join(words), "n": number % 10}
            source |= {"tag": "abcde"[number % 5], "comments": [{"text": words[3], "stars": 1}]}
            source |= {"vector": [number % 3, number % 4, number % 5]} if number % 6 else {}
            routing = {"routing": "x"} if number % 11 == 0 else {}
            lines += [{"index": {"_id": str(number), **routing}}, source]
        body = [orjson.dumps(line) for line in lines]
        assert not ask(self.client, "POST", f"/{self.index}/_bulk", body, refresh="true")["errors"]

    def retrieve(self, tree: Json, **page: Any) -> Json:
        # Before 9.2 vectors are part of what comes.
        answer = es_semantic.retrieve(self.client, self.index, retriever=tree, **{"source": WITHOUT_VECTORS, **page})
        return {name: value for name, value in answer.items() if name in ("hits", "aggregations")}


@pytest.fixture(scope="module")
def newest(client: Elasticsearch) -> Iterator[Node]:
    node = Node(client, f"test-{uuid.uuid4().hex[:12]}")
    try:
        node.fill()
        yield node
    finally:
        remove_everything(client, node.index)


@pytest.fixture(scope="module", params=CARRIERS)
def old(request: pytest.FixtureRequest, newest: Node) -> Iterator[Node]:
    """A node of an older version, which is thrown away afterwards, with an index of the same name."""
    with old_node(request.param) as url, Elasticsearch(url, request_timeout=60) as client:
        node = Node(client, newest.index)
        node.fill()
        yield node


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("tree", [tree for tree in TREES if tree not in ("standard", "knn")])
def test_the_answer_is_that_of_the_newest_version(old: Node, newest: Node, tree: str, page: str) -> None:
    answers = [node.retrieve(TREES[tree], execution="client", **PAGES[page]) for node in (old, newest)]
    assert answers[0]["hits"]["hits"]
    assert rounded(answers[0]) == rounded(answers[1])


def rounded(value: Any) -> Any:
    """Versions differ in the last digits of a score."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items() if name != "matched_queries"}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


@pytest.mark.parametrize("tree", ["standard", "knn"])
def test_a_leaf_alone(old: Node, newest: Node, tree: str) -> None:
    hits = [node.retrieve(TREES[tree], size=12)["hits"]["hits"] for node in (old, newest)]
    assert rounded(hits[0]) == rounded(hits[1])
    assert all("red" in hit["matched_queries"] for hit in hits[0] if tree == "standard")


@pytest.mark.parametrize("tree", TREES)
def test_pages_fit_together(old: Node, tree: str) -> None:
    size = 8 if tree == "diversified" else 20
    whole = [hit["_id"] for hit in old.retrieve(TREES[tree], size=size)["hits"]["hits"]]
    parts = [old.retrieve(TREES[tree], size=3, from_=start)["hits"]["hits"] for start in range(0, size, 3)]
    assert [hit["_id"] for part in parts for hit in part][: len(whole)] == whole


def test_what_runs_by_itself_is_found_out(old: Node) -> None:
    for tree in ("linear", "pinned", "rescored", "diversified"):
        with pytest.raises(InvalidQuery, match="does not run"):
            old.retrieve(TREES[tree], execution="native")
    with pytest.raises(InvalidRetriever) as caught:
        old.retrieve(rrf(RED, {"standard": {"query": {"mtach": {}}}}))
    assert caught.value.path == "rrf.retrievers[1].standard"
    assert old.retrieve(TREES["rrf"], size=2, explain=True)["hits"]["hits"][0]["_explanation"]["details"]
