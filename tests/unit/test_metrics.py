"""What the observer is told is what Prometheus reads."""

from __future__ import annotations

import inspect
import threading
import time
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from es_semantic.sync.metrics import NOT_YET, PrometheusObserver
from es_semantic.sync.observer import SILENT, Observer, Unobserved

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(observer: PrometheusObserver) -> Samples:
    families = text_string_to_metric_families(generate_latest(observer.registry).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def value(observer: PrometheusObserver, name: str, **labels: str) -> float:
    return samples(observer)[f"es_semantic_{name}", tuple(sorted(labels.items()))]


def test_everything_that_is_told_is_counted() -> None:
    observer = PrometheusObserver()
    observer.documents("articles", "semantic", "embedded", 3)
    observer.documents("articles", "semantic", "embedded", 4)
    observer.documents("articles", "semantic", "failed", 1)
    observer.batch(256)
    observer.batch(2)
    observer.embed_seconds(0.5)
    observer.bulk_seconds(0.02)
    observer.bulk_seconds(120)
    observer.queue("write", 7)
    observer.queue("write", 5)
    observer.lag("articles", "semantic", 12, 3.5)
    observer.overload(2)
    observer.retry("bulk")
    observer.cache(10, 3)
    observer.healthy(True, "")

    articles = {"index": "articles", "field": "semantic"}
    assert value(observer, "documents_total", outcome="embedded", **articles) == 7
    assert value(observer, "documents_total", outcome="failed", **articles) == 1
    assert (value(observer, "batch_texts_sum"), value(observer, "batch_texts_count")) == (258, 2)
    assert value(observer, "batch_texts_bucket", le="2.0") == 1
    assert (value(observer, "embed_seconds_sum"), value(observer, "embed_seconds_count")) == (0.5, 1)
    assert (value(observer, "bulk_seconds_bucket", le="60.0"), value(observer, "bulk_seconds_count")) == (1, 2)
    assert value(observer, "queue_depth", stage="write") == 5
    assert value(observer, "lag_documents", **articles) == 12
    assert value(observer, "lag_seconds", **articles) >= 3.5
    assert value(observer, "overload_refusals_total") == 2
    assert value(observer, "retries_total", what="bulk") == 1
    assert (value(observer, "cache_hits_total"), value(observer, "cache_misses_total")) == (10, 3)
    assert value(observer, "healthy") == 1
    assert observer.health == (True, "")


def test_health_is_the_last_cycles() -> None:
    observer = PrometheusObserver()
    assert observer.health == (False, NOT_YET)
    assert value(observer, "healthy") == 0
    observer.healthy(True, "")
    observer.healthy(False, "no Elasticsearch answers at http://elastic:changeme@host:9200\nmore")
    assert observer.health == (False, "no Elasticsearch answers at http://[masked]@host:9200")
    assert value(observer, "healthy") == 0


def test_two_observers_share_nothing() -> None:
    one, other = PrometheusObserver(), PrometheusObserver()
    one.overload(5)
    assert value(other, "overload_refusals_total") == 0


def test_memory_of_the_process_is_told() -> None:
    names = {name for name, _ in samples(PrometheusObserver())}
    if not any(name.startswith("process_") for name in names):
        pytest.skip("the process is read from /proc, which is not here")
    assert "process_resident_memory_bytes" in names


def test_the_lag_grows_until_nothing_is_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    observer, articles = PrometheusObserver(), {"index": "articles", "field": "semantic"}
    observer.lag("articles", "semantic", 12, 3.5)
    assert value(observer, "lag_seconds", **articles) == 3.5
    now += 60
    assert value(observer, "lag_seconds", **articles) == 63.5, "nobody has said anything since"
    observer.lag("articles", "semantic", 0, 0.0)
    now += 60
    assert value(observer, "lag_seconds", **articles) == 0
    observer.lag("articles", "semantic", 0, 5.0)
    now += 1
    assert value(observer, "lag_seconds", **articles) == 6, "the cluster does not tell how much is left"


def test_threads_lose_no_count() -> None:
    observer = PrometheusObserver()

    def tell() -> None:
        for _ in range(500):
            observer.documents("i", "f", "embedded", 2)
            observer.cache(1, 1)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(observer, "documents_total", index="i", field="f", outcome="embedded") == 4000
    assert value(observer, "cache_hits_total") == 2000


@pytest.mark.parametrize("kind", [Unobserved, PrometheusObserver])
def test_every_call_of_the_protocol_is_taken(kind: type[Unobserved] | type[PrometheusObserver]) -> None:
    observer: Observer = kind()
    for name, method in inspect.getmembers(Observer, inspect.isfunction):
        if name.startswith("_"):
            continue
        wanted = inspect.signature(method)
        assert inspect.signature(getattr(kind, name)) == wanted, name
        examples: dict[str, Any] = {"str": "x", "int": 1, "float": 0.1, "bool": True}
        examples |= {"Outcome": "embedded", "Stage": "embed", "Retried": "bulk"}
        given = [examples[str(parameter.annotation)] for parameter in list(wanted.parameters.values())[1:]]
        assert getattr(observer, name)(*given) is None
    assert isinstance(SILENT, Unobserved)
