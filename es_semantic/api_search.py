"""The Python face of searching: search and retrieve.

As in :mod:`es_semantic.api` each takes an ``Elasticsearch`` or an ``AsyncElasticsearch`` client first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from es_semantic.chosen import Model, choosing, models_for, rerankers_for
from es_semantic.cluster.served import served
from es_semantic.cluster.steps import Steps
from es_semantic.config import DEFAULT_FIELD_NAME, Config
from es_semantic.retrieval.engine import Execution, answer_steps
from es_semantic.retrieval.query import DEFAULT_SIZE, Filters
from es_semantic.retrieval.request import read_request
from es_semantic.retrieval.results import SearchResult
from es_semantic.retrieval.search import search_steps
from es_semantic.schema.ranking import Ranking


@served
def search(
    index: str,
    text: str,
    *,
    mode: str = "hybrid",
    size: int = DEFAULT_SIZE,
    from_: int = 0,
    rank_window_size: int | None = None,
    filters: Filters = None,
    fields: Sequence[str] | None = None,
    ranking: Ranking | None = None,
    rerank: str | None = None,
    highlight: bool = False,
    source: bool = True,
    deadline: float | None = None,
    allow_degraded: bool = False,
    model: Model = None,
    config: Config | None = None,
    name: str | Sequence[str] = DEFAULT_FIELD_NAME,
) -> Steps[SearchResult]:
    """Search by ``mode``: ``hybrid`` (BM25 and kNN fused), ``knn``, ``bm25``, or ``exact`` (every vector compared).

    ``index`` may be a list (``a,b``) or a pattern, ``name`` several semantic fields: each model's vectors are a leg of
    their own. ``fields`` are what BM25 looks at, boosts allowed (``title^2``); by default the source fields.
    ``filters`` are Elasticsearch query clauses that every hit must match; they apply inside every leg. ``size`` is 1 to
    10,000; pages by ``from_`` lie inside ``rank_window_size``, by default 100 or ``size``.

    ``ranking`` says how legs are fused, by default as tuned for the index, else ``auto`` (docs/fusion.md). ``rerank``
    names a reranker of the configuration that orders what was found anew. ``highlight`` asks for fragments, ``source``
    for the documents themselves. Each leg, embedding and reranking may take ``deadline`` seconds; what fails or takes
    longer is an error, or with ``allow_degraded`` left out and named in the result.

    Raises:
        InvalidQuery: the text is empty or too long, or mode, size, page or a filter cannot be used.
        NotAttached: an index has no semantic field of that name.
        FingerprintMismatch: the model is not the one that the index is bound to.
        ModelUnavailable, RerankerError, ClusterError: a part failed, and ``allow_degraded`` is off.
    """
    choose = choosing(model, config)
    return search_steps(
        index,
        text,
        lambda binding: choose(binding.fingerprint, index),
        mode=mode,
        size=size,
        from_=from_,
        rank_window_size=rank_window_size,
        filters=filters,
        fields=fields,
        name=name,
        rerankers=rerankers_for(config),
        ranking=ranking,
        rerank=rerank,
        highlight=highlight,
        source=source,
        deadline=deadline,
        allow_degraded=allow_degraded,
    )


@served
def retrieve(
    index: str | list[str],
    *,
    retriever: Mapping[str, Any],
    execution: Execution = "auto",
    deadline: float | None = None,
    allow_degraded: bool = False,
    allow_scripts: bool = True,
    model: Model = None,
    config: Config | None = None,
    **request: Any,
) -> Steps[dict[str, Any]]:
    """Answer what elasticsearch-py's ``client.search(index=..., retriever=...)`` asks, on every licence.

    The tree is Elastic's own (docs, "Retrievers"): ``standard``, ``knn``, ``rrf``, ``linear``, ``rescorer``,
    ``text_similarity_reranker``, ``pinned``, ``diversify``, and our ``auto``. ``request`` are the other arguments of
    ``client.search``: size, from_, source, fields, highlight, aggs, collapse, explain, min_score, track_total_hits, ...

    A kNN text without ``model_id`` is embedded by the model that the field is bound to, else by the configured model of
    that name; an ``inference_id`` is a configured reranker, else an endpoint of the cluster. ``execution`` is
    ``native`` (Elasticsearch ranks), ``client`` (one request with all leaves, ranked here) or ``auto``: natively where
    the cluster can. With ``allow_scripts`` off, scripts anywhere in the tree are refused.

    Returns what ``_search`` answers. Ranked here, each hit has ``_legs``, its rank and score in every leaf by ``_name``
    or path, and what was left out of a degraded answer is named in ``es_semantic.degraded``.

    Raises:
        InvalidRetriever: the tree is malformed or refused; ``path`` tells where, ``type`` is Elasticsearch's.
        InvalidQuery: another argument cannot be used.
        ModelUnavailable, RerankerError, ClusterError: a part failed, and ``allow_degraded`` is off.
    """
    asked = read_request(index, {**request, "retriever": retriever}, allow_scripts=allow_scripts)
    query = replace(asked, execution=execution, deadline=deadline, allow_degraded=allow_degraded)
    answer = yield from answer_steps(query, models_for(model, config, query.index), rerankers_for(config))
    degraded = [{"leg": each.leg, "reason": each.reason} for each in answer.degraded]
    return {**answer.body, **({"es_semantic": {"degraded": degraded}} if degraded else {})}
