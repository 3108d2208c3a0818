"""From what the leaves have found to the tree's own ranking: one procedure, which asks for more only where it must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from es_semantic.cluster.failures import LICENCE
from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.deadline import in_milliseconds
from es_semantic.errors import ClusterError, InvalidRetriever, RerankerError
from es_semantic.reranking.protocol import Reranker
from es_semantic.retrieval.diversity import diversified
from es_semantic.retrieval.documents import ranked_query
from es_semantic.retrieval.found import Degraded, Found, Key, Ranking, at_least, key_of, within_bounds
from es_semantic.retrieval.fusion.auto import auto
from es_semantic.retrieval.fusion.linear import linear
from es_semantic.retrieval.fusion.ranked import Fused
from es_semantic.retrieval.fusion.rrf import rrf
from es_semantic.retrieval.leaves import PINS
from es_semantic.retrieval.pins import by_name, pinned
from es_semantic.retrieval.refusals import CALLERS_FAULT, refused
from es_semantic.retrieval.reranked import Rerankers, as_it_was, best_of, relevance, reranked, texts_of, with_text
from es_semantic.retrieval.tree.nodes import (
    Auto,
    Compound,
    Diversify,
    Json,
    Knn,
    Linear,
    Pinned,
    Rescorer,
    Retriever,
    Rrf,
    Standard,
    TextSimilarityReranker,
    kind,
)


@dataclass(frozen=True, slots=True)
class Means:
    """What a tree may call on: where to search, rerankers by name, and how much may fail.

    ``params`` are those of every search, ``body`` what every search holds besides. ``deadline`` is in seconds. With
    ``allow_degraded`` a part that fails is left out and named in the answer.
    """

    index: str
    params: Mapping[str, str]
    body: Mapping[str, Any]
    rerankers: Rerankers
    deadline: float | None
    allow_degraded: bool


def evaluate(node: Retriever, path: str, found: Found, means: Means) -> Steps[Ranking]:
    """Return the ranking of a retriever, and leave that of everything below it in ``found.rankings``.

    A leaf that has failed is absent from ``found.rankings``; fusion goes on without it.

    Raises:
        RerankerError, ClusterError: a stage failed and the caller does not allow a degraded answer.
        InvalidRetriever: Elasticsearch refuses a stage; the path tells which.
    """
    if isinstance(node, Standard | Knn):
        return found.rankings.get(path, [])
    below: list[Ranking | None] = []
    for way, child in node.children:
        at = f"{path}.{way}.{kind(child)}"
        ranking = yield from evaluate(child, at, found, means)
        below.append(ranking if at in found.rankings else None)
    if all(leg is None for leg in below) and not isinstance(node, Pinned):
        # All that it would have ranked has failed, and so has it.
        return []
    ranking = within_bounds((yield from _combined(node, path, below, found, means)))
    if node.min_score is not None and not isinstance(node, TextSimilarityReranker):
        ranking = at_least(ranking, node.min_score)
    found.rankings[path] = ranking
    return ranking


def _combined(
    node: Retriever, path: str, below: Sequence[Ranking | None], found: Found, means: Means
) -> Steps[Ranking]:
    first = below[0] or []
    match node:
        case Rrf() | Linear() | Auto():
            within = [None if leg is None else leg[: node.window] for leg in below]
            return _fused(node, within, found)[: node.window]
        case Pinned():
            there = found.rankings.get(f"{path}.{PINS}", [])
            is_pinned = by_name(lambda key: found.names.get((f"{path}.{PINS}", key), ()))
            return pinned(node.pins, there, first, is_pinned, found.tie)[: node.window]
        case Diversify():
            return found.by_score(_diversified(node, path, first[: node.window], found))
        case Rescorer() if isinstance(node.children[0].node, Standard | Knn):
            # The leaf's own search has re-scored it.
            return found.by_score(first)
        case Rescorer():
            stage = _rescored(node, path, first, found, means)
            return (yield from _or(first[: node.window], stage, path, found, degrade=means.allow_degraded))
        case TextSimilarityReranker():
            window = first[: node.window]
            stage = _reranked(node, path, window, found, means)
            allowed = {"degrade": means.allow_degraded, "forgive": node.allow_rerank_failures}
            return (yield from _or(as_it_was(window), stage, path, found, **allowed))
    raise AssertionError(node)


def _or(
    otherwise: Ranking, stage: Steps[Ranking], path: str, found: Found, *, degrade: bool, forgive: bool = False
) -> Steps[Ranking]:
    """Run a stage; where it fails and that is allowed, keep what came in and say so.

    ``degrade`` allows failures that can pass, ``forgive`` all: as in Elasticsearch also that there is no such endpoint.
    """
    try:
        return (yield from stage)
    except (ClusterError, RerankerError) as error:
        wrong = isinstance(error, ClusterError) and error.status in CALLERS_FAULT
        if not forgive and (wrong or not degrade):
            raise
        found.degraded.append(Degraded(path, error.what))
        return otherwise


def _fused(node: Compound, below: Sequence[Ranking | None], found: Found) -> Ranking:
    """Fuse the legs that have not failed, each with its own weight and normalizer."""
    alive = [number for number, leg in enumerate(below) if leg is not None]
    legs = [below[number] or [] for number in alive]
    fused: list[Fused[Key]]
    match node:
        case Rrf():
            weights = [node.retrievers[number].weight for number in alive]
            fused = rrf(legs, rank_constant=node.rank_constant, weights=weights, tie=found.tie)
        case Linear():
            entries = [node.retrievers[number] for number in alive]
            weights = [entry.weight for entry in entries]
            normalizers = [entry.normalizer or node.normalizer or "none" for entry in entries]
            # Twice the score of a pin overflows; scores are brought back within bounds later.
            with np.errstate(over="ignore"):
                fused = linear(legs, weights=weights, normalizers=normalizers, tie=found.tie)
        case _:
            windows = [_asked(node.children[number].node, node.window) for number in alive]
            fused = auto(legs, windows=windows, tie=found.tie)
    return [(document.key, document.score) for document in fused]


def _asked(node: Retriever, window: int) -> int:
    """Return how many documents a leg was asked for."""
    match node:
        case Knn():
            return min(node.k, window)
        case Diversify():
            return min(node.wanted, window)
    return window


def _diversified(node: Diversify, path: str, ranking: Ranking, found: Found) -> Ranking:
    try:
        return diversified(node, ranking, found.carried)
    except ValueError as error:
        raise InvalidRetriever(f"{path}.query_vector", "illegal_argument_exception", str(error)) from None


def _rescored(node: Rescorer, path: str, ranking: Ranking, found: Found, means: Means) -> Steps[Ranking]:
    """Let Elasticsearch re-score what a compound retriever has ranked, one request.

    As in Elasticsearch each shard re-scores its best ``window_size`` documents of all that the retriever below has.
    """
    if not ranking:
        return []
    body: Json = {
        **means.body,
        "query": ranked_query(ranking),
        "rescore": list(node.rescore),
        "size": node.window,
        "_source": False,
        "track_total_hits": False,
    }
    params = {**means.params, "filter_path": "hits.hits._index,hits.hits._id,hits.hits._routing,hits.hits._score"}
    try:
        answer = yield Request("POST", url_path("/{}/_search", means.index), params, body)
    except ClusterError as error:
        raise refused(error, path) from error
    hits: list[dict[str, Any]] = answer.get("hits", {}).get("hits", [])
    return found.by_score([(key_of(hit), float(hit["_score"])) for hit in hits])


def _reranked(node: TextSimilarityReranker, path: str, ranking: Ranking, found: Found, means: Means) -> Steps[Ranking]:
    """Let a reranker score what has a text; Elasticsearch too leaves out documents without the field."""
    ranking = with_text(node, ranking, found.carried)
    keys = [key for key, _ in ranking]
    parts: list[list[str]] = yield Compute(partial(texts_of, node, path, keys, found.carried))
    texts = [text for each in parts for text in each]
    if not texts:
        return []
    if not means.rerankers.has(node.inference_id):
        inferred = yield from _inferred(node, texts, means)
        return found.by_score(reranked(node, ranking, best_of(node, parts, inferred)))
    reranker: Reranker = yield Compute(partial(means.rerankers.load, node.inference_id))
    scores = yield Compute(partial(reranker.scores, node.inference_text, texts, deadline=means.deadline))
    return reranked(node, ranking, best_of(node, parts, scores))


def _inferred(node: TextSimilarityReranker, texts: Sequence[str], means: Means) -> Steps[list[float]]:
    """Ask an inference endpoint of the cluster (Elastic docs, "Perform reranking inference on the service")."""
    body = {"query": node.inference_text, "input": list(texts)}
    params = {} if means.deadline is None else {"timeout": in_milliseconds(means.deadline)}
    try:
        answer = yield Request("POST", url_path("/_inference/rerank/{}", node.inference_id), params, body)
    except ClusterError as error:
        if error.status in (400, 404, 405) or LICENCE in error.what:
            error.hint = f"No reranker {node.inference_id!r} is configured; so the cluster was asked for an endpoint."
        raise
    return relevance(answer, len(texts), node.inference_id)
