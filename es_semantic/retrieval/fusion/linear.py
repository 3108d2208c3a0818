"""Weighted sums of normalised scores: a pure function over ranked lists, and the normalisers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import Fused, K, Legs, Tie, require_weights, summed

_EPSILON = 1e-6

Scores = NDArray[np.float32]


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
    terms = [
        np.float32(weight) * normalized([score for _, score in leg], how)
        for weight, leg, how in zip(weights, legs, normalizers, strict=True)
    ]
    return summed(legs, terms, tie)


def normalized(scores: Sequence[float], normalizer: str) -> Scores:
    """Return the scores after ``none``, ``minmax`` or ``l2_norm``, in single precision.

    Raises:
        UsageError: no such normalizer.
    """
    if normalizer not in NORMALIZERS:
        raise UsageError(f"Unknown normalizer [{normalizer}]", hint=f"Use one of: {', '.join(NORMALIZERS)}.")
    return NORMALIZERS[normalizer](np.asarray(scores, dtype=np.float32))


def _none(scores: Scores) -> Scores:
    return scores


def _minmax(scores: Scores) -> Scores:
    if not len(scores):
        return scores
    low, high = scores.min(), scores.max()
    return np.ones_like(scores) if high - low < _EPSILON else (scores - low) / (high - low)


def _l2_norm(scores: Scores) -> Scores:
    norm = float(np.linalg.norm(scores.astype(np.float64)))
    return scores if norm < _EPSILON else (scores.astype(np.float64) / norm).astype(np.float32)


NORMALIZERS: dict[str, Callable[[Scores], Scores]] = {"none": _none, "minmax": _minmax, "l2_norm": _l2_norm}
