"""Retrieving with a key that may read one index and nothing else: what it may not ask is not needed."""

from __future__ import annotations

from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import Forbidden
from tests.nodes import MakeIndex
from tests.workers_key import Keys, client, keys, node_url

__all__ = ["client", "keys", "node_url"]

Json = dict[str, Any]

DOCUMENTS = {"1": {"title": "old oak"}, "2": {"title": "cool shade"}, "3": {"title": "old wall"}}
OLD: Json = {"standard": {"query": {"match": {"title": "old"}}}}
SHADE: Json = {"standard": {"query": {"match": {"title": "shade"}}}}
RESCORE: Json = {"window_size": 10, "query": {"rescore_query": {"match": {"title": "wall"}}}}

TREES: dict[str, Json] = {
    "standard": OLD,
    "rescorer": {"rescorer": {"retriever": OLD, "rescore": RESCORE}},
    "rrf": {"rrf": {"retrievers": [OLD, SHADE]}},
    "linear": {"linear": {"retrievers": [{"retriever": OLD}, {"retriever": SHADE}]}},
    "pinned": {"pinned": {"ids": ["2"], "retriever": OLD}},
}


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index({"title": {"type": "text"}}, documents=DOCUMENTS)


@pytest.fixture
def reader(superuser: Elasticsearch, keys: Keys, index: str) -> Elasticsearch:
    """Elasticsearch's own least privilege for searching: ``read``."""
    return superuser.options(api_key=keys.of_role({"indices": [{"names": [index], "privileges": ["read"]}]}))


@pytest.mark.parametrize("tree", TREES)
def test_reading_is_enough(superuser: Elasticsearch, reader: Elasticsearch, index: str, tree: str) -> None:
    page: Json = {"retriever": TREES[tree], "aggs": {"n": {"value_count": {"field": "_index"}}}}
    answers = [es_semantic.retrieve(each, index, **page) for each in (superuser, reader)]
    for answer in answers:
        answer.pop("took")
    assert answers[0] == answers[1]
    assert answers[0]["hits"]["hits"]


def test_other_indices_stay_hidden(reader: Elasticsearch, index: str, make_index: MakeIndex) -> None:
    other = make_index({"title": {"type": "text"}}, documents=DOCUMENTS)
    for tree in ("standard", "rescorer", "rrf", "pinned"):
        with pytest.raises(Forbidden, match="unauthorized"):
            es_semantic.retrieve(reader, other, retriever=TREES[tree])
        hits = es_semantic.retrieve(reader, f"{index[:-1]}*", retriever=TREES[tree])["hits"]["hits"]
        assert {hit["_index"] for hit in hits} == {index}
