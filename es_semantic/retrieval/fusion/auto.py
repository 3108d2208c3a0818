"""Fusion that needs no judgements: each leg counts by how far its best hits stand out, query by query.

docs/fusion.md has the reasons, the measurements and the limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from es_semantic.errors import UsageError
from es_semantic.retrieval.fusion.ranked import Fused, K, Legs, Tie, summed

TAIL = 0.9
"""Part of a leg's hits that its scale is taken from: the lowest of a leg that found all there is are no tail."""

Numbers = NDArray[np.float64]


def auto(legs: Legs[K], *, windows: Sequence[int] | None = None, tie: Tie[K] | None = None) -> list[Fused[K]]:
    """Fuse ranked lists by the weighted sum of each hit's surprise, in nats.

    Scores that tell nothing fall off exponentially (Manmatha, Rath and Feng, "Modeling Score Distributions for
    Combining the Outputs of Search Engines", SIGIR 2001). A hit's surprise is the negative logarithm of the probability
    of its score in such a leg; a leg that has not found a document adds nothing. Logarithms of independent
    probabilities add up (Fisher 1932), weighted where some tell more than others (Good, "On the Weighted Combination of
    Significance Tests", 1955): here by :func:`weights`. Only the shape of a leg's scores counts: a positive factor or
    a constant changes nothing. Scores are of single precision; ``tie`` orders equal ones, see :func:`~.ranked.ordered`.

    ``windows`` says how many hits each leg was asked for, where that was not the same number: a leg with fewer hits
    than the longest one has found few documents, unless it was asked for no more.

    Raises:
        UsageError: a leg names a key twice, a score is not finite, or ``windows`` does not fit the legs.
    """
    surprises, shares = _weighed(legs, windows)
    return summed(legs, [share * surprise for share, surprise in zip(shares, surprises, strict=True)], tie)


def weights(legs: Legs[K], *, windows: Sequence[int] | None = None) -> list[float]:
    """Return how much each leg counts in :func:`auto`: 0 where it is empty, together 1 unless all are.

    A leg counts by the mean surprise of its hits, each weighted by its own surprise: twice the mean where scores tell
    nothing, more where few hits stand out from many, as in the predictor NQC (Shtok et al., "Predicting Query
    Performance by Query-Drift Estimation", TOIS 2012). Raises as :func:`auto`, but looks at no key.
    """
    return _weighed(legs, windows)[1]


def _weighed(legs: Legs[K], windows: Sequence[int] | None) -> tuple[list[Numbers], list[float]]:
    """Return the surprise of every hit, leg by leg, and the legs' weights."""
    if windows is not None and (len(windows) != len(legs) or any(window < 1 for window in windows)):
        raise UsageError(f"there are {len(legs)} legs and the windows {list(windows)}", hint="Give each leg 1 or more.")
    longest = max((len(leg) for leg in legs), default=0)
    surprises, sharpness = [], []
    for number, leg in enumerate(legs):
        within = _surprise(np.array([score for _, score in leg], dtype=np.float64), number)
        # Few hits are rare hits. If the leg was cut short this holds for a hit, but says nothing about the leg.
        rarity = math.log(longest / len(leg)) if leg else 0.0
        cut = windows is not None and len(leg) >= windows[number]
        surprises.append(within + rarity)
        sharpness.append(_self_weighted_mean(within if cut else within + rarity))
    # Rounded once, so that the order of the legs does not matter.
    total = math.fsum(sharpness)
    return surprises, [sharp / total if total else 0.0 for sharp in sharpness]


def _surprise(scores: Numbers, number: int) -> Numbers:
    """Return each score's surprise among the scores of its leg, above 0, with mean 1 if all of them are the tail.

    Scores above the lowest one of the tail are taken for exponential beyond a threshold: scale and threshold are the
    unbiased estimates from the mean and the minimum. Below the tail, surprise falls evenly to that of a last hit.
    """
    count = len(scores)
    if not np.isfinite(scores).all():
        raise UsageError(f"leg {number} has a score that is not a finite number")
    if not count:
        return scores
    # Nothing below depends on the unit, and so no sum overflows.
    scores = scores / (np.abs(scores).max() or 1.0)
    lowest = float(np.sort(scores)[count - math.ceil(TAIL * count)])
    tail = scores[scores >= lowest]
    size = len(tail)
    flat = tail.max() == lowest
    scale = 1.0 if flat else float((tail - lowest).mean()) * size / (size - 1)
    at_lowest = math.log(count / size) + (1.0 if flat else 1 / size)
    up_to_it: Numbers = np.interp(scores, [scores.min(), lowest], [1 / count, at_lowest])
    beyond: Numbers = np.maximum(scores - lowest, 0.0) / scale
    return up_to_it + beyond


def _self_weighted_mean(surprises: Numbers) -> float:
    return float(surprises @ surprises / surprises.sum()) if len(surprises) else 0.0
