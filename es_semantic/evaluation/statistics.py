"""How sure a difference is, and how long searches took: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SEED = 20_240_501
"""So that the same values give the same interval."""

RESAMPLES = 10_000
LEVEL = 0.95

PERCENTILES = (50, 95, 99)

SAME = 1e-9
"""A smaller difference is none."""

_AT_ONCE = 1_000_000
"""Random numbers held in memory."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of 95 %."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """Two systems on the same queries: ``difference`` is the first's mean minus the second's.

    ``p`` is that of the paired t-test, which agrees with the randomisation test (Smucker, Allan and Carterette, "A
    comparison of statistical significance tests for information retrieval evaluation", CIKM 2007); None for fewer than
    two queries. It is not corrected for several comparisons. ``wins`` are queries where the first is better.
    """

    difference: float
    interval: Interval
    p: float | None
    wins: int
    losses: int
    ties: int


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> Paired:
    """Compare two systems by their values on the same queries."""
    differences = [value - second[query] for query, value in first.items()]
    wins = sum(difference > SAME for difference in differences)
    losses = sum(difference < -SAME for difference in differences)
    return Paired(
        difference=float(np.mean(differences)),
        interval=bootstrap(differences),
        p=_p_value(differences),
        wins=wins,
        losses=losses,
        ties=len(differences) - wins - losses,
    )


def bootstrap(values: Sequence[float], *, seed: int = SEED, resamples: int = RESAMPLES) -> Interval:
    """Return the percentile bootstrap interval of the mean (Efron and Tibshirani, "An Introduction to the Bootstrap",
    1993, chapter 13)."""
    sample = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(seed)
    part = max(1, _AT_ONCE // len(sample))
    means = [
        sample[random.integers(0, len(sample), size=(min(part, resamples - start), len(sample)))].mean(axis=1)
        for start in range(0, resamples, part)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return ``p50_ms``, ``p95_ms`` and ``p99_ms``; linear between two measurements."""
    found = np.percentile(milliseconds, PERCENTILES)
    return {f"p{wanted}_ms": round(float(value), 3) for wanted, value in zip(PERCENTILES, found, strict=True)}


def _p_value(differences: Sequence[float]) -> float | None:
    if len(differences) < 2:
        return None
    if max(differences) - min(differences) <= SAME:
        # Nothing varies, so there is no t; all alike is either no difference or a certain one.
        return 1.0 if abs(differences[0]) <= SAME else 0.0
    import scipy.stats

    return float(scipy.stats.ttest_1samp(differences, 0.0).pvalue)
