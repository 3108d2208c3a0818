"""Let a procedure see nothing but what its caller may: every search it sends gets the caller's filter.

The filter is put in at the one place that nothing gets around: where requests leave. So it holds in every leg,
aggregation and fetch, however the request came about. What is not known to be a search with a place for the filter is
not sent at all. What a search could say to look beyond its own hits (lookups, suggesters, global aggregations) is
refused beforehand, see :mod:`~es_semantic.retrieval.tree.permitted`; here once more, where it would escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import orjson

from es_semantic.cluster.steps import Request, Steps, relayed
from es_semantic.errors import Forbidden
from es_semantic.retrieval.documents import has_key
from es_semantic.retrieval.tree.nodes import Json
from es_semantic.retrieval.tree.permitted import TERMS, counts_found_alone

T = TypeVar("T")

_SEARCH = re.compile(r"^/[^/]+/_search$")
_WITHOUT_DOCUMENTS = re.compile(r"^/$|^/_license$|^/[^/]+/_mapping$")
"""Requests whose answers hold no documents: versions, licences, mappings."""

_WORDS = re.compile(r"^/[^/]+/_termvectors$")
"""How frequent the words of a text are that comes with the request; no document is named."""

_BEYOND = frozenset(["suggest", "runtime_mappings", "retriever", "sub_searches", "rank", "pit", "scroll"])
"""Parts of a search that do not heed its query, change what the filter's fields mean, or have no place for it."""


def confined(steps: Steps[T], filters: Sequence[Json]) -> Steps[T]:
    """Run a procedure so that every search in it finds only documents that match all ``filters``.

    Scores are not changed, and what is remembered is the same for everybody: mappings and versions. Without filters
    nothing is changed.

    Raises:
        Forbidden: the procedure asks for something that cannot be confined.
    """
    return relayed(steps, lambda request: confined_request(request, filters)) if filters else steps


def confined_request(request: Request, filters: Sequence[Json]) -> Request:
    """Return the request with the filters in every search of it.

    Raises:
        Forbidden: it is no search, or one in which the filters have no place.
    """
    if request.path == "/_msearch" and isinstance(request.body, list):
        lines = list(request.body)
        lines[1::2] = [orjson.dumps(confined_body(orjson.loads(line), filters)) for line in lines[1::2]]
        return replace(request, body=lines)
    if _SEARCH.match(request.path) and isinstance(request.body, Mapping):
        return replace(request, body=confined_body(request.body, filters))
    if request.method == "GET" and _WITHOUT_DOCUMENTS.match(request.path):
        return request
    if request.method == "POST" and _WORDS.match(request.path):
        return request
    raise Forbidden(
        f"{request.method} {request.path} cannot be confined to what this key may see",
        hint="Use a key without a filter.",
    )


def confined_body(body: Mapping[str, Any], filters: Sequence[Json]) -> Json:
    """Return a search that finds only what matches the filters, too; its scores are what they were.

    Raises:
        Forbidden: the search has a part in which the filters have no place.
    """
    beyond = [
        *sorted(_BEYOND & body.keys()),
        *_looking_beyond(body.get("aggs")),
        *_looking_beyond(body.get("aggregations")),
        # Elasticsearch looks for the hits of a group by the query alone.
        *(["inner_hits"] if "query" not in body and has_key(body.get("collapse"), frozenset(["inner_hits"])) else []),
    ]
    if beyond:
        raise Forbidden(
            f"[{beyond[0]}] cannot be confined to what this key may see",
            hint="Leave it out, or use a key without a filter.",
        )
    confined_parts: Json = {}
    if "knn" in body:
        parts = body["knn"] if isinstance(body["knn"], list) else [body["knn"]]
        confined_parts["knn"] = [_nearest(part, filters) for part in parts]
    if "query" in body or "knn" not in body:
        query = _inside(body.get("query", {"match_all": {}}), filters)
        confined_parts["query"] = {"bool": {"must": [query], "filter": list(filters)}}
    return {**body, **confined_parts}


def _nearest(knn: Mapping[str, Any], filters: Sequence[Json]) -> Json:
    given = knn.get("filter", [])
    return {**knn, "filter": [*(given if isinstance(given, list) else [given]), *filters]}


def _inside(query: Any, filters: Sequence[Json]) -> Any:
    """Put the filters into vector searches within a query, which else would find others' documents first.

    The query as a whole is filtered, too; this is for finding enough, not for hiding. So a field that is called knn
    does no harm, and is told by having no vector to search with.
    """
    if isinstance(query, list):
        return [_inside(each, filters) for each in query]
    if not isinstance(query, Mapping):
        return query
    inside = {name: _inside(value, filters) for name, value in query.items()}
    knn = inside.get("knn")
    if isinstance(knn, Mapping) and knn.keys() & {"query_vector", "query_vector_builder"}:
        inside["knn"] = _nearest(knn, filters)
    return inside


def _looking_beyond(aggs: Any) -> Iterator[str]:
    """Yield what aggregations have that does not heed the query: global ones, and terms of documents not found."""
    if not isinstance(aggs, Mapping):
        return
    for each in aggs.values():
        if not isinstance(each, Mapping):
            continue
        if "global" in each:
            yield "global"
        if any(not counts_found_alone(each[kind]) for kind in TERMS if kind in each):
            yield "min_doc_count"
        yield from _looking_beyond(each.get("aggs"))
        yield from _looking_beyond(each.get("aggregations"))
