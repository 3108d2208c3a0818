"""What a sync reports, as Prometheus metrics."""

from __future__ import annotations

import re
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from es_semantic.sync.masking import masked_line
from es_semantic.sync.observer import Outcome, Stage

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms of time: from a cached batch to a slow provider."""

TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

OTHER = "other"
"""Stands for a label value that is none of the expected words."""

NOT_YET = "no cycle has ended yet"

_OUTCOMES = frozenset(get_args(Outcome))
_STAGES = frozenset(get_args(Stage))
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")


class PrometheusObserver:
    """An :class:`~es_semantic.sync.observer.Observer` that counts in a ``registry`` of its own.

    All names begin with ``es_semantic_``, except those of the process itself (memory, CPU, open files), which are
    Prometheus's ``process_*``. Label values are names of indices and fields and few fixed words: what is not one counts
    as ``other``, so that no text gets into a label. ``health`` is the last ``(ok, reason)``.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self.health: tuple[bool, str] = (False, NOT_YET)
        ProcessCollector(registry=registry)
        field = ("index", "field")
        self._documents = Counter(
            "es_semantic_documents", "Documents by what became of them", (*field, "outcome"), registry=registry
        )
        self._batch = Histogram(
            "es_semantic_batch_texts", "Texts given to the embedder together", registry=registry, buckets=TEXTS
        )
        self._embed = Histogram(
            "es_semantic_embed_seconds", "Time to embed one batch", registry=registry, buckets=SECONDS
        )
        self._bulk = Histogram(
            "es_semantic_bulk_seconds", "Time of one _bulk request", registry=registry, buckets=SECONDS
        )
        self._queue = Gauge("es_semantic_queue_depth", "Documents that wait for a stage", ("stage",), registry=registry)
        self._lag_documents = Gauge(
            "es_semantic_lag_documents", "Documents known to lack a true vector", field, registry=registry
        )
        self._lag_seconds = Gauge(
            "es_semantic_lag_seconds", "Age of the oldest such document", field, registry=registry
        )
        self._too_many = Counter("es_semantic_too_many_requests", "Answers with HTTP 429", registry=registry)
        self._retries = Counter("es_semantic_retries", "Tries after a failure", ("what",), registry=registry)
        self._hits = Counter("es_semantic_cache_hits", "Texts that needed no run of the model", registry=registry)
        self._misses = Counter("es_semantic_cache_misses", "Texts that the model was run for", registry=registry)
        self._healthy = Gauge("es_semantic_healthy", "1 when the last cycle was healthy, else 0", registry=registry)

    def documents(self, index: str, field: str, outcome: str, count: int) -> None:
        """See :class:`~es_semantic.sync.observer.Observer`; so for all below."""
        self._documents.labels(index, field, outcome if outcome in _OUTCOMES else OTHER).inc(count)

    def batch(self, texts: int) -> None:
        self._batch.observe(texts)

    def embed_seconds(self, seconds: float) -> None:
        self._embed.observe(seconds)

    def bulk_seconds(self, seconds: float) -> None:
        self._bulk.observe(seconds)

    def queue(self, stage: str, depth: int) -> None:
        self._queue.labels(stage if stage in _STAGES else OTHER).set(depth)

    def lag(self, index: str, field: str, documents: int, seconds: float) -> None:
        self._lag_documents.labels(index, field).set(documents)
        self._lag_seconds.labels(index, field).set(seconds)

    def too_many_requests(self, count: int) -> None:
        self._too_many.inc(count)

    def retry(self, what: str) -> None:
        self._retries.labels(what if _WORD.fullmatch(what) else OTHER).inc()

    def cache(self, hits: int, misses: int) -> None:
        self._hits.inc(hits)
        self._misses.inc(misses)

    def healthy(self, ok: bool, reason: str) -> None:
        self._healthy.set(ok)
        self.health = (ok, masked_line(reason))
