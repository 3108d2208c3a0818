"""How sure a difference is: by hand, by definition, and by how often an interval holds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.evaluation.lists import recall
from es_semantic.evaluation.statistics import bootstrap, paired, percentiles

VALUES = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=60)


def by_query(values: list[float]) -> dict[str, float]:
    return {f"q{i}": value for i, value in enumerate(values)}


def test_wins_losses_and_ties() -> None:
    found = paired(by_query([1.0, 0.5, 0.2, 0.3]), by_query([0.5, 0.6, 0.2, 0.3 + 1e-12]))
    assert (found.wins, found.losses, found.ties) == (1, 1, 2)
    assert found.difference == pytest.approx(0.1)


def test_the_p_value_is_that_of_the_paired_t_test() -> None:
    random = np.random.default_rng(3)
    first, second = random.random(40).tolist(), random.random(40).tolist()
    wanted = scipy.stats.ttest_rel(first, second).pvalue
    assert paired(by_query(first), by_query(second)).p == pytest.approx(wanted)


def test_p_where_nothing_varies() -> None:
    same = by_query([0.1, 0.9, 0.4])
    assert paired(same, same).p == 1.0
    assert paired(by_query([0.5, 0.6]), by_query([0.25, 0.35])).p == 0.0
    assert paired({"q": 1.0}, {"q": 0.0}).p is None


@settings(max_examples=40, deadline=None)
@given(VALUES, VALUES)
def test_turned_round(first: list[float], second: list[float]) -> None:
    count = min(len(first), len(second))
    a, b = by_query(first[:count]), by_query(second[:count])
    one, other = paired(a, b), paired(b, a)
    assert one.difference == pytest.approx(-other.difference)
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
    assert one.interval.low <= one.difference + 1e-9
    assert one.difference <= one.interval.high + 1e-9


def test_the_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(5).normal(0.1, 0.3, size=400)
    found = bootstrap(values.tolist())
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.003)
    assert found.high == pytest.approx(values.mean() + half, abs=0.003)


def test_the_interval_holds_the_true_mean_as_often_as_it_claims() -> None:
    """Of 400 samples of 50 values some 95 % must; binomially 91 % is more than three deviations below."""
    seed = 20
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    intervals = [bootstrap(random.normal(0.2, 1.0, size=50).tolist(), resamples=1000) for _ in range(400)]
    held = sum(each.low <= 0.2 <= each.high for each in intervals) / len(intervals)
    assert 0.91 < held < 0.98


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(6).random(1000).tolist()
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap([0.5] * 7).low == bootstrap([0.5] * 7).high == pytest.approx(0.5)


def test_percentiles() -> None:
    assert percentiles([float(i) for i in range(1, 102)]) == {"p50_ms": 51.0, "p95_ms": 96.0, "p99_ms": 100.0}
    assert percentiles([2.0]) == {"p50_ms": 2.0, "p95_ms": 2.0, "p99_ms": 2.0}


def nearest(*scores: float) -> list[tuple[tuple[str, str], float]]:
    return [(("index", f"d{i}"), score) for i, score in enumerate(scores)]


def test_recall_against_exact() -> None:
    assert recall(["d0", "d2", "d9"], nearest(3, 2, 1), 3) == pytest.approx(2 / 3)
    assert recall(["d9", "d0"], nearest(3, 2, 1), 1) == 0.0
    assert recall([], nearest(1), 10) == 0.0
    assert recall([], [], 10) == 1.0


def test_what_is_as_near_counts() -> None:
    """d1 and d2 are as near; which of them is the second is chance."""
    assert recall(["d0", "d2"], nearest(3, 2, 2), 2) == 1.0
    assert recall(["d2", "d1"], nearest(3, 2, 2), 2) == 1.0
    assert recall(["d2"], nearest(3, 2, 2), 2) == 0.5
