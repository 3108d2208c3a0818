"""Weighted sums of normalised scores: a pure function over ranked lists, and the normalisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import (
    Fused,
    K,
    Legs,
    Tie,
    ordered,
    placed,
    require_weights,
    single,
    single_sum,
)

_EPSILON = 1e-6

Scores = Sequence[float]


def linear(
    legs: Legs[K],
    *,
    weights: Sequence[float] | None = None,
    normalizers: Sequence[str] | None = None,
    tie: Tie[K] | None = None,
) -> list[Fused[K]]:
    """Fuse ranked lists by the sum of ``weight * normalizer(score)`` (Elastic docs, "Linear retriever").

    A leg that has not found a document adds nothing. Every leg weighs 1 and is not normalised unless ``weights`` and
    ``normalizers`` (``none``, ``minmax`` or ``l2_norm`` for each leg) say otherwise. Scores are of single precision, as
    Elasticsearch's. ``tie`` orders equal scores; see :func:`~.ranked.ordered`.

    Raises:
        UsageError: a leg names a key twice, or weights or normalizers do not fit the legs.
    """
    weights = require_weights(weights, legs)
    normalizers = ["none"] * len(legs) if normalizers is None else normalizers
    if len(normalizers) != len(legs):
        raise UsageError(f"there are {len(legs)} legs and {len(normalizers)} normalizers")
    normal = [normalized([score for _, score in leg], how) for leg, how in zip(legs, normalizers, strict=True)]
    fused = [
        Fused(
            key,
            single_sum(
                single(weight * scores[place.rank - 1])
                for weight, scores, place in zip(weights, normal, row, strict=True)
                if place is not None
            ),
            tuple(row),
        )
        for key, row in placed(legs).items()
    ]
    return ordered(fused, tie)


def normalized(scores: Scores, normalizer: str) -> list[float]:
    """Return the scores after ``none``, ``minmax`` or ``l2_norm``.

    Raises:
        UsageError: no such normalizer.
    """
    if normalizer not in NORMALIZERS:
        raise UsageError(f"Unknown normalizer [{normalizer}]", hint=f"Use one of: {', '.join(NORMALIZERS)}.")
    return NORMALIZERS[normalizer](scores)


def _minmax(scores: Scores) -> list[float]:
    if not scores:
        return []
    low, high = min(scores), max(scores)
    if high - low < _EPSILON:
        return [1.0] * len(scores)
    return [single(single(score - low) / single(high - low)) for score in scores]


def _l2_norm(scores: Scores) -> list[float]:
    norm = math.sqrt(math.fsum(score * score for score in scores))
    return list(scores) if norm < _EPSILON else [single(score / norm) for score in scores]


NORMALIZERS: dict[str, Callable[[Scores], list[float]]] = {"none": list, "minmax": _minmax, "l2_norm": _l2_norm}
