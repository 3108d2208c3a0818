"""What hits of equal score are sorted by, and where sequence numbers may stand for ids."""

from __future__ import annotations

from collections.abc import Mapping

from es_semantic.cluster.steps import Remember, Request, Steps, url_path
from es_semantic.errors import RequestFailed
from es_semantic.retrieval.leaves import NUMBER, OLD_TIE, TIE
from es_semantic.retrieval.page import Page
from es_semantic.retrieval.tree.nodes import Auto, Knn, Retriever, Standard

STABLE = {"pre_filter_shard_size": "2147483647"}
"""Keeps shards in one order, which ``_shard_doc`` counts by: else a leaf that is sorted by a field would change it."""

Tie = str | None
"""See :func:`~.leaves.leaf_body`."""


def ties_of(root: Retriever, page: Page, index: str, params: Mapping[str, str]) -> Steps[list[Tie]]:
    """Return what the leaves' hits are to be sorted by, first choice first.

    Under ``auto`` alone ties are ours to break, and sorting costs time. There hits go by their sequence numbers where
    one shard is searched and nothing but the page is asked for: whoever wants the names of queries, or ``explain``, is
    answered as Elasticsearch would.
    """
    if not (isinstance(root, Auto) and all(isinstance(child, Standard | Knn) for _, child in root.children)):
        tie: str = yield Remember(("tie",), 3_600.0, lambda: _tie(index, params))
        return [tie]
    if page.named or page.explain or page.ordered_there:
        return [None]
    one_shard: bool = yield Remember(("one shard", index), 60.0, lambda: _one_shard(index, params))
    return [NUMBER, None] if one_shard else [None]


def _tie(index: str, params: Mapping[str, str]) -> Steps[str]:
    """Which order of documents this server can sort by: old ones know ``_shard_doc`` in a point in time only."""
    body = {"size": 0, "sort": [TIE], "track_total_hits": False}
    try:
        yield Request("POST", url_path("/{}/_search", index), {**params, "filter_path": "took"}, body)
    except RequestFailed as error:
        if error.status == 400 and TIE in error.what:
            return OLD_TIE
        raise
    return TIE


def _one_shard(index: str, params: Mapping[str, str]) -> Steps[bool]:
    body = {"size": 0, "track_total_hits": False, "query": {"match_none": {}}}
    answer = yield Request(
        "POST", url_path("/{}/_search", index), {**params, **STABLE, "filter_path": "_shards.total"}, body
    )
    return int(answer["_shards"]["total"]) == 1
