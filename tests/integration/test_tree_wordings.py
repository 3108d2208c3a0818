"""Malformed trees: our error and the node's say the same, for every retriever that the node has on any licence."""

from __future__ import annotations

import re
from typing import Any

import pytest
from elasticsearch import BadRequestError, Elasticsearch

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.parse import parse
from es_semantic.retrieval.tree.rules import check
from tests.nodes import MakeIndex
from tests.trees import QUERY, STANDARD, Json

ABSENT = object()

INTERNAL = ("number_format_exception", "input_coercion_exception", "json_parse_exception", "illegal_state_exception")
"""Causes that tell of Java and not of the request."""


def knn(**fields: Any) -> Json:
    return {"knn": _with({"field": "vector", "query_vector": [1, 2], "k": 5, "num_candidates": 10}, fields)}


def rescorer(**fields: Any) -> Json:
    return {"rescorer": _with({"retriever": STANDARD, "rescore": window(20)}, fields)}


def diversify(**fields: Any) -> Json:
    lambda_ = {"lambda": fields.pop("lambda_", 0.5)}
    return {"diversify": _with({"retriever": STANDARD, "type": "mmr", "field": "vector"}, {**lambda_, **fields})}


def standard(**fields: Any) -> Json:
    return {"standard": _with({"query": QUERY}, fields)}


def window(size: Any) -> Json:
    return {"window_size": size, "query": {"rescore_query": QUERY}}


def rescored(**fields: Any) -> Json:
    return rescorer(rescore={"query": _with({"rescore_query": QUERY}, fields)})


def _with(defaults: Json, fields: Json) -> Json:
    return {name: value for name, value in {**defaults, **fields}.items() if value is not ABSENT}


MALFORMED: dict[str, tuple[Any, str]] = {
    "empty": ({}, "retriever"),
    "array": ([], "retriever"),
    "text": ("standard", "retriever"),
    "number": (5, "retriever"),
    "true": (True, "retriever"),
    "null": (None, "retriever"),
    "no object": ({"standard": 5}, "standard"),
    "no object but null": ({"standard": None}, "standard"),
    "two retrievers": ({"standard": {}, "knn": {}}, "retriever"),
    "unknown": ({"foo": {}}, "foo"),
    "unknown, like another": ({"standar": {}}, "standar"),
    "unknown, no object": ({"foo": []}, "foo"),
    "unknown field": (standard(foo=1), "standard.foo"),
    "unknown field, like another": (standard(qery=QUERY), "standard.qery"),
    "unknown field, like two": (knn(query_vecto=[1]), "knn.query_vecto"),
    "min_score is no number": (standard(min_score="abc"), "standard.min_score"),
    "min_score is empty": (standard(min_score=""), "standard.min_score"),
    "min_score is true": (standard(min_score=True), "standard.min_score"),
    "min_score is null": (standard(min_score=None), "standard.min_score"),
    "_name is a number": (standard(_name=5), "standard._name"),
    "query is empty": (standard(query={}), "standard.query"),
    "query is an array": (standard(query=[QUERY]), "standard.query"),
    "query is null": (standard(query=None), "standard.query"),
    "query is two": (standard(query={**QUERY, "term": {"a": 1}}), "standard.query"),
    "query without object": (standard(query={"match": 5}), "standard.query"),
    "filter is a text": (standard(filter="x"), "standard.filter"),
    "filter is empty": (standard(filter={}), "standard.filter"),
    "filter of a text": (standard(filter=["x"]), "standard.filter[0]"),
    "filter of null": (standard(filter=[QUERY, None]), "standard.filter[1]"),
    "filter of an empty one": (standard(filter=[{}]), "standard.filter[0]"),
    "filter of arrays": (standard(filter=[[QUERY]]), "standard.filter"),
    "terminate_after below 0": (standard(terminate_after=-1), "standard.terminate_after"),
    "terminate_after too large": (standard(terminate_after=2**31), "standard.terminate_after"),
    "search_after is empty": (standard(search_after=[], sort=["n"]), "standard.search_after"),
    "search_after is an object": (standard(search_after={}, sort=["n"]), "standard.search_after"),
    "search_after of objects": (standard(search_after=[{}], sort=["n"]), "standard.search_after"),
    "sort is a text": (standard(sort="n"), "standard.sort"),
    "sort of numbers": (standard(sort=[5]), "standard.sort"),
    "collapse is a text": (standard(collapse="tag"), "standard.collapse"),
    "collapse without field": (standard(collapse={}), "standard.collapse"),
    "collapse with another": (standard(collapse={"field": "tag", "foo": 1}), "standard.collapse.foo"),
    "knn is empty": ({"knn": {}}, "knn"),
    "no k": (knn(k=ABSENT), "knn"),
    "no k and candidates": (knn(k=ABSENT, num_candidates=ABSENT), "knn"),
    "no field": (knn(field=ABSENT), "knn"),
    "field is a number": (knn(field=5), "knn.field"),
    "k is no number": (knn(k="abc"), "knn.k"),
    "k has an underscore": (knn(k="1_0"), "knn.k"),
    "k is true": (knn(k=True), "knn.k"),
    "k is an array": (knn(k=[5]), "knn.k"),
    "k is 0": (knn(k=0), "knn.k"),
    "k is below 1": (knn(k=0.5), "knn.k"),
    "k is too large a number": (knn(k=10**25), "knn.k"),
    "k is too large a text": (knn(k="99999999999999"), "knn.k"),
    "k over num_candidates": (knn(k=50), "knn.num_candidates"),
    "too many candidates": (knn(num_candidates=20_000), "knn.num_candidates"),
    "visit_percentage": (knn(visit_percentage=200), "knn.visit_percentage"),
    "no vector": (knn(query_vector=ABSENT), "knn"),
    "vector is null": (knn(query_vector=None), "knn.query_vector"),
    "vector is an object": (knn(query_vector={}), "knn.query_vector"),
    "vector of texts": (knn(query_vector=["a", 2]), "knn.query_vector"),
    "vector of booleans": (knn(query_vector=[True, 2]), "knn.query_vector"),
    "vector of nulls": (knn(query_vector=[None, 2]), "knn.query_vector"),
    "vector of arrays": (knn(query_vector=[[1, 2]]), "knn.query_vector"),
    "builder is empty": (knn(query_vector=ABSENT, query_vector_builder={}), "knn.query_vector_builder"),
    "builder is unknown": (knn(query_vector=ABSENT, query_vector_builder={"foo": {}}), "knn.query_vector_builder"),
    "builder is a text": (knn(query_vector=ABSENT, query_vector_builder="x"), "knn.query_vector_builder"),
    "no oversample": (knn(rescore_vector={}), "knn.rescore_vector"),
    "oversample below 1": (knn(rescore_vector={"oversample": 0.5}), "knn.rescore_vector.oversample"),
    "oversample is true": (knn(rescore_vector={"oversample": True}), "knn.rescore_vector.oversample"),
    "rescore_vector with another": (knn(rescore_vector={"foo": 2}), "knn.rescore_vector.foo"),
    "nothing to rescore": (rescorer(rescore=ABSENT), "rescorer"),
    "rescorer is empty": ({"rescorer": {}}, "rescorer"),
    "rescorer with another": (rescorer(rank_window_size=5), "rescorer.rank_window_size"),
    "rescore is a text": (rescorer(rescore="x"), "rescorer.rescore"),
    "rescore is empty": (rescorer(rescore=[]), "rescorer.rescore"),
    "rescore without type": (rescorer(rescore={"window_size": 10}), "rescorer.rescore"),
    "rescore of two types": (rescorer(rescore={**window(5), "foo": {}}), "rescorer.rescore.foo"),
    "rescore is unknown": (rescorer(rescore=[window(5), {"foo": {}}]), "rescorer.rescore[1].foo"),
    "rescore_query is missing": (rescored(rescore_query=ABSENT), "rescorer.rescore.query"),
    "rescore_query with another": (rescored(foo=1), "rescorer.rescore.query.foo"),
    "score_mode": (rescored(score_mode="foo"), "rescorer.rescore.query.score_mode"),
    "query_weight is no number": (rescored(query_weight="x"), "rescorer.rescore.query.query_weight"),
    "window_size is no number": (rescorer(rescore=window("abc")), "rescorer.rescore.window_size"),
    "window_size is true": (rescorer(rescore=window(True)), "rescorer.rescore.window_size"),
    "window_size is null": (rescorer(rescore=window(None)), "rescorer.rescore.window_size"),
    "child is null": (rescorer(retriever=None), "rescorer.retriever"),
    "child is an array": (rescorer(retriever=[STANDARD]), "rescorer.retriever"),
    "child is no object": (rescorer(retriever={"standard": 5}), "rescorer.retriever.standard"),
    "child with another": (rescorer(retriever=standard(foo=5)), "rescorer.retriever.standard.foo"),
    "child lacks what it needs": (rescorer(retriever={"knn": {}}), "rescorer.retriever.knn"),
    "child has no vector": (rescorer(retriever=knn(query_vector=ABSENT)), "rescorer.retriever.knn"),
    "child's k": (rescorer(retriever=knn(k="abc")), "rescorer.retriever.knn.k"),
    "grandchild's query": (
        diversify(retriever=rescorer(retriever=standard(query={}))),
        "diversify.retriever.rescorer.retriever.standard.query",
    ),
    "diversify is empty": ({"diversify": {}}, "diversify"),
    "no type": (diversify(type=ABSENT), "diversify"),
    "type is unknown": (diversify(type="foo"), "diversify.type"),
    "type is a number": (diversify(type=5), "diversify.type"),
    "lambda is null": (diversify(lambda_=None), "diversify.lambda"),
    "diversify with another": (diversify(lamda=1), "diversify.lamda"),
}


VALIDATED: dict[str, tuple[Json, int | None, str]] = {
    "window under size": (rescorer(rescore=window(5)), 6, "rescorer"),
    "default window under size": (rescored(), 11, "rescorer"),
    "the smallest window counts": (rescorer(rescore=[window(30), window(15)]), 16, "rescorer"),
    "window below 0": (rescorer(rescore=window(-1)), None, "rescorer"),
    "window over the child's": (rescorer(retriever=rescorer(), rescore=window(30)), None, "rescorer"),
    "window over diversify's": (rescorer(retriever=diversify()), None, "rescorer"),
    "three at once": (
        rescorer(retriever=rescorer(rescore=window(2)), rescore=window(3)),
        5,
        "rescorer, rescorer.retriever.rescorer",
    ),
    "no lambda": (diversify(lambda_=ABSENT), None, "diversify"),
    "lambda over 1": (diversify(lambda_=1.5), None, "diversify"),
    "lambda just below 0": (diversify(lambda_=-1e-7), None, "diversify"),
    "lambda far over 1": (diversify(lambda_=1.23e10), None, "diversify"),
    "size 0": (diversify(size=0), None, "diversify"),
    "size over window": (diversify(size=5, rank_window_size=3), None, "diversify"),
    "window 0": (diversify(rank_window_size=0), None, "diversify"),
    "vector as text": (diversify(query_vector="0102"), None, "diversify"),
    "size and lambda": (diversify(size=50, lambda_=7, rank_window_size=5), 9, "diversify"),
    "search_after below": (
        rescorer(retriever=standard(search_after=[5], sort=["n"])),
        None,
        "rescorer.retriever.standard.search_after",
    ),
    "terminate_after below": (
        diversify(retriever=standard(terminate_after=3)),
        None,
        "diversify.retriever.standard.terminate_after",
    ),
    "size below 0": (STANDARD, -2, "size"),
    "size over the limit": (STANDARD, 20_000, "size"),
}


ACCEPTED: dict[str, tuple[Json, int | None]] = {
    "nothing asked for": ({"standard": {}}, None),
    "empty filter": (standard(filter=[]), None),
    "empty sort": (standard(sort=[]), None),
    "numbers as texts": (knn(k="5", num_candidates=" 10 ", similarity="0.5", query_vector=["1", "2"]), None),
    "whole numbers with a rest": (knn(k=2.7, num_candidates="1e1"), None),
    "type in capitals": (diversify(type="MMR"), None),
    "windows of children of diversify": (
        diversify(retriever=rescorer(retriever=rescorer(), rescore=window(30))),
        35,
    ),
    "sort by score below a rescorer": (rescorer(retriever=standard(sort=["_score"])), None),
    "terminate_after 0 below": (rescorer(retriever=standard(terminate_after=0)), None),
    "vector in hex": (knn(query_vector="0102"), None),
}


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    vector = {"type": "dense_vector", "dims": 2}
    properties = {"title": {"type": "text"}, "tag": {"type": "keyword"}, "n": {"type": "integer"}, "vector": vector}
    documents = {str(n): {"title": f"red {n}", "tag": "a", "n": n, "vector": [n + 1, 2]} for n in range(3)}
    return make_index(properties, documents=documents)


def test_malformed_trees(client: Elasticsearch, index: str) -> None:
    differing = {}
    for name, (tree, path) in MALFORMED.items():
        ours, theirs = refused(tree, None), causes(client, index, tree, None)
        if ours.path != path or ours.reason != theirs[-1][1] or (ours.type, ours.reason) not in theirs:
            differing[name] = (ours.path, ours.type, ours.reason, theirs)
    assert differing == {}


def test_trees_that_do_not_fit_the_request(client: Elasticsearch, index: str) -> None:
    differing = {}
    for name, (tree, size, path) in VALIDATED.items():
        ours, theirs = refused(tree, size), causes(client, index, tree, size)
        if ours.path != path or ours.reason != theirs[-1][1] or (ours.type, ours.reason) not in theirs:
            differing[name] = (ours.path, ours.type, ours.reason, theirs)
    assert differing == {}


def test_trees_that_elasticsearch_accepts(client: Elasticsearch, index: str) -> None:
    for tree, size in ACCEPTED.values():
        client.search(index=index, retriever=tree, size=size)
        check(parse(tree), size=size)


def test_an_error_on_the_shards(client: Elasticsearch, index: str) -> None:
    # Elasticsearch tells the reason only to those who look into what it attaches.
    tree = rescorer(retriever=standard(sort=["n"]))
    with pytest.raises(BadRequestError) as theirs:
        client.search(index=index, retriever=tree)
    assert refused(tree, None).reason in str(theirs.value.body)


def refused(tree: Any, size: int | None) -> InvalidRetriever:
    with pytest.raises(InvalidRetriever) as refusal:
        check(parse(tree), size=size)
    return refusal.value


def causes(client: Elasticsearch, index: str, tree: Any, size: int | None) -> list[tuple[str, str]]:
    """Type and reason of the node's error and of what caused it, down to where Java takes over; without positions."""
    body = {"retriever": tree, **({} if size is None else {"size": size})}
    with pytest.raises(BadRequestError) as refusal:
        client.search(index=index, body=body)
    found: list[tuple[str, str]] = []
    cause = refusal.value.body["error"]
    while cause and cause["type"] not in INTERNAL:
        if found and found[-1][1].startswith("unknown "):
            break
        reason = re.sub(r"^\[\d+:\d+\] | at \[\d+:\d+\]$|\n at \[Source.*", "", cause["reason"], flags=re.DOTALL)
        found.append((cause["type"], reason))
        cause = cause.get("caused_by")
    return found
