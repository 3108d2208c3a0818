"""What a reranker reads and what becomes of its scores: pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from es_semantic.errors import InvalidRetriever, RerankerError
from es_semantic.reranking.protocol import Reranker, order
from es_semantic.retrieval.best_chunks import best_chunks
from es_semantic.retrieval.found import Key, Ranking
from es_semantic.retrieval.fusion.ranked import single
from es_semantic.retrieval.tree.chunking import read_chunking
from es_semantic.retrieval.tree.nodes import TextSimilarityReranker
from es_semantic.retrieval.tree.plain import ILLEGAL_ARGUMENT


@dataclass(frozen=True, slots=True)
class Rerankers:
    """Where rerankers come from, by name: ``load`` loads one that is configured, which ``has`` tells at once.

    Any other name is an inference endpoint of the cluster.
    """

    has: Callable[[str], bool]
    load: Callable[[str], Reranker]


def with_text(node: TextSimilarityReranker, ranking: Ranking, carried: Mapping[Key, Mapping[str, Any]]) -> Ranking:
    """Return the documents that have the field, as Elasticsearch does; all of them where it is a list of fields."""
    if not isinstance(node.field, str):
        return ranking
    return [(key, score) for key, score in ranking if any(carried[key].get(name) for name in _fields(node))]


def texts_of(
    node: TextSimilarityReranker, path: str, keys: Sequence[Key], carried: Mapping[Key, Mapping[str, Any]]
) -> list[list[str]]:
    """Return the texts that stand for each document: its best chunks, or all of it.

    That is the values of the field or fields, joined by newlines.

    Raises:
        InvalidRetriever: ``chunk_rescorer`` asks for a strategy that only Elasticsearch runs.
    """
    texts = ["\n".join(str(value) for name in _fields(node) for value in carried[key].get(name, ())) for key in keys]
    if node.chunk_rescorer is None:
        return [[text] for text in texts]
    at = f"{path}.chunk_rescorer"
    chunking = read_chunking(node.chunk_rescorer, at)
    if chunking.strategy == "recursive":
        reason = "the strategy [recursive] is run by Elasticsearch alone; use [sentence] or [word]"
        raise InvalidRetriever(f"{at}.chunking_settings.strategy", ILLEGAL_ARGUMENT, reason)
    return [best_chunks(text, node.inference_text, chunking) for text in texts]


def best_of(node: TextSimilarityReranker, parts: Sequence[Sequence[str]], scores: Sequence[float]) -> list[float]:
    """Return each document's score, that of its best part.

    Raises:
        RerankerError: there is not exactly one finite score for each part.
    """
    count = sum(map(len, parts))
    finite = sum(map(math.isfinite, scores))
    if len(scores) != count or finite != count:
        raise RerankerError(
            f"reranker {node.inference_id!r} gave {finite} usable scores for {count} texts",
            hint="It must give one finite number for each text.",
        )
    given = iter(scores)
    return [max(islice(given, len(each))) for each in parts]


def reranked(node: TextSimilarityReranker, ranking: Ranking, scores: Sequence[float]) -> Ranking:
    """Return the documents by the reranker's scores, best first; equal ones keep their order.

    Scores become what Elastic's retriever makes of them, never negative: ``max(score, 0) + min(exp(score), 1)``
    (Elastic docs, "Text similarity re-ranker retriever"). ``min_score`` is about what the reranker said.
    """
    lowest = -math.inf if node.min_score is None else node.min_score
    scored = [
        (key, single(max(score, 0.0) + min(math.exp(min(score, 0.0)), 1.0)))
        for (key, _), score in zip(ranking, scores, strict=True)
    ]
    return [scored[place] for place in order(scores) if scores[place] >= lowest]


def as_it_was(ranking: Ranking) -> Ranking:
    """Return the documents in their order, with the scores that Elasticsearch gives them where a reranker fails."""
    return [(key, single(1 / rank)) for rank, (key, _) in enumerate(ranking, start=1)]


def _fields(node: TextSimilarityReranker) -> tuple[str, ...]:
    return (node.field,) if isinstance(node.field, str) else node.field


def relevance(answer: Mapping[str, Any], count: int, endpoint: str) -> list[float]:
    """Return the scores in the answer of an inference endpoint, in the order of its input.

    Raises:
        RerankerError: there is not exactly one score for each text.
    """
    scores = {one["index"]: float(one["relevance_score"]) for one in answer.get("rerank", [])}
    if sorted(scores) != list(range(count)):
        raise RerankerError(f"inference endpoint {endpoint!r} scored {len(scores)} of {count} texts")
    return [scores[place] for place in range(count)]


def _no_reranker(name: str) -> Reranker:
    raise KeyError(name)


NO_RERANKERS = Rerankers(lambda _: False, _no_reranker)
"""None is configured."""
