"""How well the modes find what people have judged relevant: the procedure behind :func:`es_semantic.evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.errors import UsageError
from es_semantic.evaluation.judgements import Judgements
from es_semantic.evaluation.lists import AnnRecall, Missing, ann_recall, missing_documents
from es_semantic.evaluation.metrics import METRICS, NDCG, Values
from es_semantic.evaluation.prepared import PreparedQueries
from es_semantic.evaluation.searches import ModeScores, scored, search_all
from es_semantic.evaluation.statistics import Paired, paired
from es_semantic.evaluation.watch import Watch
from es_semantic.retrieval.query import Mode
from es_semantic.schema.binding import Binding
from es_semantic.schema.lookup import find_binding

MODES: tuple[Mode, ...] = ("bm25", "knn", "hybrid")

LISTED = 5
"""Queries that are listed as wins, and as losses."""


@dataclass(frozen=True, slots=True)
class QueryChange:
    """One query's nDCG@10 under the two modes or models of a comparison."""

    query_id: str
    query: str
    first: float
    second: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """``first`` against ``second`` by one metric; for nDCG@10 with the queries where the difference is greatest."""

    first: str
    second: str
    metric: str
    result: Paired
    wins: tuple[QueryChange, ...] = ()
    losses: tuple[QueryChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What :func:`es_semantic.evaluate` found.

    ``index`` is None where it was a scratch index; ``documents`` are those in the index. ``ann_recall`` is None where
    the cluster refuses exact searches.
    """

    index: str | None
    model: str
    documents: int
    judged: Judgements
    modes: Mapping[str, ModeScores]
    comparisons: tuple[Comparison, ...]
    ann_recall: AnnRecall | None
    missing: Missing
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the modes with their metrics at the top, and everything else beside them."""
        return {
            **{mode: scores.as_json() for mode, scores in self.modes.items()},
            "index": self.index,
            "model": self.model,
            "judgements": self.judged.name,
            "documents": self.documents,
            "queries": len(self.judged.queries),
            "significance": [asdict(comparison) for comparison in self.comparisons],
            "ann_recall": self.ann_recall and ann_json(self.ann_recall),
            "missing_documents": asdict(self.missing),
            "left_out_queries": asdict(self.judged.left_out),
            "notes": list(self.notes),
        }


def evaluate_steps(
    index: str,
    judged: Judgements,
    embedder_for: Callable[[Binding], Embedder],
    watch: Watch,
    *,
    name: str,
    fields: Sequence[str] | None = None,
) -> Steps[Evaluation]:
    """Evaluate an attached index; see :func:`es_semantic.evaluate`."""
    binding, _ = yield from find_binding(index, name)
    missing = yield from require_documents(index, judged)
    embedder = yield from prepare(index, binding, judged.queries, embedder_for, watch)
    found = yield from search_all(index, judged.queries, embedder, MODES, watch, name=name, fields=fields)
    modes = yield from scored(found, judged)
    return Evaluation(
        index=index,
        model=binding.stamp,
        documents=(yield from count(index)),
        judged=judged,
        modes=modes,
        comparisons=(yield Compute(lambda: compared({m: s.per_query for m, s in modes.items()}, judged))),
        ann_recall=(yield from ann_recall(index, modes["knn"].runs, judged.queries, embedder, watch, name=name)),
        missing=missing,
        notes=() if any(modes["knn"].runs.values()) else (f"no document has a vector: es-semantic sync {index}",),
    )


def require_documents(index: str, judged: Judgements) -> Steps[Missing]:
    """Return which judged documents the index does not have; they count as not found.

    Raises:
        UsageError: it has none of them.
    """
    missing = yield from missing_documents(index, judged.documents)
    if missing.count == missing.judged:
        raise UsageError(
            f"none of the {missing.judged} judged documents is in {index!r}; the first: {', '.join(missing.first)}",
            hint="Are the judgements for this index? Document ids are those of Elasticsearch (_id).",
        )
    return missing


def prepare(
    index: str,
    binding: Binding,
    queries: Mapping[str, str],
    embedder_for: Callable[[Binding], Embedder],
    watch: Watch,
) -> Steps[PreparedQueries]:
    """Load the bound model and embed all queries.

    Raises:
        FingerprintMismatch: the model is not the one that the index is bound to.
    """
    watch("embedding the queries", 0, len(queries))

    def embed() -> PreparedQueries:
        embedder = embedder_for(binding)
        require_same_model(binding.fingerprint, embedder.profile.fingerprint, index=index)
        return PreparedQueries(embedder, queries.values())

    prepared: PreparedQueries = yield Compute(embed)
    return prepared


def count(index: str) -> Steps[int]:
    """Return the number of documents."""
    answer = yield Request("GET", url_path("/{}/_count", index))
    return int(answer["count"])


def compared(values: Mapping[Any, Values], judged: Judgements) -> tuple[Comparison, ...]:
    """Compare all pairs, the later one with the earlier one, by every metric."""
    return tuple(
        _comparison(first, values[first], second, values[second], metric, judged)
        for second, first in reversed(list(combinations(values, 2)))
        for metric in METRICS
    )


def ann_json(recall: AnnRecall) -> dict[str, float]:
    """Return the recall of the approximate leg as JSON values."""
    return {"recall@10": recall.at_10, "recall@100": recall.at_100, "queries": recall.queries}


def _comparison(first: str, mine: Values, second: str, other: Values, metric: str, judged: Judgements) -> Comparison:
    result = paired(mine[metric], other[metric])
    if metric != NDCG:
        return Comparison(first, second, metric, result)
    changes = [
        QueryChange(query, judged.queries[query], value, other[metric][query]) for query, value in mine[metric].items()
    ]
    # By id where the difference is the same, so that the list is the same every time.
    changes.sort(key=lambda change: (change.second - change.first, change.query_id))
    wins = tuple(change for change in changes[:LISTED] if change.first > change.second)
    losses = tuple(change for change in reversed(changes[-LISTED:]) if change.first < change.second)
    return Comparison(first, second, metric, result, wins, losses)
