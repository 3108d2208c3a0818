"""Search an index by BM25, by vectors, or by both: the procedure behind :func:`es_semantic.search`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.failures import failure
from es_semantic.cluster.steps import Compute, Request, Steps
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import InvalidQuery, NotAttached, RequestFailed
from es_semantic.retrieval.fusion.ranked import Fused, named
from es_semantic.retrieval.fusion.rrf import rrf
from es_semantic.retrieval.legs import Key, bm25_body, knn_body, msearch_request, page_request
from es_semantic.retrieval.query import (
    DEFAULT_SIZE,
    LEGS,
    MIN_RANK_WINDOW,
    Filters,
    filter_clauses,
    require_mode,
    require_query,
    require_size,
)
from es_semantic.retrieval.results import Hit, SearchResult
from es_semantic.schema.binding import Binding
from es_semantic.schema.lookup import find_binding

EmbedderFor = Callable[[Binding], Embedder]


def search_steps(
    index: str,
    text: str,
    embedder_for: EmbedderFor,
    *,
    mode: str = "hybrid",
    size: int = DEFAULT_SIZE,
    filters: Filters = None,
    fields: Sequence[str] | None = None,
    name: str = DEFAULT_FIELD_NAME,
) -> Steps[SearchResult]:
    """Answer one query; see :func:`es_semantic.search`."""
    query, checked_mode, size = require_query(text), require_mode(mode), require_size(size)
    clauses = filter_clauses(filters)
    if fields is not None and not fields:
        raise InvalidQuery("fields must name at least one field", hint="Leave it out to search the source fields.")
    legs = LEGS[checked_mode]
    started = time.perf_counter()
    window = max(size, MIN_RANK_WINDOW) if len(legs) > 1 else size
    binding, semantic_fields = yield from _binding(index, name)
    bodies = []
    for leg in legs:
        if leg == "bm25":
            bodies.append(bm25_body(query, fields or binding.source, clauses, size=window))
        else:
            loading = time.perf_counter()
            embedder = yield Compute(lambda: _bound_embedder(binding, embedder_for, index))
            started += time.perf_counter() - loading
            vector = yield Compute(partial(_query_vector, embedder, query))
            chunked = binding.chunking is not None
            bodies.append(knn_body(vector, name, binding.stamp, clauses, size=window, chunked=chunked))
    try:
        ranked = yield from _run_legs(index, bodies)
    except RequestFailed as error:
        if error.status == 400 and clauses:
            raise InvalidQuery(error.what, hint="Check the filters: each is one Elasticsearch query clause.") from error
        raise
    fused = (rrf(ranked) if len(ranked) > 1 else _single(ranked[0]))[:size]
    sources = yield from _sources(index, [document.key for document in fused], semantic_fields)
    hits = tuple(_hit(document, legs, sources[document.key]) for document in fused if document.key in sources)
    return SearchResult(index, checked_mode, (time.perf_counter() - started) * 1000, hits)


def _binding(index: str, name: str) -> Steps[tuple[Binding, list[str]]]:
    try:
        return (yield from find_binding(index, name))
    except NotAttached:
        # On a server that is too old nothing can be attached, and that is the better answer.
        yield from server_version()
        raise


def _bound_embedder(binding: Binding, embedder_for: EmbedderFor, index: str) -> Embedder:
    embedder = embedder_for(binding)
    require_same_model(binding.fingerprint, embedder.profile.fingerprint, index=index)
    return embedder


def _query_vector(embedder: Embedder, query: str) -> Vectors:
    vector: Vectors = embedder.embed_queries([query]).vectors[0]
    return vector


def _run_legs(index: str, bodies: Sequence[Mapping[str, Any]]) -> Steps[list[list[tuple[Key, float]]]]:
    request = msearch_request(index, bodies)
    answer = yield request
    for response in answer["responses"]:
        if "error" in response:
            raise failure(response["status"], response, f"searching {index!r}")
    return [[(_key(hit), hit["_score"]) for hit in _hits(response)] for response in answer["responses"]]


def _single(leg: list[tuple[Key, float]]) -> list[Fused[Key]]:
    fused = rrf([leg])
    return [Fused(document.key, score, document.places) for document, (_, score) in zip(fused, leg, strict=True)]


def _sources(index: str, keys: list[Key], semantic_fields: list[str]) -> Steps[dict[Key, Any]]:
    if not keys:
        return {}
    request: Request = page_request(index, keys, excludes=semantic_fields)
    page = yield request
    return {_key(hit): hit.get("_source", {}) for hit in _hits(page)}


def _hits(response: Mapping[str, Any]) -> list[Any]:
    hits: list[Any] = response.get("hits", {}).get("hits", [])
    return hits


def _key(hit: Mapping[str, Any]) -> Key:
    return hit["_index"], hit["_id"], hit.get("_routing", "")


def _hit(document: Fused[Key], legs: Sequence[str], source: Mapping[str, Any]) -> Hit:
    index, doc_id, _ = document.key
    return Hit(index, doc_id, document.score, named(document.places, legs), source)
