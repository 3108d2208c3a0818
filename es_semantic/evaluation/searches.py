"""Search for every judged query in every mode, and measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.evaluation.judgements import Judgements
from es_semantic.evaluation.metrics import DEPTH, Runs, Values, mean, measure
from es_semantic.evaluation.prepared import PreparedQueries
from es_semantic.evaluation.statistics import percentiles
from es_semantic.evaluation.watch import Watch
from es_semantic.retrieval.query import Mode
from es_semantic.retrieval.search import search_steps

WARM_UP = 10
"""Queries that are asked once before any is timed: the first searches of an index read its files."""


@dataclass(frozen=True, slots=True)
class Searches:
    """What one mode found: document ids by query, and each search's wall time in milliseconds, embedding apart."""

    runs: Runs
    milliseconds: Sequence[float]


@dataclass(frozen=True, slots=True)
class ModeScores:
    """One mode: the mean of every metric, its values by query, and ``p50_ms``, ``p95_ms``, ``p99_ms`` of its searches.

    Without judgements there are no metrics.
    """

    metrics: Mapping[str, float]
    per_query: Values
    latency: Mapping[str, float]
    runs: Runs

    def as_json(self) -> dict[str, float]:
        """Return means and percentiles side by side."""
        return {**self.metrics, **self.latency}


def search_all(
    index: str,
    queries: Mapping[str, str],
    embedder: PreparedQueries,
    modes: Sequence[Mode],
    watch: Watch,
    *,
    name: str,
    fields: Sequence[str] | None,
) -> Steps[dict[str, Searches]]:
    """Search for every query in every mode, :data:`DEPTH` hits each, one after the other.

    The modes take turns query by query, so that what else the machine does meanwhile is shared among them.
    """
    runs: dict[Mode, dict[str, list[str]]] = {mode: {} for mode in modes}
    times: dict[Mode, list[float]] = {mode: [] for mode in modes}
    warm_up = list(queries.items())[:WARM_UP]
    for number, (query, text) in enumerate([*warm_up, *queries.items()], start=-len(warm_up)):
        watch("searching", max(0, number), len(queries))
        for mode in modes:
            result = yield from search_steps(
                index, text, lambda _: embedder, mode=mode, size=DEPTH, fields=fields, name=name, source=False
            )
            if number >= 0:
                # One id may stand in several indices behind a name: its best rank counts.
                runs[mode][query] = list(dict.fromkeys(hit.id for hit in result.hits))
                times[mode].append(result.took_ms)
    watch("searching", len(queries), len(queries))
    return {mode: Searches(runs[mode], times[mode]) for mode in modes}


def scored(found: Mapping[str, Searches], judged: Judgements | None) -> Steps[dict[str, ModeScores]]:
    """Measure what each mode found."""
    scores = {}
    for mode, searches in found.items():
        values: Values = {}
        if judged is not None:
            values = yield Compute(partial(measure, judged.grades, searches.runs))
        means = {metric: mean(by_query) for metric, by_query in values.items()}
        scores[mode] = ModeScores(means, values, percentiles(searches.milliseconds), searches.runs)
    return scores
