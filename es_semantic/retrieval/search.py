"""Search for a text by words, by meaning, or by both: the procedure behind :func:`es_semantic.search`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.steps import Compute, Steps
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.errors import InvalidQuery, InvalidRetriever, ModelError
from es_semantic.retrieval.engine import Query, answer_steps
from es_semantic.retrieval.exact import exact_query
from es_semantic.retrieval.found import Degraded
from es_semantic.retrieval.fresh import with_fresh_bindings
from es_semantic.retrieval.page import Page
from es_semantic.retrieval.passage_search import Wanted, passages_steps
from es_semantic.retrieval.passages import MAX_ANALYZED
from es_semantic.retrieval.query import DEFAULT_SIZE, Filters, require_query
from es_semantic.retrieval.query_vectors import NO_VECTOR, Models, vector_in_time
from es_semantic.retrieval.reranked import NO_RERANKERS, Rerankers
from es_semantic.retrieval.results import SearchResult, read_hit
from es_semantic.retrieval.semantic import Group, groups, leg_names
from es_semantic.retrieval.targets import targets_of
from es_semantic.retrieval.tree.nodes import (
    Auto,
    Json,
    Linear,
    LinearEntry,
    Retriever,
    Rrf,
    RrfEntry,
    Standard,
    TextSimilarityReranker,
    Vector,
    contained,
    kind,
)
from es_semantic.retrieval.wish import Wish, read_wish, require_index
from es_semantic.retrieval.words import highlighted_fields, plain, searched_fields, source_fields, words_query
from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.ranking import Ranking

LEXICAL = "bm25"

EmbedderFor = Callable[[Binding], Embedder]


def no_models(_: str) -> None:
    """No model is configured by a name."""


def search_steps(
    index: str | Sequence[str],
    text: str,
    embedder_for: EmbedderFor,
    *,
    mode: str = "hybrid",
    size: int = DEFAULT_SIZE,
    from_: int = 0,
    rank_window_size: int | None = None,
    filters: Filters = None,
    fields: Sequence[str] | None = None,
    name: str | Sequence[str] = DEFAULT_FIELD_NAME,
    rerankers: Rerankers = NO_RERANKERS,
    **options: Any,
) -> Steps[SearchResult]:
    """Answer one query; see :func:`es_semantic.search`. ``options`` are the last fields of :class:`Wish`."""
    wish = read_wish(
        mode=mode,
        size=size,
        from_=from_,
        rank_window_size=rank_window_size,
        filters=filters,
        fields=fields,
        name=name,
        **options,
    )
    return (yield from wished_steps(require_index(index), text, wish, Models(embedder_for, no_models), rerankers))


def wished_steps(index: str, text: str, wish: Wish, models: Models, rerankers: Rerankers) -> Steps[SearchResult]:
    """Answer one query whose options have been checked."""
    query = require_query(text)
    return with_fresh_bindings(
        index,
        lambda bindings: _answered(index, bindings, query, wish, models, rerankers),
        lambda result: [hit.index for hit in result.hits],
    )


def _answered(
    index: str, bindings: Mapping[str, Bindings], query: str, wish: Wish, models: Models, rerankers: Rerankers
) -> Steps[SearchResult]:
    started = time.perf_counter()
    if not any(each.fields for each in bindings.values()):
        # On a server that is too old nothing can be attached, and that is the better answer.
        yield from server_version()
    members = groups(bindings, wish.names, index=index)
    reach = yield from targets_of(index, bindings, members)
    vectors, degraded, loading = yield from _vectors(members, query, wish, models, index)
    started += loading
    root, targets = tree(query, wish, members, vectors, reach)
    body: Json = {"track_total_hits": False, "_source": shown_source(wish, bindings)}
    shown: dict[str, str] = {}
    if wish.highlight:
        every = highlighted_fields(_bindings_of(members))
        shown = {field: field for field in plain(wish.fields)} if wish.fields else every
        body["highlight"] = {"fields": {field: {} for field in shown}, "max_analyzed_offset": MAX_ANALYZED}
    asked = Query(
        index,
        root,
        Page(wish.size, wish.start, body, named=False),
        {"allow_partial_search_results": "false"},
        targets,
        execution="auto" if isinstance(root, Standard) or kind(root) == "knn" else "client",
        deadline=wish.deadline,
        allow_degraded=wish.allow_degraded,
    )
    try:
        answer = yield from answer_steps(asked, models, rerankers)
    except InvalidRetriever as error:
        if wish.filters:
            hint = error.hint or "Check the filters: each is one Elasticsearch query clause."
            raise InvalidQuery(f"searching {index!r}: {error.reason}", hint=hint) from error
        raise
    ranks = enumerate(answer.body["hits"]["hits"], start=wish.start + 1)
    hits = tuple(read_hit(hit, rank, root.name or wish.mode, shown) for rank, hit in ranks)
    degraded += answer.degraded
    if wish.passages:
        wanted = Wanted(index, query, wish.passages, wish.source, wish.deadline, wish.allow_degraded)
        legs = leg_names(members, wish.vector_leg)
        hits, missing = yield from passages_steps(wanted, hits, members, legs, vectors, bindings)
        degraded += missing
    took = (time.perf_counter() - started) * 1000
    return SearchResult(index, wish.mode, took, hits, tuple(degraded))


def tree(
    text: str, wish: Wish, members: Sequence[Group], vectors: Mapping[int, Vector], reach: Sequence[str | None]
) -> tuple[Retriever, dict[str, str]]:
    """Return the retriever tree of a text, and the index that each leaf is for where it is not the query's own."""
    legs: list[tuple[Retriever, str | None]] = []
    if wish.mode in ("hybrid", LEXICAL):
        legs.append((_words(text, wish, members), None))
    for number, (name, group) in enumerate(zip(leg_names(members, wish.vector_leg), members, strict=True)):
        if number in vectors:
            legs.append((_meaning(name, group, vectors[number], wish), reach[number]))
    nodes = [node for node, _ in legs]
    root = nodes[0] if len(nodes) == 1 else fused(nodes, _ranking(wish, members), wish.window)
    paths = [kind(root)] if len(nodes) == 1 else [f"{kind(root)}.{way}.{kind(node)}" for way, node in root.children]
    if wish.rerank is not None:
        root = TextSimilarityReranker(
            retriever=contained(root),
            field=tuple(source_fields(_bindings_of(members))),
            inference_text=text,
            inference_id=wish.rerank,
            rank_window_size=wish.window,
        )
        paths = [f"{kind(root)}.retriever.{path}" for path in paths]
    return root, {path: target for path, (_, target) in zip(paths, legs, strict=True) if target is not None}


def fused(nodes: Sequence[Retriever], ranking: Ranking, window: int) -> Retriever:
    """Return the legs under the retriever that ``ranking`` asks for; every vector leg has the weight of ``knn``."""
    weights = [ranking.weight("bm25" if node.name == LEXICAL else "knn") for node in nodes]
    held = [contained(node) for node in nodes]
    match ranking.method:
        case "auto":
            return Auto(retrievers=tuple(held), rank_window_size=window)
        case "rrf":
            entries = tuple(RrfEntry(retriever=each, weight=weight) for each, weight in zip(held, weights, strict=True))
            return Rrf(retrievers=entries, rank_constant=ranking.rank_constant, rank_window_size=window)
    parts = tuple(LinearEntry(retriever=each, weight=weight) for each, weight in zip(held, weights, strict=True))
    return Linear(retrievers=parts, normalizer=ranking.normalizer, rank_window_size=window)


def _words(text: str, wish: Wish, members: Sequence[Group]) -> Standard:
    """All fields as if they were one (Elastic docs, "Multi-match query"; why: docs/decisions/bm25-leg.md)."""
    match = words_query(text, _searched(wish, members))
    return Standard(query=match, filter=wish.filters, name=LEXICAL)


def _meaning(leg: str, group: Group, vector: Vector, wish: Wish) -> Retriever:
    if wish.mode == "exact":
        return Standard(query=exact_query(vector, group.binding, group.name, wish.filters), name=leg)
    return group.knn(leg, vector, wish.filters, k=wish.window)


def _searched(wish: Wish, members: Sequence[Group]) -> list[list[str]]:
    return [list(wish.fields)] if wish.fields else searched_fields(_bindings_of(members))


def _bindings_of(members: Sequence[Group]) -> list[Binding]:
    return [binding for group in members for binding in group.bindings]


def _ranking(wish: Wish, members: Sequence[Group]) -> Ranking:
    """The caller's, else what was tuned for the index where all indices agree on it, else the default."""
    if wish.ranking is not None:
        return wish.ranking
    tuned = {group.binding.ranking for group in members}
    return (tuned.pop() if len(tuned) == 1 else None) or Ranking()


def shown_source(wish: Wish, bindings: Mapping[str, Bindings]) -> Any:
    """Return the ``_source`` of a search: documents without what es-semantic keeps in them, or none."""
    if not wish.source:
        return False
    return {"excludes": sorted({name for each in bindings.values() for name in each.hidden()})}


def _loaded(models: Models, group: Group, index: str) -> Embedder:
    embedder = models.bound(group.binding)
    require_same_model(group.binding.fingerprint, embedder.profile.fingerprint, index=index)
    return embedder


def _vectors(
    members: Sequence[Group], text: str, wish: Wish, models: Models, index: str
) -> Steps[tuple[dict[int, Vector], list[Degraded], float]]:
    """Embed the text once for each model; where that fails and another leg is left, go on without if that is allowed.

    Returns the vectors by the number of their group, what failed, and the seconds that loading the models took.
    """
    vectors: dict[int, Vector] = {}
    failed: list[tuple[str, ModelError]] = []
    loading = 0.0
    searched = () if wish.mode == LEXICAL else zip(leg_names(members, wish.vector_leg), members, strict=True)
    for number, (name, group) in enumerate(searched):
        try:
            started = time.perf_counter()
            embedder = yield Compute(partial(_loaded, models, group, index))
            loading += time.perf_counter() - started
            vectors[number] = yield Compute(partial(vector_in_time, embedder, text, wish.deadline))
        except NO_VECTOR as error:
            failed.append((name, error))
    if failed and not (wish.allow_degraded and (vectors or wish.mode == "hybrid")):
        raise failed[0][1]
    return vectors, [Degraded(name, error.what) for name, error in failed], loading
