"""Find the documents nearest to one that is there, by its stored vector: no text is embedded."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.embedding import Embedder
from es_semantic.embedding.encoding import decode_vector
from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.documents import documents_query
from es_semantic.retrieval.engine import Query, answer_steps
from es_semantic.retrieval.exact import exact_query
from es_semantic.retrieval.found import Key, key_of
from es_semantic.retrieval.fresh import with_fresh_bindings
from es_semantic.retrieval.page import Page
from es_semantic.retrieval.query_vectors import Models
from es_semantic.retrieval.reranked import NO_RERANKERS
from es_semantic.retrieval.results import SearchResult, read_hit
from es_semantic.retrieval.search import no_models, shown_source
from es_semantic.retrieval.semantic import Group, groups
from es_semantic.retrieval.targets import targets_of
from es_semantic.retrieval.tree.nodes import Json, Retriever, Standard, Vector, kind
from es_semantic.retrieval.wish import Wish
from es_semantic.schema.binding import Binding, Bindings

MODES = ("knn", "exact")

_WHY = {
    "pending": ("it is pending: its text waits to be embedded", "Run: es-semantic sync {index}"),
    "failed": ("it has failed: its text could not be embedded", "Run: es-semantic failures {index}"),
    "empty": ("it is empty: its source fields hold no text", "Give it text, then run: es-semantic sync {index}"),
}
_NEVER_READ = ("nobody has embedded it yet", "Run: es-semantic sync {index}")


def more_like_steps(index: str, doc_id: str, routing: str | None, wish: Wish) -> Steps[SearchResult]:
    """Answer one query; see :func:`es_semantic.more_like`."""
    if wish.mode not in MODES:
        raise InvalidQuery(f"mode {wish.mode!r} cannot find more like a document", hint=f"Use {' or '.join(MODES)}.")
    if len(wish.names) > 1:
        raise InvalidQuery("name must be one semantic field here", hint="Search more like it by one after the other.")
    return with_fresh_bindings(
        index,
        lambda bindings: _answered(index, bindings, doc_id, routing, wish),
        lambda result: [hit.index for hit in result.hits],
    )


def _answered(
    index: str, bindings: Mapping[str, Bindings], doc_id: str, routing: str | None, wish: Wish
) -> Steps[SearchResult]:
    started = time.perf_counter()
    (name,) = wish.names
    members = groups(bindings, [name], index=index)
    places = dict.fromkeys(group.name for group in members)
    params = {"allow_partial_search_results": "false"}
    answer = yield Request("POST", url_path("/{}/_search", index), params, document_body(doc_id, routing, places))
    hit = the_one(answer["hits"]["hits"], index, doc_id, routing)
    group = next((each for each in members if hit["_index"] in each.indices), None)
    if group is None:
        raise InvalidQuery(f"index {hit['_index']!r} came up in this moment", hint="Search again.")
    vector = stored_vector(hit, group.binding, group.name)
    root = nearest(group, vector, key_of(hit), wish)
    reach = yield from targets_of(index, bindings, members)
    aim = reach[members.index(group)]
    query = Query(
        index,
        root,
        Page(wish.size, wish.start, {"track_total_hits": False, "_source": shown_source(wish, bindings)}),
        targets={} if aim is None else {kind(root): aim},
        deadline=wish.deadline,
    )
    found = yield from answer_steps(query, Models(_no_model, no_models), NO_RERANKERS)
    hits = tuple(
        read_hit(each, rank, wish.mode) for rank, each in enumerate(found.body["hits"]["hits"], wish.start + 1)
    )
    return SearchResult(index, wish.mode, (time.perf_counter() - started) * 1000, hits)


def document_body(doc_id: str, routing: str | None, places: Collection[str]) -> Json:
    """Return the search for one document's vectors and state in semantic fields of these places.

    A second hit shows that it is not the only one.
    """
    filters: list[Json] = [{"ids": {"values": [doc_id]}}]
    if routing is not None:
        filters.append({"term": {"_routing": routing}})
    return {
        "size": 2,
        "query": {"bool": {"filter": filters}},
        "fields": [f"{place}.{holder}" for place in places for holder in ("vector", "chunks.vector")],
        "_source": [f"{place}.{key}" for place in places for key in ("status", "model")],
        "track_total_hits": False,
    }


def the_one(hits: list[Json], index: str, doc_id: str, routing: str | None) -> Json:
    """Return the only hit.

    Raises:
        InvalidQuery: there is no such document, or it is not the only one.
    """
    if not hits:
        with_routing = f" with routing {routing!r}" if routing is not None else ""
        raise InvalidQuery(
            f"no document {doc_id!r}{with_routing} in {index!r}", hint="One just written is found after a refresh."
        )
    if len(hits) > 1:
        (one, _, first), (other, _, second) = map(key_of, hits)
        where = f"{one} (routing {first!r}) and {other} (routing {second!r})"
        raise InvalidQuery(
            f"{index!r} has several documents {doc_id!r}: in {where}", hint="Name one index, or routing."
        )
    return hits[0]


def stored_vector(hit: Mapping[str, Any], binding: Binding, name: str) -> Vector:
    """Return a document's vector; of one in chunks the mean of its chunks' vectors.

    For cosine and dot product, where only directions count, the mean is brought to length 1.

    Raises:
        InvalidQuery: it has none, or one of another model than the bound one.
    """
    fields = hit.get("fields", {})
    given = (hit.get("_source") or {}).get(name)
    state: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if binding.chunking is None:
        vectors = [fields[f"{name}.vector"]] if f"{name}.vector" in fields else []
    else:
        vectors = [chunk["vector"] for chunk in fields.get(f"{name}.chunks", ()) if "vector" in chunk]
    if not vectors:
        why, hint = _WHY.get(str(state.get("status")), _NEVER_READ)
        _refuse(hit, f"has no vector: {why}", hint)
    if state.get("model") != binding.stamp:
        why = f"has a vector of {state.get('model')!r}, and the index is bound to {binding.stamp!r}"
        _refuse(hit, why, "Run: es-semantic sync {index}")
    mean = np.stack([_numbers(vector) for vector in vectors]).mean(axis=0)
    if len(vectors) > 1 and binding.similarity in ("cosine", "dot_product"):
        length = float(np.linalg.norm(mean))
        if not length:
            _refuse(hit, "has chunks whose vectors cancel each other out", "Search for a passage of it.")
        mean /= length
    vector: Vector = tuple(mean.astype(np.float32).tolist())
    return vector


def nearest(group: Group, vector: Vector, document: Key, wish: Wish) -> Retriever:
    """Return the search for what is nearest to the vector, without the document itself."""
    filters = (*wish.filters, {"bool": {"must_not": [documents_query([document])]}})
    if wish.mode == "exact":
        return Standard(query=exact_query(vector, group.binding, group.name, filters), name=wish.mode)
    return group.knn(wish.mode, vector, filters, k=wish.window)


def _numbers(values: list[Any]) -> NDArray[np.float64]:
    """Return a vector; where vectors are part of ``_source`` it comes as it was written, which may be base64."""
    if isinstance(values[0], str):
        return decode_vector(values[0]).astype(np.float64)
    return np.asarray(values, dtype=np.float64)


def _refuse(hit: Mapping[str, Any], why: str, hint: str) -> NoReturn:
    index = hit["_index"]
    raise InvalidQuery(f"document {hit['_id']!r} of {index!r} {why}", hint=hint.format(index=index))


def _no_model(binding: Binding) -> Embedder:
    raise AssertionError(f"a stored vector needs no model: {binding.stamp}")
