"""Reciprocal rank fusion: a pure function over ranked lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import Fused, K, Legs, Tie, require_weights, summed

RANK_CONSTANT = 60
"""Elastic's default, from Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
Rank Learning Methods" (SIGIR 2009)."""


def rrf(
    legs: Legs[K],
    *,
    rank_constant: int = RANK_CONSTANT,
    weights: Sequence[float] | None = None,
    tie: Tie[K] | None = None,
) -> list[Fused[K]]:
    """Fuse ranked lists by the sum of ``weight / (rank_constant + rank)`` (Elastic docs, "RRF retriever").

    Every leg weighs 1 unless ``weights`` says otherwise. Scores are of single precision, as Elasticsearch's, so that
    what is a tie there is one here. ``tie`` orders equal scores; see :func:`~.ranked.ordered`.

    Raises:
        UsageError: ``rank_constant`` is below 1, a leg names a key twice, or the weights do not fit the legs.
    """
    if rank_constant < 1:
        raise UsageError(f"rank_constant must be 1 or more, not {rank_constant}")
    weights = require_weights(weights, legs)
    terms = [
        np.float32(weight)
        * (np.float32(1) / np.arange(rank_constant + 1, rank_constant + 1 + len(leg), dtype=np.float32))
        for weight, leg in zip(weights, legs, strict=True)
    ]
    return summed(legs, terms, tie)
