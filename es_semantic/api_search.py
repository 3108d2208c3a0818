"""The Python face of searching: search, more_like, context and retrieve.

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
from es_semantic.retrieval.assembly import Count
from es_semantic.retrieval.context import DEFAULT_PASSAGES, Context, context_steps
from es_semantic.retrieval.engine import Execution, bound_steps
from es_semantic.retrieval.more_like import more_like_steps
from es_semantic.retrieval.query import DEFAULT_SIZE, Filters
from es_semantic.retrieval.request import read_request
from es_semantic.retrieval.results import SearchResult
from es_semantic.retrieval.search import search_steps
from es_semantic.retrieval.wish import read_wish, require_deadline, require_index
from es_semantic.schema.ranking import Ranking


@served
def search(
    index: str | Sequence[str],
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
    passages: int = 0,
    source: bool = True,
    deadline: float | None = None,
    allow_degraded: bool = False,
    model: Model = None,
    config: Config | None = None,
    name: str | Sequence[str] = DEFAULT_FIELD_NAME,
) -> Steps[SearchResult]:
    """Search by ``mode``: ``hybrid`` (BM25 and kNN fused), ``knn``, ``bm25``, or ``exact`` (every vector compared).

    ``index`` may be a list or a pattern, ``name`` several semantic fields: each model's vectors are a leg of their own.
    ``fields`` are what BM25 looks at, boosts allowed (``title^2``); by default the source fields.
    ``filters`` are Elasticsearch query clauses that every hit must match; they apply inside every leg. ``size`` is 1 to
    10,000; pages by ``from_`` lie inside ``rank_window_size``, by default 100 or ``size``.

    ``ranking`` says how legs are fused, by default as tuned for the index, else ``auto`` (docs/fusion.md). ``rerank``
    names a reranker of the configuration that orders what was found anew. ``highlight`` asks for fragments, ``source``
    for the documents themselves. Each leg, embedding and reranking may take ``deadline`` seconds; what fails or takes
    longer is an error, or with ``allow_degraded`` left out and named in the result.

    With ``passages`` (up to 100) each hit has so many parts of its text that answer the query, best first: the nearest
    chunks of a document in chunks, with kNN scores; else fragments of up to 500 characters in which words of the query
    stand, or the beginning of the text where there are none. ``start`` and ``end`` are code points of the canonical
    text of the semantic field ``field``: its source fields' values, joined by newlines. Chunks of a text that has
    changed since do not count. It takes one more request, two where a page has chunks and fragments.

    Raises:
        InvalidQuery: the text is empty or too long, or mode, size, page or a filter cannot be used.
        NotAttached: an index has no semantic field of that name.
        FingerprintMismatch: the model is not the one that the index is bound to.
        ModelUnavailable, RerankerError, ClusterError: a part failed, and ``allow_degraded`` is off.
    """
    choose, target = choosing(model, config), require_index(index)
    return search_steps(
        target,
        text,
        lambda binding: choose(binding.fingerprint, target),
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
        passages=passages,
        source=source,
        deadline=deadline,
        allow_degraded=allow_degraded,
    )


@served
def more_like(
    index: str | Sequence[str],
    id: str,
    *,
    routing: str | None = None,
    mode: str = "knn",
    size: int = DEFAULT_SIZE,
    from_: int = 0,
    rank_window_size: int | None = None,
    filters: Filters = None,
    source: bool = True,
    deadline: float | None = None,
    name: str = DEFAULT_FIELD_NAME,
) -> Steps[SearchResult]:
    """Find the documents nearest to the document ``id`` by its stored vector, without itself; no model is needed.

    Of a document in chunks the query is the mean of its chunks' vectors, of length 1 for cosine and dot product.
    ``routing`` is needed where the id stands there more than once. Only indices whose vectors are of the same model are
    searched. ``mode`` is ``knn`` or ``exact``; ``size``, ``from_``, ``filters`` and the others are those of
    :func:`search`.

    Raises:
        InvalidQuery: there is no such document, or several; it has no vector, and the error says why not; or mode, size
            or a filter cannot be used.
        NotAttached: an index has no semantic field of that name.
        ClusterError: Elasticsearch refuses, or does not answer.
    """
    wish = read_wish(
        mode=mode,
        size=size,
        from_=from_,
        rank_window_size=rank_window_size,
        filters=filters,
        fields=None,
        name=name,
        source=source,
        deadline=deadline,
    )
    return more_like_steps(require_index(index), id, routing, wish)


@served
def context(
    index: str | Sequence[str],
    text: str,
    *,
    max_tokens: int,
    size: int = DEFAULT_SIZE,
    passages: int = DEFAULT_PASSAGES,
    title: str | None = None,
    count_tokens: Count | None = None,
    mode: str = "hybrid",
    filters: Filters = None,
    fields: Sequence[str] | None = None,
    ranking: Ranking | None = None,
    rerank: str | None = None,
    deadline: float | None = None,
    allow_degraded: bool = False,
    model: Model = None,
    config: Config | None = None,
    name: str | Sequence[str] = DEFAULT_FIELD_NAME,
) -> Steps[Context]:
    """Search, and put passages of the ``size`` best documents into one text for a prompt, of at most ``max_tokens``.

    Each passage stands under ``[n]`` and the value of the field ``title``, by default the document's id; ``citations``
    tell the index, id and offsets of each. Documents stand by rank and each one's passages in the order of its text,
    those that overlap or touch as one. What stands there already is left out, in other documents too; so is a passage
    that does not fit, except that the first is cut after a sentence.

    ``count_tokens`` counts the tokens of a text. By default the bound model's own tokenizer does, special tokens apart;
    where it is out of reach (a model behind HTTP) or no model is needed (``mode="bm25"``), two bytes of UTF-8 count as
    a token, which is more than tokenizers make of most texts. All else is as for :func:`search`.

    Raises:
        InvalidQuery: ``max_tokens`` or ``passages`` is less than 1; else as :func:`search`.
    """
    wish = read_wish(
        mode=mode,
        size=size,
        from_=0,
        rank_window_size=None,
        filters=filters,
        fields=fields,
        name=name,
        passages=passages,
        ranking=ranking,
        rerank=rerank,
        deadline=deadline,
        allow_degraded=allow_degraded,
    )
    target = require_index(index)
    return context_steps(
        target,
        text,
        wish,
        models_for(model, config, target),
        rerankers_for(config),
        max_tokens=max_tokens,
        count=count_tokens,
        title=title,
    )


@served
def retrieve(
    index: str | Sequence[str],
    *,
    retriever: Mapping[str, Any] | None = None,
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
    the cluster can; a tree of one leaf is always Elasticsearch's own search. With ``allow_scripts`` off, scripts
    anywhere in the request are refused.

    Each leaf, embedding and reranking may take ``deadline`` seconds, None as long as they will; what fails or takes
    longer is an error, or missing and named with ``allow_degraded``. A ``timeout`` in the request, where there is no
    ``deadline``, is each leaf's. A tree of one leaf then answers as ``_search`` does, with what was found in time and
    ``timed_out``; in a larger tree a leaf that is late has failed, because half a ranking cannot be fused.

    Returns what ``_search`` answers. Ranked here, each hit has ``_legs``, its rank and score in every leaf by ``_name``
    or path, and what was left out of a degraded answer is named in ``es_semantic.degraded``.

    Raises:
        InvalidRetriever: the tree is malformed or refused; ``path`` tells where, ``type`` is Elasticsearch's.
        InvalidQuery: another argument cannot be used.
        ModelUnavailable, RerankerError, ClusterError: a part failed, and ``allow_degraded`` is off.
    """
    given = {**request, **({} if retriever is None else {"retriever": retriever})}
    asked = read_request(require_index(index), given, allow_scripts=allow_scripts)
    query = replace(asked, execution=execution, deadline=require_deadline(deadline), allow_degraded=allow_degraded)
    answer = yield from bound_steps(query, models_for(model, config, query.index), rerankers_for(config))
    degraded = [{"leg": each.leg, "reason": each.reason} for each in answer.degraded]
    return {**answer.body, **({"es_semantic": {"degraded": degraded}} if degraded else {})}
