"""Search for a text by words, by meaning, or by both: the procedure behind :func:`es_semantic.search`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.steps import Compute, Steps
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.errors import InvalidQuery, InvalidRetriever, ModelUnavailable
from es_semantic.retrieval.deadline import within
from es_semantic.retrieval.engine import Query, answer_steps
from es_semantic.retrieval.exact import exact_query
from es_semantic.retrieval.found import Degraded
from es_semantic.retrieval.page import Page
from es_semantic.retrieval.passage_search import Wanted, passages_steps
from es_semantic.retrieval.passages import require_passages
from es_semantic.retrieval.query import (
    DEFAULT_SIZE,
    MIN_RANK_WINDOW,
    Filters,
    Mode,
    filter_clauses,
    require_mode,
    require_page,
    require_query,
)
from es_semantic.retrieval.query_vectors import Models, query_vector
from es_semantic.retrieval.reranked import Rerankers
from es_semantic.retrieval.results import SearchResult, read_hit
from es_semantic.retrieval.semantic import Group, groups, leg_names
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
from es_semantic.retrieval.words import plain, searched_fields, source_fields, words_query
from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.lookup import bindings_of
from es_semantic.schema.ranking import Ranking

LEXICAL = "bm25"

EmbedderFor = Callable[[Binding], Embedder]


def no_models(_: str) -> None:
    """No model is configured by a name."""


def no_rerankers(_: str) -> None:
    """No reranker is configured."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How a text is to be searched, beyond the text itself; see :func:`es_semantic.search`."""

    mode: Mode = "hybrid"
    size: int = DEFAULT_SIZE
    start: int = 0
    window: int = MIN_RANK_WINDOW
    filters: tuple[Json, ...] = ()
    fields: tuple[str, ...] | None = None
    names: tuple[str, ...] = (DEFAULT_FIELD_NAME,)
    ranking: Ranking | None = None
    rerank: str | None = None
    highlight: bool = False
    passages: int = 0
    source: bool = True
    deadline: float | None = None
    allow_degraded: bool = False

    @property
    def vector_leg(self) -> str:
        """What hits call the vector leg."""
        return "exact" if self.mode == "exact" else "knn"


def read_wish(
    *,
    mode: str,
    size: int,
    from_: int,
    rank_window_size: int | None,
    filters: Filters,
    fields: Sequence[str] | None,
    name: str | Sequence[str],
    passages: int = 0,
    **others: Any,
) -> Wish:
    """Return the checked wish.

    Raises:
        InvalidQuery: a mode, size, filter, field list, name or number of passages that cannot be used.
    """
    checked = require_mode(mode)
    require_passages(passages)
    window = require_page(size, from_, rank_window_size)
    if fields is not None and not fields:
        raise InvalidQuery("fields must name at least one field", hint="Leave it out to search the source fields.")
    names = (name,) if isinstance(name, str) else tuple(dict.fromkeys(name))
    if not names:
        raise InvalidQuery("name must name at least one semantic field", hint="Leave it out to search 'semantic'.")
    clauses = tuple(dict(clause) for clause in filter_clauses(filters))
    chosen = None if fields is None else tuple(fields)
    return Wish(checked, size, from_, window, clauses, chosen, names, passages=passages, **others)


def search_steps(
    index: str,
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
    rerankers: Rerankers = no_rerankers,
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
    return (yield from wished_steps(index, text, wish, Models(embedder_for, no_models), rerankers))


def wished_steps(index: str, text: str, wish: Wish, models: Models, rerankers: Rerankers) -> Steps[SearchResult]:
    """Answer one query whose options have been checked."""
    query = require_query(text)
    started = time.perf_counter()
    bindings = yield from _bindings(index)
    members = groups(bindings, wish.names, index=index)
    loading = time.perf_counter()
    if wish.mode != LEXICAL:
        yield from _load(members, models, index)
    started += time.perf_counter() - loading
    vectors, degraded = yield from _vectors(members, query, wish, models)
    root, targets = tree(query, wish, members, vectors, alone=len(members) == 1 or wish.mode == LEXICAL)
    body: Json = {"track_total_hits": False, "_source": shown_source(wish, bindings)}
    if wish.highlight:
        fields = plain(field for group in _searched(wish, members) for field in group)
        body["highlight"] = {"fields": {field: {} for field in fields}}
    asked = Query(
        index,
        root,
        Page(wish.size, wish.start, body),
        targets=targets,
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
    hits = tuple(read_hit(hit, rank, wish.mode) for rank, hit in ranks)
    degraded += answer.degraded
    if wish.passages:
        wanted = Wanted(index, query, wish.passages, wish.source, wish.deadline, wish.allow_degraded)
        legs = leg_names(members, wish.vector_leg)
        hits, missing = yield from passages_steps(wanted, hits, members, legs, vectors, bindings)
        degraded += missing
    took = (time.perf_counter() - started) * 1000
    return SearchResult(index, wish.mode, took, hits, tuple(degraded))


def tree(
    text: str, wish: Wish, members: Sequence[Group], vectors: Mapping[int, Vector], *, alone: bool
) -> tuple[Retriever, dict[str, str]]:
    """Return the retriever tree of a text, and the index that each leaf is for where it is not the query's own."""
    legs: list[tuple[Retriever, tuple[str, ...] | None]] = []
    if wish.mode in ("hybrid", LEXICAL):
        legs.append((_words(text, wish, members), None))
    for number, (name, group) in enumerate(zip(leg_names(members, wish.vector_leg), members, strict=True)):
        if number in vectors:
            legs.append((_meaning(name, group, vectors[number], wish), None if alone else group.indices))
    nodes = [node for node, _ in legs]
    root = nodes[0] if len(nodes) == 1 else fused(nodes, _ranking(wish, members), wish.window)
    paths = [kind(root)] if len(nodes) == 1 else [f"{kind(root)}.{way}.{kind(node)}" for way, node in root.children]
    if wish.rerank is not None:
        root = TextSimilarityReranker(
            retriever=contained(root),
            field=plain(wish.fields or source_fields(_bindings_of(members))),
            inference_text=text,
            inference_id=wish.rerank,
            rank_window_size=wish.window,
        )
        paths = [f"{kind(root)}.retriever.{path}" for path in paths]
    return root, {
        path: ",".join(indices) for path, (_, indices) in zip(paths, legs, strict=True) if indices is not None
    }


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
    return {"excludes": sorted({name for each in bindings.values() for name in each.fields})}


def _bindings(index: str) -> Steps[dict[str, Bindings]]:
    bindings = yield from bindings_of(index)
    if not any(each.fields for each in bindings.values()):
        # On a server that is too old nothing can be attached, and that is the better answer.
        yield from server_version()
    return bindings


def _load(members: Sequence[Group], models: Models, index: str) -> Steps[None]:
    for group in members:
        yield Compute(partial(_loaded, models, group, index))


def _loaded(models: Models, group: Group, index: str) -> Embedder:
    embedder = models.bound(group.binding)
    require_same_model(group.binding.fingerprint, embedder.profile.fingerprint, index=index)
    return embedder


def _vectors(
    members: Sequence[Group], text: str, wish: Wish, models: Models
) -> Steps[tuple[dict[int, Vector], list[Degraded]]]:
    """Embed the text once for each model; where that fails and words can be searched, go on without."""
    vectors: dict[int, Vector] = {}
    degraded: list[Degraded] = []
    if wish.mode == LEXICAL:
        return vectors, degraded
    for number, (name, group) in enumerate(zip(leg_names(members), members, strict=True)):
        embed = partial(query_vector, models.bound(group.binding), text)
        try:
            vectors[number] = yield Compute(partial(within, wish.deadline, embed))
        except (ModelUnavailable, TimeoutError) as error:
            if not wish.allow_degraded or wish.mode != "hybrid":
                raise
            degraded.append(Degraded(name, str(error) or f"not embedded within {wish.deadline:g} seconds"))
    return vectors, degraded
