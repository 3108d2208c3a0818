"""The search bodies of one query: a pure function per leg, and the request that holds them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, url_path
from es_semantic.embedding.protocol import Vectors

MIN_CANDIDATES = 200
MAX_CANDIDATES = 10_000

SHARDS_PER_ID = 4
"""Documents of one id that a page's fetch allows for, where custom routing has put it into several shards."""

Clauses = Sequence[Mapping[str, Any]]
Key = tuple[str, str, str]
"""Index, id and routing: with custom routing one id may stand in several shards of an index."""


def bm25_body(text: str, fields: Sequence[str], filters: Clauses, *, size: int) -> dict[str, Any]:
    """Return the lexical leg: the text against all fields as if they were one (Elastic docs, "Multi-match query").

    Why ``cross_fields``: docs/decisions/bm25-leg.md.
    """
    match = {"multi_match": {"query": text, "fields": list(fields), "type": "cross_fields"}}
    return {"size": size, "query": {"bool": {"must": [match], "filter": list(filters)}}}


def knn_body(
    vector: Vectors, name: str, stamp: str, filters: Clauses, *, size: int, chunked: bool = False
) -> dict[str, Any]:
    """Return the vector leg of the semantic field ``name``: only vectors under the ``stamp`` of its binding.

    Filters apply while the graph is searched, so ``size`` hits are found where there are as many (Elastic docs, "kNN
    search in Elasticsearch"). Of a document's chunks the nearest counts, and filters look at the document itself (same
    page, "Search nested vectors").
    """
    knn: dict[str, Any] = {
        "field": f"{name}.chunks.vector" if chunked else f"{name}.vector",
        "query_vector": vector.tolist(),
        "k": size,
        "num_candidates": min(MAX_CANDIDATES, max(MIN_CANDIDATES, 2 * size)),
        "filter": [{"term": {f"{name}.model": stamp}}, *filters],
    }
    return {"size": size, "knn": knn}


def msearch_request(index: str, bodies: Sequence[Mapping[str, Any]]) -> Request:
    """Return one ``_msearch`` with every leg; no documents travel, only ids and scores."""
    header = orjson.dumps({"index": index, "allow_partial_search_results": False})
    lines = [line for body in bodies for line in (header, orjson.dumps({**body, **_IDS_ONLY}))]
    return Request("POST", "/_msearch", {"filter_path": _KEPT}, lines, about=f"searching {index!r}")


def page_request(index: str, keys: Sequence[Key], *, excludes: Sequence[str]) -> Request:
    """Return the search that fetches these documents, without the fields that es-semantic keeps in them."""
    by_index: dict[str, list[str]] = {}
    for concrete, doc_id, _ in keys:
        by_index.setdefault(concrete, []).append(doc_id)
    wanted = [
        {"bool": {"filter": [{"term": {"_index": concrete}}, {"ids": {"values": ids}}]}}
        for concrete, ids in by_index.items()
    ]
    body = {
        "size": min(MAX_CANDIDATES, SHARDS_PER_ID * len(keys)),
        "query": {"bool": {"should": wanted}},
        "_source": {"excludes": list(excludes)},
        "track_total_hits": False,
    }
    params = {
        "allow_partial_search_results": "false",
        "filter_path": "hits.hits._index,hits.hits._id,hits.hits._routing,hits.hits._source",
    }
    return Request("POST", url_path("/{}/_search", index), params, body)


_IDS_ONLY: dict[str, Any] = {"_source": False, "track_total_hits": False}
_KEPT = ",".join(
    [
        "responses.error",
        "responses.status",
        *(f"responses.hits.hits.{key}" for key in ("_index", "_id", "_routing", "_score")),
    ]
)
