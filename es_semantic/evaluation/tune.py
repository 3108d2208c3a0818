"""Fit how the legs are fused to judged queries: the procedure behind :func:`es_semantic.tune`."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.embedding import Embedder
from es_semantic.errors import ClusterError, SchemaError, UsageError
from es_semantic.evaluation.candidates import candidates, fused
from es_semantic.evaluation.evaluate import prepare, require_documents
from es_semantic.evaluation.folds import Table, cross_validate, split
from es_semantic.evaluation.judgements import Judgements
from es_semantic.evaluation.lists import List, Missing, ranked_lists
from es_semantic.evaluation.metrics import NDCG, measurer, require_libraries
from es_semantic.evaluation.statistics import Interval, bootstrap
from es_semantic.evaluation.watch import Watch
from es_semantic.schema.binding import Binding
from es_semantic.schema.lookup import find_binding
from es_semantic.schema.ranking import Ranking
from es_semantic.schema.tuned import store_ranking

FOLDS = 5
SEED = 1
"""Of the folds, and of the sample where there are very many queries."""

MOST_QUERIES = 1_000
"""More do not change what is chosen; each candidate is applied to each of them."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A ranking with its mean nDCG@10 over all queries."""

    ranking: Ranking
    value: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What :func:`es_semantic.tune` found; all values are nDCG@10.

    ``current`` is the ranking in force before, ``best`` the best of all ``tried`` on all queries, ``chosen`` the best
    of each fold's training part. ``gain`` is the mean over the held-out queries minus that of ``current`` on the same
    ones, with its ``interval``. It ``helps`` if that interval is above 0 as a whole.
    """

    index: str
    field: str
    judged: Judgements
    queries: int
    current: Tried
    best: Tried
    tried: tuple[Tried, ...]
    chosen: tuple[Ranking, ...]
    held_out: float
    gain: float
    interval: Interval
    helps: bool
    stored: bool
    missing: Missing
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, without every ranking that was tried."""
        return {
            "index": self.index,
            "field": self.field,
            "judgements": self.judged.name,
            "queries": self.queries,
            "metric": NDCG,
            "current": {**self.current.ranking.model_dump(), NDCG: self.current.value},
            "best": {**self.best.ranking.model_dump(), NDCG: self.best.value},
            "folds": [ranking.model_dump() for ranking in self.chosen],
            "held_out": self.held_out,
            "gain": self.gain,
            "gain_interval": [self.interval.low, self.interval.high],
            "helps": self.helps,
            "stored": self.stored,
            "missing_documents": asdict(self.missing),
            "left_out_queries": asdict(self.judged.left_out),
            "notes": list(self.notes),
        }


def tune_steps(
    index: str,
    judged: Judgements,
    embedder_for: Callable[[Binding], Embedder],
    watch: Watch,
    *,
    name: str,
    fields: Sequence[str] | None = None,
    folds: int = FOLDS,
    store: bool = True,
) -> Steps[Tuning]:
    """Fit the fusion; see :func:`es_semantic.tune`."""
    require_libraries()
    queries, notes = _sampled(judged, folds)
    binding, _ = yield from find_binding(index, name)
    missing = yield from require_documents(index, judged)
    legs = yield from _legs(index, binding, queries, embedder_for, watch, name=name, fields=fields)
    current = binding.ranking or Ranking()
    rankings = candidates(current)
    table = yield Compute(lambda: _table(rankings, legs, judged, watch))
    result = cross_validate(table, split(len(queries), folds, seed=SEED))
    gains = [value - before for value, before in zip(result.held_out, table[0].tolist(), strict=True)]
    interval = bootstrap(gains)
    helps = interval.low > 0 and rankings[result.best] != current
    stored = False
    if helps and store and fields is not None:
        notes = (*notes, "not stored: it fits --fields, and other searches use the fields of the index")
    elif helps and store:
        try:
            yield from store_ranking(index, rankings[result.best], name=name)
            stored = True
        except (ClusterError, SchemaError) as error:
            notes = (*notes, f"not stored: {error.what}")
    tried = tuple(Tried(ranking, float(row.mean())) for ranking, row in zip(rankings, table, strict=True))
    return Tuning(
        index=index,
        field=name,
        judged=judged,
        queries=len(queries),
        current=tried[0],
        best=tried[result.best],
        tried=tried,
        chosen=tuple(rankings[choice] for choice in result.chosen),
        held_out=float(np.mean(result.held_out)),
        gain=float(np.mean(gains)),
        interval=interval,
        helps=helps,
        stored=stored,
        missing=missing,
        notes=notes,
    )


def _sampled(judged: Judgements, folds: int) -> tuple[dict[str, str], tuple[str, ...]]:
    count = len(judged.queries)
    if folds < 2:
        raise UsageError(f"folds must be 2 or more, not {folds}")
    if count < 2 * folds:
        raise UsageError(
            f"{judged.name} has {count} judged queries; {folds} folds need {2 * folds} at least",
            hint="Judge more queries: below some fifty no gain can be told from chance.",
        )
    if count <= MOST_QUERIES:
        return dict(judged.queries), ()
    kept = set(random.Random(SEED).sample(sorted(judged.queries), MOST_QUERIES))
    queries = {query: text for query, text in judged.queries.items() if query in kept}
    return queries, (f"{MOST_QUERIES:,} of {count:,} queries were drawn",)


def _legs(
    index: str,
    binding: Binding,
    queries: Mapping[str, str],
    embedder_for: Callable[[Binding], Embedder],
    watch: Watch,
    *,
    name: str,
    fields: Sequence[str] | None,
) -> Steps[dict[str, tuple[List, List]]]:
    """Fetch the ranked lists of both legs once for each query."""
    embedder = yield from prepare(index, binding, queries, embedder_for, watch)
    bm25 = yield from ranked_lists(index, queries, embedder, "bm25", watch, name=name, fields=fields)
    knn = yield from ranked_lists(index, queries, embedder, "knn", watch, name=name, fields=fields)
    return {query: (bm25[query], knn[query]) for query in queries}


def _table(
    rankings: Sequence[Ranking], legs: Mapping[str, tuple[List, List]], judged: Judgements, watch: Watch
) -> Table:
    """Return the nDCG@10 of every ranking for every query."""
    measure = measurer({query: judged.grades[query] for query in legs}, [NDCG])
    table = np.zeros((len(rankings), len(legs)))
    for row, ranking in enumerate(rankings):
        watch("trying rankings", row, len(rankings))
        # Ten hits are all that nDCG@10 looks at.
        values = measure({query: fused(lists, ranking)[:10] for query, lists in legs.items()})[NDCG]
        table[row] = [values[query] for query in legs]
    watch("trying rankings", len(rankings), len(rankings))
    return table
