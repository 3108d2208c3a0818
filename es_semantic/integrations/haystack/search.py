"""What Haystack's retrievers ask: procedures over the Python interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haystack import Document

from es_semantic.api_search import retrieve, search
from es_semantic.cluster.steps import Steps
from es_semantic.config import Config
from es_semantic.errors import IndexUnavailable
from es_semantic.integrations.haystack.documents import Layout, read_document
from es_semantic.integrations.haystack.filters import Json
from es_semantic.integrations.haystack.requests import Found, find
from es_semantic.retrieval.query import MIN_RANK_WINDOW, require_page, require_query
from es_semantic.retrieval.semantic import MAX_CANDIDATES, MIN_CANDIDATES
from es_semantic.retrieval.words import searched_fields, words_query


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many documents of an index a retriever shall find, and which of them may be."""

    layout: Layout
    filters: Mapping[str, Any] | None
    top_k: int

    @property
    def window(self) -> int:
        """How many documents each leg ranks."""
        return max(self.top_k, MIN_RANK_WINDOW)


def words(wanted: Wanted, query: str) -> Steps[list[Document]]:
    """Find documents by BM25."""
    found = yield from _found(wanted)
    return (yield from _retrieved(wanted, found, {"standard": _words(wanted, found, query)}))


def nearest(wanted: Wanted, embedding: Sequence[float]) -> Steps[list[Document]]:
    """Find documents by kNN among the embeddings that they were written with."""
    found = yield from _found(wanted)
    return (yield from _retrieved(wanted, found, {"knn": _nearest(wanted, found, embedding)}))


def both(wanted: Wanted, query: str, embedding: Sequence[float]) -> Steps[list[Document]]:
    """Find documents by BM25 and by kNN among the embeddings that they were written with, fused."""
    found = yield from _found(wanted)
    legs = [{"standard": _words(wanted, found, query)}, {"knn": _nearest(wanted, found, embedding)}]
    return (yield from _retrieved(wanted, found, {"auto": {"retrievers": legs, "rank_window_size": wanted.window}}))


def hybrid(wanted: Wanted, query: str, config: Config) -> Steps[list[Document]]:
    """Find documents by BM25 and by the semantic field."""
    layout = wanted.layout
    found = yield from _found(wanted)
    result = yield from search.steps(
        layout.index,
        query,
        size=wanted.top_k,
        filters=layout.clauses(wanted.filters, found.fields),
        config=config,
        name=layout.name,
    )
    hits = [{"_id": hit.id, "_score": hit.score, "_source": hit.source} for hit in result.hits]
    return [read_document(hit, layout, found.hidden()) for hit in hits]


def _found(wanted: Wanted) -> Steps[Found]:
    require_page(wanted.top_k, 0, None)
    index = wanted.layout.index
    found = yield from find(index)
    if found is None:
        raise IndexUnavailable(
            f"no index, alias or data stream {index!r}", status=404, hint="Write documents first, or check the name."
        )
    return found


def _words(wanted: Wanted, found: Found, query: str) -> Json:
    fields = searched_fields(found.bound(wanted.layout)) or [[wanted.layout.content]]
    filters = wanted.layout.clauses(wanted.filters, found.fields)
    return {"query": words_query(require_query(query), fields), "filter": filters}


def _nearest(wanted: Wanted, found: Found, embedding: Sequence[float]) -> Json:
    layout = wanted.layout
    filters = layout.clauses(wanted.filters, found.fields)
    if (holder := found.holder(layout)) is not None:
        place, binding = holder
        filters.append({"term": {f"{place}.model": binding.stamp}})
    return {
        "field": layout.embedding,
        "query_vector": list(embedding),
        "k": wanted.window,
        "num_candidates": min(MAX_CANDIDATES, max(MIN_CANDIDATES, 2 * wanted.window)),
        "filter": filters,
    }


def _retrieved(wanted: Wanted, found: Found, retriever: Json) -> Steps[list[Document]]:
    answer = yield from retrieve.steps(
        wanted.layout.index,
        retriever=retriever,
        size=wanted.top_k,
        source={"excludes": sorted(found.hidden())},
        track_total_hits=False,
    )
    return [read_document(hit, wanted.layout, found.hidden()) for hit in answer["hits"]["hits"]]
