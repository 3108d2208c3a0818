"""From what the leaves have found to the tree's own ranking: one procedure, which asks for more only where it must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.errors import ClusterError, RerankerError, RerankerUnavailable
from es_semantic.retrieval.diversity import diversified
from es_semantic.retrieval.documents import ranked_query
from es_semantic.retrieval.found import Degraded, Found, Key, Ranking, key_of
from es_semantic.retrieval.fusion.auto import auto
from es_semantic.retrieval.fusion.linear import linear
from es_semantic.retrieval.fusion.ranked import Fused
from es_semantic.retrieval.fusion.rrf import rrf
from es_semantic.retrieval.leaves import PINS, Leaf
from es_semantic.retrieval.pins import pinned
from es_semantic.retrieval.reranked import Rerankers, relevance, reranked, texts_of
from es_semantic.retrieval.tree.nodes import (
    Auto,
    Compound,
    Diversify,
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

    ``deadline`` is in seconds. With ``allow_degraded`` a part that fails is left out and named in the answer.
    """

    index: str
    params: dict[str, str]
    rerankers: Rerankers
    deadline: float | None
    allow_degraded: bool


def evaluate(node: Retriever, path: str, found: Found, means: Means, legs: Sequence[Leaf]) -> Steps[Ranking]:
    """Return the ranking of a retriever, and leave that of everything below it in ``found.rankings``.

    A leaf that has failed is absent from ``found.rankings``; fusion goes on without it.

    Raises:
        RerankerError, ClusterError: a stage failed and the caller does not allow a degraded answer.
    """
    if isinstance(node, Standard | Knn):
        return found.rankings.get(path, [])
    if isinstance(node, Rescorer) and isinstance(node.children[0].node, Standard | Knn):
        # The leaf's own search has re-scored it.
        ranking = found.rankings.get(f"{path}.retriever.{kind(node.children[0].node)}", [])
    else:
        below: list[Ranking | None] = []
        for way, child in node.children:
            at = f"{path}.{way}.{kind(child)}"
            ranking = yield from evaluate(child, at, found, means, legs)
            below.append(ranking[: node.window] if at in found.rankings else None)
        ranking = yield from _combined(node, path, below, found, means)
    if node.min_score is not None:
        ranking = [(key, score) for key, score in ranking if score >= node.min_score]
    found.rankings[path] = ranking
    return ranking


def _combined(
    node: Retriever, path: str, below: Sequence[Ranking | None], found: Found, means: Means
) -> Steps[Ranking]:
    match node:
        case Rrf() | Linear() | Auto():
            return _fused(node, below, found)[: node.window]
        case Pinned():
            return pinned(node.pins, found.rankings.get(f"{path}.{PINS}", []), below[0] or [])[: node.window]
        case Diversify():
            return diversified(node, below[0] or [], found.carried)
        case Rescorer():
            return (yield from _or_as_it_was(_rescored(node, below[0] or [], found, means), path, below, found, means))
        case TextSimilarityReranker():
            return (yield from _or_as_it_was(_reranked(node, below[0] or [], found, means), path, below, found, means))
    raise AssertionError(node)


def _or_as_it_was(
    stage: Steps[Ranking], path: str, below: Sequence[Ranking | None], found: Found, means: Means
) -> Steps[Ranking]:
    """Run a stage; where it fails and that is allowed, keep the order that came in and say so."""
    try:
        return (yield from stage)
    except (ClusterError, RerankerError, RerankerUnavailable) as error:
        if not means.allow_degraded:
            raise
        found.degraded.append(Degraded(path, error.what))
        return below[0] or []


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
            normalizers = [entry.normalizer or node.normalizer or "none" for entry in entries]
            fused = linear(legs, weights=[entry.weight for entry in entries], normalizers=normalizers, tie=found.tie)
        case _:
            fused = auto(legs)
    return [(document.key, document.score) for document in fused]


def _rescored(node: Rescorer, ranking: Ranking, found: Found, means: Means) -> Steps[Ranking]:
    """Let Elasticsearch re-score what a compound retriever has ranked, one request."""
    if not ranking:
        return []
    body = {
        "query": ranked_query(ranking),
        "rescore": list(node.rescore),
        "size": min(node.window, len(ranking)),
        "_source": False,
        "track_total_hits": False,
    }
    params = {**means.params, "filter_path": "hits.hits._index,hits.hits._id,hits.hits._routing,hits.hits._score"}
    answer = yield Request("POST", url_path("/{}/_search", means.index), params, body)
    hits: list[dict[str, Any]] = answer.get("hits", {}).get("hits", [])
    scored = [(key_of(hit), float(hit["_score"])) for hit in hits]
    return sorted(scored, key=lambda one: (-one[1], found.tie(one[0])))


def _reranked(node: TextSimilarityReranker, ranking: Ranking, found: Found, means: Means) -> Steps[Ranking]:
    texts = texts_of(node, [key for key, _ in ranking], found.carried)
    if not texts:
        return []
    reranker = means.rerankers(node.inference_id)
    if reranker is not None:
        call = partial(reranker.scores, node.inference_text, texts, deadline=means.deadline)
        scores: list[float] = yield Compute(call)
    else:
        scores = yield from _inferred(node, texts)
    return reranked(ranking, scores)


def _inferred(node: TextSimilarityReranker, texts: Sequence[str]) -> Steps[list[float]]:
    """Ask an inference endpoint of the cluster (Elastic docs, "Perform reranking inference on the service")."""
    body = {"query": node.inference_text, "input": list(texts)}
    answer = yield Request("POST", url_path("/_inference/rerank/{}", node.inference_id), body=body)
    return relevance(answer, len(texts), node.inference_id)
