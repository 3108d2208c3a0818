"""Several models side by side on the same documents: the procedure behind :func:`es_semantic.compare_models`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, islice
from typing import Any

from es_semantic.cluster.steps import Compute, Request, Steps, optional, url_path
from es_semantic.embedding import Embedder
from es_semantic.evaluation.evaluate import MODES, Comparison, compared
from es_semantic.evaluation.judgements import Judgements
from es_semantic.evaluation.lists import AnnRecall, Missing, ann_recall, missing_documents
from es_semantic.evaluation.prepared import PreparedQueries
from es_semantic.evaluation.scratch import NAME, Content, Scratch, with_scratch
from es_semantic.evaluation.searches import ModeScores, scored, search_all
from es_semantic.evaluation.watch import Watch
from es_semantic.schema.binding import Binding, exactly
from es_semantic.schema.lookup import find_binding
from es_semantic.schema.text import is_blank, source_text
from es_semantic.schema.vectors import vector_field

OVERLAP = 10
"""Hits of which the common part is counted."""

SPEED_WARM_UP = 64
"""Texts embedded before the clock runs: from so many on an engine prepares itself for bulk work."""

SPEED_SAMPLE = 128
"""Texts embedded by the clock, without the embedding cache."""

QUERIES = 100
QUERY_WORDS = 12
QUERY_CHARACTERS = 200
"""Where nobody gives queries, the first words of so many documents serve, at most so many characters."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to compare: ``load`` returns the model itself, ``cached`` puts it behind the embedding cache."""

    name: str
    load: Callable[[], Embedder]
    cached: Callable[[Embedder], Embedder]


@dataclass(frozen=True, slots=True)
class Field:
    """Where one model's vectors are: at a ``place`` in the mapping of an index; ``label`` names the model."""

    index: str
    place: str
    label: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model on documents of its own index, or by a field of its own in one index.

    ``bytes_per_vector`` is what Elasticsearch stores, the graph included; None where it does not tell.
    ``documents_per_second`` is the model's own speed on this machine, cache and Elasticsearch apart. ``modes`` has
    ``knn`` and ``hybrid``.
    """

    name: str
    stamp: str
    dims: int
    vectors: int
    bytes_per_vector: float | None
    documents_per_second: float | None
    ann_recall: AnnRecall | None
    modes: Mapping[str, ModeScores]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **{mode: scores.as_json() for mode, scores in self.modes.items() if mode != "bm25"},
            "model": self.stamp,
            "dims": self.dims,
            "vectors": self.vectors,
            "bytes_per_vector": self.bytes_per_vector,
            "docs_per_second": self.documents_per_second,
            "ann_recall": self.ann_recall
            and {"recall@10": self.ann_recall.at_10, "recall@100": self.ann_recall.at_100},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Overlap:
    """Which part of the first ten hits two models have in common, the mean over the queries."""

    first: str
    second: str
    mode: str
    value: float


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """What :func:`es_semantic.compare_models` found; ``judged`` is None where nobody has judged anything.

    ``queries`` tells where they came from. ``bm25`` is the lexical leg, which no model changes.
    """

    subject: str
    documents: int
    queries: Mapping[str, str]
    queries_from: str
    judged: Judgements | None
    bm25: ModeScores
    models: Mapping[str, ModelResult]
    overlaps: tuple[Overlap, ...]
    comparisons: Mapping[str, tuple[Comparison, ...]]
    missing: Missing | None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the models with their metrics, and everything else beside them."""
        return {
            "models": {name: result.as_json() for name, result in self.models.items()},
            "bm25": self.bm25.as_json(),
            "index": self.subject,
            "documents": self.documents,
            "queries": len(self.queries),
            "queries_from": self.queries_from,
            f"overlap@{OVERLAP}": [asdict(overlap) for overlap in self.overlaps],
            "significance": [{"mode": m, **asdict(each)} for m, some in self.comparisons.items() for each in some],
            "missing_documents": self.missing and asdict(self.missing),
            "notes": list(self.notes),
        }


def compare_steps(
    subject: str,
    content: Content,
    candidates: Sequence[Candidate],
    queries: Mapping[str, str],
    queries_from: str,
    judged: Judgements | None,
    watch: Watch,
) -> Steps[ModelComparison]:
    """Give each model a scratch index of the same documents, one after the other; see
    :func:`es_semantic.compare_models`."""
    models: dict[str, ModelResult] = {}
    documents, missing = 0, None
    notes: tuple[str, ...] = ()
    loaded = []
    for candidate in candidates:
        # All of them first: one that is not there is told before another has embedded anything.
        for_model(watch, candidate.name)("loading", 0, 0)
        loaded.append((yield Compute(candidate.load)))
    for candidate, plain in zip(candidates, loaded, strict=True):
        named = for_model(watch, candidate.name)
        embedder = candidate.cached(plain)

        def use(
            scratch: Scratch, plain: Embedder = plain, candidate: Candidate = candidate, named: Watch = named
        ) -> Steps[tuple[ModelResult, int, Missing | None]]:
            field = Field(scratch.index, NAME, candidate.name, scratch.notes)
            result = yield from measured(field, content, plain, queries, judged, named)
            there = (yield Request("GET", url_path("/{}/_count", scratch.index)))["count"]
            gone = (yield from missing_documents(scratch.index, judged.documents)) if judged else None
            return result, int(there), gone

        outcome, left = yield from with_scratch(content, embedder, use, named)
        models[candidate.name], documents, missing = outcome
        notes += left
    return (yield from side_by_side(subject, documents, queries, queries_from, judged, models, missing, notes))


def side_by_side(
    subject: str,
    documents: int,
    queries: Mapping[str, str],
    queries_from: str,
    judged: Judgements | None,
    models: Mapping[str, ModelResult],
    missing: Missing | None,
    notes: tuple[str, ...],
) -> Steps[ModelComparison]:
    """Return what was found, with what the models have in common and what their differences are worth."""
    return ModelComparison(
        subject=subject,
        documents=documents,
        queries=queries,
        queries_from=queries_from,
        judged=judged,
        bm25=next(iter(models.values())).modes["bm25"],
        models=models,
        overlaps=overlaps(models),
        comparisons=(yield Compute(lambda: _compared(models, judged))),
        missing=missing,
        notes=notes,
    )


def first_words(content: Content) -> dict[str, str]:
    """Return queries made of documents: the first words of the first source field that has any."""
    distinct: dict[str, None] = {}
    for _, source in content.documents():
        text = next((t for field in content.sources if not is_blank(t := source_text(source, [field]))), "")
        words = " ".join(text.split()[:QUERY_WORDS])[:QUERY_CHARACTERS].strip()
        if any(character.isalnum() for character in words):
            distinct[words] = None
        if len(distinct) == QUERIES:
            break
    return {str(number): text for number, text in enumerate(distinct, start=1)}


def overlaps(models: Mapping[str, ModelResult]) -> tuple[Overlap, ...]:
    """Return what each pair of models has in common, mode by mode."""
    return tuple(
        Overlap(a.name, b.name, mode, _overlap(a.modes[mode], b.modes[mode]))
        for a, b in combinations(models.values(), 2)
        for mode in _JUDGED
    )


_JUDGED = MODES[1:]


def _overlap(a: ModeScores, b: ModeScores) -> float:
    shares = []
    for query, mine in a.runs.items():
        first, second = set(mine[:OVERLAP]), set(b.runs[query][:OVERLAP])
        if first or second:
            shares.append(len(first & second) / max(len(first), len(second)))
    return sum(shares) / len(shares) if shares else 1.0


def measured(
    field: Field,
    content: Content,
    plain: Embedder,
    queries: Mapping[str, str],
    judged: Judgements | None,
    watch: Watch,
) -> Steps[ModelResult]:
    """Search by one model's vectors, and measure them and the model itself."""
    index, name = field.index, exactly(field.place)
    binding, _ = yield from find_binding(index, name)
    watch("embedding the queries", 0, len(queries))
    embedder = yield Compute(lambda: PreparedQueries(plain, queries.values()))
    found = yield from search_all(index, queries, embedder, MODES, watch, name=name, fields=content.fields)
    watch("timing the model", 0, 0)
    vectors = yield from _vectors(field, binding)
    return ModelResult(
        name=field.label,
        stamp=binding.stamp,
        dims=binding.fingerprint.dims,
        vectors=vectors,
        bytes_per_vector=(yield from _bytes_per_vector(field, binding, vectors)),
        documents_per_second=(yield Compute(lambda: _speed(plain, content))),
        ann_recall=(yield from ann_recall(index, found["knn"].runs, queries, embedder, watch, name=name)),
        modes=(yield from scored(found, judged)),
        notes=field.notes,
    )


def _vectors(field: Field, binding: Binding) -> Steps[int]:
    there: dict[str, Any] = {"filter": {"exists": {"field": f"{field.place}.vector"}}}
    if binding.chunking is not None:
        there = {"nested": {"path": f"{field.place}.chunks"}}
    body = {"size": 0, "aggs": {"vectors": there}}
    answer = yield Request("POST", url_path("/{}/_search", field.index), body=body)
    return int(answer["aggregations"]["vectors"]["doc_count"])


def _bytes_per_vector(field: Field, binding: Binding, vectors: int) -> Steps[float | None]:
    """Ask Elasticsearch for the bytes of the vector field (Elastic docs, "Analyze index disk usage API")."""
    request = Request("POST", url_path("/{}/_disk_usage", field.index), {"run_expensive_tasks": "true"})
    usage = (yield from optional(request, missing=(400, 403, 404, 405))) or {}
    path = vector_field(field.place, binding)
    fields = [each["fields"] for each in usage.values() if "fields" in each]
    found = sum(each.get(path, {}).get("knn_vectors_in_bytes", 0) for each in fields)
    return float(found) / vectors if found and vectors else None


def _speed(plain: Embedder, content: Content) -> float | None:
    """Return documents per second of the model itself, None where there are too few documents to tell."""
    texts = (source_text(source, content.sources) for _, source in content.documents())
    sample = list(islice((text for text in texts if not is_blank(text)), SPEED_SAMPLE))
    if len(sample) < SPEED_WARM_UP:
        return None
    plain.embed_documents(sample[:SPEED_WARM_UP])
    started = time.perf_counter()
    plain.embed_documents(sample)
    return len(sample) / (time.perf_counter() - started)


def _compared(models: Mapping[str, ModelResult], judged: Judgements | None) -> dict[str, tuple[Comparison, ...]]:
    if judged is None:
        return {}
    return {
        mode: compared({name: result.modes[mode].per_query for name, result in models.items()}, judged)
        for mode in _JUDGED
    }


def for_model(watch: Watch, name: str) -> Watch:
    """Return the watcher that says whose turn it is."""
    return lambda what, done, total: watch(f"{name}: {what}", done, total)
