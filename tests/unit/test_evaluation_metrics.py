"""Metrics against values computed by hand and against their definitions."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.errors import MissingExtra
from es_semantic.evaluation.metrics import METRICS, mean, measure, measurer, require_libraries

GRADES = {"q": {"a": 3, "b": 1, "c": 0, "d": 2}}


def test_by_hand() -> None:
    """b, x, a: gains 1, 0, 3 of at best 3, 2, 1."""
    values = {metric: by_query["q"] for metric, by_query in measure(GRADES, {"q": ["b", "x", "a"]}).items()}
    dcg = 1 / math.log2(2) + 3 / math.log2(4)
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert values["ndcg@10"] == pytest.approx(dcg / ideal)
    assert values["recall@100"] == pytest.approx(2 / 3)
    assert values["mrr@10"] == pytest.approx(1.0)
    assert values["map"] == pytest.approx((1 / 1 + 2 / 3) / 3)


def test_a_grade_of_zero_is_not_relevant() -> None:
    values = measure(GRADES, {"q": ["c"]})
    assert {metric: by_query["q"] for metric, by_query in values.items()} == dict.fromkeys(METRICS, 0.0)


def test_a_grade_below_zero_counts_as_zero() -> None:
    with_spam = {"q": {**GRADES["q"], "spam": -2}}
    assert measure(with_spam, {"q": ["spam", "a"]}) == measure(GRADES, {"q": ["c", "a"]})


def test_cut_offs() -> None:
    run = [f"x{i}" for i in range(10)] + ["a"]
    values = {metric: by_query["q"] for metric, by_query in measure({"q": {"a": 1}}, {"q": run}).items()}
    assert values == {"ndcg@10": 0.0, "recall@100": 1.0, "mrr@10": 0.0, "map": pytest.approx(1 / 11)}
    far = [f"x{i}" for i in range(100)] + ["a"]
    assert measure({"q": {"a": 1}}, {"q": far})["recall@100"] == {"q": 0.0}


def test_queries_without_hits_are_zero() -> None:
    grades = {"q": {"a": 1}, "empty": {"a": 1}, "absent": {"a": 1}}
    values = measure(grades, {"q": ["a"], "empty": []})
    assert values["ndcg@10"] == {"q": 1.0, "empty": 0.0, "absent": 0.0}
    assert mean(values["ndcg@10"]) == pytest.approx(1 / 3)


def test_the_order_given_counts_not_that_of_ids() -> None:
    for run in (["a", "z"], ["z", "a"]):
        assert measure({"q": {"a": 1}}, {"q": run})["mrr@10"]["q"] == 1 / (1 + run.index("a"))


def brute_force(grades: dict[str, int], run: list[str]) -> dict[str, float]:
    """The metrics by their definitions."""
    gains = [max(0, grades.get(document, 0)) for document in run]
    best = sorted((max(0, grade) for grade in grades.values()), reverse=True)
    relevant = sum(gain > 0 for gain in best)
    discounted = [sum(gain / math.log2(rank + 2) for rank, gain in enumerate(some[:10])) for some in (gains, best)]
    hits = [rank for rank, gain in enumerate(gains, start=1) if gain > 0]
    return {
        "ndcg@10": discounted[0] / discounted[1] if discounted[1] else 0.0,
        "recall@100": sum(rank <= 100 for rank in hits) / relevant if relevant else 0.0,
        "mrr@10": 1 / hits[0] if hits and hits[0] <= 10 else 0.0,
        "map": sum((number + 1) / rank for number, rank in enumerate(hits)) / relevant if relevant else 0.0,
    }


IDS = [f"d{i}" for i in range(130)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(IDS), st.integers(-1, 3), min_size=1, max_size=40), min_size=1, max_size=4
    ),
    st.randoms(use_true_random=False),
)
def test_every_metric_is_its_definition(judged: list[dict[str, int]], random: st.DataObject) -> None:
    grades = {f"q{i}": some for i, some in enumerate(judged)}
    runs = {}
    for query in grades:
        run = list(IDS)
        random.shuffle(run)  # type: ignore[attr-defined]
        runs[query] = run[: random.randint(0, len(IDS))]  # type: ignore[attr-defined]
    values = measure(grades, runs)
    for query in grades:
        wanted = brute_force(grades[query], runs[query])
        assert {metric: by_query[query] for metric, by_query in values.items()} == pytest.approx(wanted)


def test_one_measurer_for_many_runs() -> None:
    """What one run has given must not show in the next."""
    measured = measurer({"q": {"a": 1}, "r": {"b": 1}}, ["ndcg@10"])
    assert measured({"q": ["a"], "r": ["b"]})["ndcg@10"] == {"q": 1.0, "r": 1.0}
    assert measured({"q": ["x"]})["ndcg@10"] == {"q": 0.0, "r": 0.0}


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtra) as caught:
        require_libraries()
    assert caught.value.hint == "pip install 'es-semantic[eval]'"
