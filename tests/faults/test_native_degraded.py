"""What Elasticsearch ranks by itself fails there: the answer is then made leaf by leaf, and never waits twice."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import InvalidQuery, RequestFailed
from tests.embedder import TinyEmbedder
from tests.faults.exchange import Exchange
from tests.faults.proxy import FaultProxy, Rule
from tests.nodes import MakeIndex

Json = dict[str, Any]

TITLES = {"1": "old oak", "2": "raised beds", "3": "old raised wall"}
OLD: Json = {"standard": {"query": {"match": {"title": "old"}}}}
SLOW = "double sum = 0; for (int i = 0; i < 40000; i++) { sum += Math.sin(i) } return sum > 1e9"
LICENCE = "current license is non-compliant for [diversify retriever]"


@dataclass(frozen=True)
class Refuse:
    """Answer as Elasticsearch does where it will not run a search."""

    status: int
    type: str
    reason: str

    async def apply(self, exchange: Exchange) -> None:
        error = {"type": self.type, "reason": self.reason}
        await exchange.answer(
            HTTPStatus(self.status), {"error": {"root_cause": [error], **error}, "status": self.status}
        )


def native_searches(_method: str, path: str, body: bytes) -> bool:
    """Searches that leave the ranking to Elasticsearch."""
    return path.endswith("/_search") and b'"retriever"' in body


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    name = make_index({"title": {"type": "text"}}, documents={key: {"title": title} for key, title in TITLES.items()})
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    es_semantic.sync(client, name, model=TinyEmbedder())
    return name


def diverse(retriever: Json) -> Json:
    """Elasticsearch runs this one on every licence, so it is sent as it is."""
    vector = TinyEmbedder().vector("old").tolist()
    options = {"type": "mmr", "field": "semantic.vector", "lambda": 0.5, "query_vector": vector}
    return {"diversify": {"retriever": retriever, **options}}


def ids(answer: Json) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_what_can_pass_is_tried_leaf_by_leaf_where_that_is_allowed(
    through: Elasticsearch, proxy: FaultProxy, index: str
) -> None:
    tree = diverse(OLD)
    whole = es_semantic.retrieve(through, index, retriever=tree)
    assert "_legs" not in whole["hits"]["hits"][0]
    proxy.add(Rule(Refuse(503, "circuit_breaking_exception", "Data too large"), when=native_searches))
    answer = es_semantic.retrieve(through, index, retriever=tree, allow_degraded=True)
    assert ids(answer) == ids(whole)
    assert "_legs" in answer["hits"]["hits"][0]
    refused: list[Json] = [{}, {"allow_degraded": True, "execution": "native"}]
    for more in refused:
        with pytest.raises(RequestFailed, match="Data too large"):
            es_semantic.retrieve(through, index, retriever=tree, **more)


def test_a_licence_that_ends_fails_no_query(through: Elasticsearch, proxy: FaultProxy, index: str) -> None:
    tree = diverse(OLD)
    whole = es_semantic.retrieve(through, index, retriever=tree)
    proxy.add(Rule(Refuse(403, "security_exception", LICENCE), when=native_searches))
    for _ in range(3):
        assert ids(es_semantic.retrieve(through, index, retriever=tree)) == ids(whole)
    # It is tried once, and then known.
    assert [seen.status for seen in proxy.requests if seen.path == f"/{index}/_search"].count(403) == 1
    with pytest.raises(InvalidQuery, match="by its version or licence"):
        es_semantic.retrieve(through, index, retriever=tree, execution="native")


@pytest.mark.parametrize("mode", ["bm25", "exact"])
def test_one_leg_that_is_too_slow_is_waited_for_once(
    client: Elasticsearch, proxy: FaultProxy, index: str, mode: str
) -> None:
    operations: list[Json] = []
    for number in range(3000):
        operations += [{"index": {"_id": f"more {number}"}}, {"title": "slow"}]
    client.bulk(index=index, operations=operations, refresh=True)
    es_semantic.sync(client, index, model=TinyEmbedder())
    slow = {"script": {"script": {"source": SLOW}}}
    options: Json = {"mode": mode, "filters": slow, "deadline": 0.3, "model": TinyEmbedder()}
    with Elasticsearch(proxy.url) as patient, pytest.raises(RequestFailed, match=r"not answered within 0\.3 seconds"):
        es_semantic.search(patient, index, "slow", **options)
    assert len([seen for seen in proxy.requests if seen.path == f"/{index}/_search"]) == 1
