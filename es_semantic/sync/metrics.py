"""What a sync reports, as Prometheus metrics."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from es_semantic.masking import masked_line
from es_semantic.sync.observer import Outcome, Retried, Stage

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms of time: from a cached batch to a slow provider."""

TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

QUEUE = "Documents that wait for a stage; for read, sequence numbers, several of which may be one document's"
LAG = (
    "Seconds since nothing was left to do, at least the age of the oldest write not dealt with; 0 where nothing is left"
)
OVERLOAD = "Bulk items refused with HTTP 429 or 503, all of a request that was refused as a whole; they are sent again"

NOT_YET = "no cycle has ended yet"


class PrometheusObserver:
    """An :class:`~es_semantic.sync.observer.Observer` that counts in a ``registry`` of its own.

    All names begin with ``es_semantic_``, except those of the process itself (memory, CPU, open files), which are
    Prometheus's ``process_*``. Label values are names of indices and fields and few fixed words. ``health`` is the last
    ``(ok, reason)``. The lag in seconds goes on growing between two reports, also where the cluster does not answer.
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
        self._queue = Gauge("es_semantic_queue_depth", QUEUE, ("stage",), registry=registry)
        self._lag_documents = Gauge(
            "es_semantic_lag_documents", "Writes known and not dealt with yet", field, registry=registry
        )
        self._lag_seconds = Gauge("es_semantic_lag_seconds", LAG, field, registry=registry)
        self._overload = Counter("es_semantic_overload_refusals", OVERLOAD, registry=registry)
        self._retries = Counter("es_semantic_retries", "Tries after a failure", ("what",), registry=registry)
        self._hits = Counter("es_semantic_cache_hits", "Texts that needed no run of the model", registry=registry)
        self._misses = Counter("es_semantic_cache_misses", "Texts that the model was run for", registry=registry)
        self._healthy = Gauge("es_semantic_healthy", "1 when the last cycle was healthy, else 0", registry=registry)

    def documents(self, index: str, field: str, outcome: Outcome, count: int) -> None:
        """See :class:`~es_semantic.sync.observer.Observer`; so for all below."""
        self._documents.labels(index, field, outcome).inc(count)

    def batch(self, texts: int) -> None:
        self._batch.observe(texts)

    def embed_seconds(self, seconds: float) -> None:
        self._embed.observe(seconds)

    def bulk_seconds(self, seconds: float) -> None:
        self._bulk.observe(seconds)

    def queue(self, stage: Stage, depth: int) -> None:
        self._queue.labels(stage).set(depth)

    def lag(self, index: str, field: str, documents: int, seconds: float) -> None:
        since = time.monotonic() - seconds
        behind = documents > 0 or seconds > 0
        self._lag_documents.labels(index, field).set(documents)
        self._lag_seconds.labels(index, field).set_function(lambda: time.monotonic() - since if behind else 0.0)

    def overload(self, items: int) -> None:
        self._overload.inc(items)

    def retry(self, what: Retried) -> None:
        self._retries.labels(what).inc()

    def cache(self, hits: int, misses: int) -> None:
        self._hits.inc(hits)
        self._misses.inc(misses)

    def healthy(self, ok: bool, reason: str) -> None:
        self._healthy.set(ok)
        self.health = (ok, masked_line(reason))
