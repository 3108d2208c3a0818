"""Metrics of ranked lists by the library ir-measures.

Its definitions are those of trec_eval: nDCG with the grade itself as the gain, recall and average precision with every
grade above 0 as relevant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from es_semantic.errors import MissingExtra
from es_semantic.evaluation.judgements import Grades

NDCG = "ndcg@10"
METRICS = (NDCG, "recall@100", "mrr@10", "map")
DEPTH = 100
"""Hits of a query that are looked at."""

INSTALL = "pip install 'es-semantic[eval]'"

Runs = Mapping[str, Sequence[str]]
"""Query id to document ids, best first."""

Values = dict[str, dict[str, float]]
"""Metric to query id to its value there."""


def require_libraries() -> None:
    """Refuse to start long work that would fail at its end.

    Raises:
        MissingExtra: with the command that installs them.
    """
    try:
        import ir_measures  # noqa: F401
        import scipy.stats  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"evaluation needs more libraries: {error}", hint=INSTALL) from error


def measure(grades: Grades, runs: Runs, metrics: Sequence[str] = METRICS) -> Values:
    """Return every metric for every judged query; 0 for a query without hits."""
    return measurer(grades, metrics)(runs)


def measurer(grades: Grades, metrics: Sequence[str] = METRICS) -> Callable[[Runs], Values]:
    """Return :func:`measure` for many runs against the same judgements."""
    require_libraries()
    import ir_measures

    known = {NDCG: ir_measures.nDCG @ 10, "recall@100": ir_measures.R @ 100, "mrr@10": ir_measures.RR @ 10}
    known["map"] = ir_measures.AP
    chosen = {str(known[name]): name for name in metrics}
    relevant = {query: {d: max(0, grade) for d, grade in judged.items()} for query, judged in grades.items()}
    evaluator = ir_measures.evaluator([known[name] for name in metrics], relevant)

    def values(runs: Runs) -> Values:
        found: Values = {name: dict.fromkeys(grades, 0.0) for name in metrics}
        for each in evaluator.iter_calc(_scored(runs)):
            found[chosen[str(each.measure)]][each.query_id] = float(each.value)
        return found

    return values


def mean(values: Mapping[str, float]) -> float:
    """Return the mean over queries."""
    return sum(values.values()) / len(values)


def _scored(runs: Runs) -> dict[str, dict[str, Any]]:
    # By rank, not by the hits' own scores: where these tie, trec_eval would order by id what people see in our order.
    return {query: {document: float(-rank) for rank, document in enumerate(run)} for query, run in runs.items() if run}
