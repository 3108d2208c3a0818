"""Reciprocal rank fusion: pure functions over ranked lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cmp_to_key

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import Fused, K, Place

RANK_CONSTANT = 60
"""Elastic's default, from Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
Rank Learning Methods" (SIGIR 2009)."""


def rrf(legs: Sequence[Sequence[tuple[K, float]]], *, rank_constant: int = RANK_CONSTANT) -> list[Fused[K]]:
    """Fuse ranked lists of (key, score), best first, by the sum of ``1 / (rank_constant + rank)`` over the legs.

    Ties are broken as Elastic's ``rrf`` retriever does: the first leg in which both appear with different scores
    decides for the higher one, and the first leg in which only one appears decides for that one. What is still equal
    keeps the order of the first leg that has both.

    Raises:
        UsageError: ``rank_constant`` is below 1, or a leg names a key twice.
    """
    if rank_constant < 1:
        raise UsageError(f"rank_constant must be 1 or more, not {rank_constant}")
    places: dict[K, list[Place | None]] = {}
    for number, leg in enumerate(legs):
        for rank, (key, score) in enumerate(leg, start=1):
            row = places.setdefault(key, [None] * len(legs))
            if row[number] is not None:
                raise UsageError(f"leg {number} names {key!r} twice")
            row[number] = Place(rank, score)
    fused = [Fused(key, _score(row, rank_constant), tuple(row)) for key, row in places.items()]
    return sorted(fused, key=cmp_to_key(_compare))


def _score(row: Sequence[Place | None], rank_constant: int) -> float:
    # fsum makes the sum independent of the order of the legs.
    return math.fsum(1.0 / (rank_constant + place.rank) for place in row if place is not None)


def _compare(a: Fused[K], b: Fused[K]) -> int:
    if a.score != b.score:
        return -1 if a.score > b.score else 1
    for mine, other in zip(a.places, b.places, strict=True):
        if mine is not None and other is not None:
            if mine.score != other.score:
                return -1 if mine.score > other.score else 1
        elif mine is not None:
            return -1
        elif other is not None:
            return 1
    return next(
        mine.rank - other.rank
        for mine, other in zip(a.places, b.places, strict=True)
        if mine is not None and other is not None
    )
