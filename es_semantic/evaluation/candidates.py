"""The rankings that tuning chooses from, applied to ranked lists that were fetched once: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

from es_semantic.evaluation.lists import List
from es_semantic.retrieval.fusion.auto import auto
from es_semantic.retrieval.fusion.linear import linear
from es_semantic.retrieval.fusion.rrf import rrf
from es_semantic.schema.ranking import Normalizer, Ranking

LEGS = ("bm25", "knn")

STEPS = 20
"""Weights go from one leg alone to the other alone in so many steps."""

RANK_CONSTANTS = (60, 1, 10, 20, 100)
NORMALIZERS: tuple[Normalizer, ...] = ("minmax", "l2_norm")


def candidates(current: Ranking) -> list[Ranking]:
    """Return every ranking to try, the current one first: where several are equally good, the first is chosen."""
    both = [step / STEPS for step in (STEPS // 2, *(s for s in range(1, STEPS) if s != STEPS // 2))]
    alone = [_weights(0.0), _weights(1.0)]
    found = [
        current,
        Ranking(method="auto"),
        *(
            Ranking(method="rrf", rank_constant=constant, weights=_weights(share) if share != 0.5 else {})
            for constant in RANK_CONSTANTS
            for share in both
        ),
        *(
            Ranking(method="linear", normalizer=normalizer, weights=_weights(share))
            for normalizer in NORMALIZERS
            for share in both
        ),
        *(Ranking(method="linear", weights=weights) for weights in alone),
    ]
    return [ranking for number, ranking in enumerate(found) if ranking not in found[:number]]


def fused(legs: Sequence[List], ranking: Ranking) -> list[str]:
    """Return the ids of a hybrid query's hits, best first; ``legs`` are those of BM25 and of kNN.

    A search orders hits of equal score by their place in the index, which is not known here: chance decides, always the
    same way, so that ties favour neither leg.
    """
    weights = [ranking.weight("bm25"), ranking.weight("knn")]
    match ranking.method:
        case "rrf":
            documents = rrf(legs, rank_constant=ranking.rank_constant, weights=weights, tie=_chance)
        case "linear":
            documents = linear(legs, weights=weights, normalizers=[ranking.normalizer] * len(legs), tie=_chance)
        case "auto":
            documents = auto(legs, tie=_chance)
    return list(dict.fromkeys(document.key[1] for document in documents))


def share_of_knn(ranking: Ranking) -> float:
    """Return the vector leg's part of the weights, 0 to 1."""
    bm25, knn = ranking.weight("bm25"), ranking.weight("knn")
    return knn / (bm25 + knn)


def in_words(ranking: Ranking) -> str:
    """Return the ranking as people read it."""
    if ranking.method == "auto":
        return "auto"
    weights = f"bm25 {ranking.weight('bm25'):g}, knn {ranking.weight('knn'):g}"
    how = f"rank_constant {ranking.rank_constant}" if ranking.method == "rrf" else ranking.normalizer
    return f"{ranking.method} ({how}; {weights})"


def _chance(key: tuple[str, str]) -> tuple[int, tuple[str, str]]:
    return crc32("\0".join(key).encode("utf-8", "replace")), key


def _weights(share: float) -> Mapping[str, float]:
    return {"bm25": round(1 - share, 4), "knn": round(share, 4)}
