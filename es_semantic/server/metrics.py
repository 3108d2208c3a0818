"""What the server counts, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Metrics:
    """Counters in a registry of their own; labels are routes as they are declared, methods and statuses."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        """Start at zero; ``waiting`` tells how many texts wait for a model."""
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "es_semantic_http_requests",
            "Requests by route and status",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "es_semantic_http_request_seconds",
            "Time to answer",
            ("method", "route"),
            registry=registry,
            buckets=SECONDS,
        )
        self.under_way = Gauge("es_semantic_http_requests_under_way", "Requests not answered yet", registry=registry)
        self._degraded = Counter(
            "es_semantic_degraded_answers", "Answers in which a part that failed is missing", registry=registry
        )
        self._batch = Histogram(
            "es_semantic_batch_texts", "Texts given to a model together", registry=registry, buckets=TEXTS
        )
        Gauge("es_semantic_waiting_texts", "Texts that wait for a model", registry=registry).set_function(waiting)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def ran(self, texts: int) -> None:
        """Count a batch."""
        self._batch.observe(texts)

    def degraded(self) -> None:
        """Count an answer with something missing."""
        self._degraded.inc()

    def page(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)
