"""The pages of a running sync, asked over real HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from es_semantic.errors import UsageError
from es_semantic.sync.health import LOOPBACK, serve
from es_semantic.sync.metrics import PrometheusObserver


@pytest.fixture
def observer() -> PrometheusObserver:
    return PrometheusObserver()


@pytest.fixture
def pages(observer: PrometheusObserver) -> Iterator[httpx.Client]:
    # Without the environment's proxies, which serve no loopback address.
    with serve(observer, port=0) as port, httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False) as client:
        yield client


def test_metrics(observer: PrometheusObserver, pages: httpx.Client) -> None:
    observer.documents("articles", "semantic", "embedded", 3)
    answer = pages.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    (sample,) = [s for s in families["es_semantic_documents"].samples if s.name.endswith("_total")]
    assert (sample.labels["index"], sample.labels["outcome"], sample.value) == ("articles", "embedded", 3)
    observer.documents("articles", "semantic", "embedded", 4)
    assert 'outcome="embedded"} 7.0' in pages.get("/metrics").text


def test_live_and_ready(observer: PrometheusObserver, pages: httpx.Client) -> None:
    def ready() -> tuple[int, str]:
        answer = pages.get("/readyz")
        return answer.status_code, answer.text

    assert ready() == (503, "no cycle has ended yet\n")
    observer.healthy(True, "")
    assert ready() == (200, "ok\n")
    observer.healthy(False, "no Elasticsearch answers at http://elastic:changeme@host:9200, ApiKey abcdef\nand more")
    assert ready() == (503, "no Elasticsearch answers at http://[masked]@host:9200, ApiKey [masked]\n")
    observer.healthy(False, "")
    assert ready() == (503, "the last cycle failed\n")
    assert (pages.get("/healthz").status_code, pages.get("/healthz").text) == (200, "ok\n")
    observer.healthy(True, "")
    assert ready() == (200, "ok\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metricsx", "/favicon.ico", "/../etc/passwd", "//metrics"])
def test_other_paths_are_not_there(pages: httpx.Client, path: str) -> None:
    assert pages.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_methods(pages: httpx.Client, path: str) -> None:
    head = pages.head(path)
    assert (head.status_code, head.content) == (200, b"")
    post = pages.post(path, content=b"x")
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


def test_a_silent_client_holds_nobody_up(observer: PrometheusObserver) -> None:
    with serve(observer, port=0) as port, socket.create_connection((LOOPBACK, port)) as silent:
        silent.sendall(b"GET /met")
        answer = httpx.get(f"http://{LOOPBACK}:{port}/healthz", trust_env=False, timeout=5)
        assert answer.status_code == 200


def test_many_at_once(observer: PrometheusObserver, pages: httpx.Client) -> None:
    statuses: list[int] = []

    def ask() -> None:
        for _ in range(10):
            observer.documents("articles", "semantic", "embedded", 1)
            statuses.append(pages.get("/metrics").status_code)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 50
    assert 'outcome="embedded"} 50.0' in pages.get("/metrics").text


def test_a_port_in_use(observer: PrometheusObserver) -> None:
    with serve(observer, port=0) as port:
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 cannot serve metrics") as caught:
            serve(observer, port=port).__enter__()
        assert caught.value.hint.startswith("Give another port")
    with serve(observer, port=port) as again:
        assert again == port


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_is_none(observer: PrometheusObserver, port: int) -> None:
    with pytest.raises(UsageError, match="cannot serve metrics"):
        serve(observer, port=port).__enter__()


def test_nothing_is_left_behind(observer: PrometheusObserver) -> None:
    before = threading.active_count()
    with serve(observer, port=0) as port:
        httpx.get(f"http://{LOOPBACK}:{port}/healthz", trust_env=False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{LOOPBACK}:{port}/healthz", trust_env=False)
    assert "es-semantic-health" not in {thread.name for thread in threading.enumerate()}
    assert threading.active_count() <= before + 1


def test_only_this_machine_is_served(observer: PrometheusObserver) -> None:
    addresses = [a.address for some in psutil.net_if_addrs().values() for a in some if a.family == socket.AF_INET]
    foreign = [address for address in addresses if not address.startswith("127.")]
    if not foreign:
        pytest.skip("this machine has no address but the loopback")
    with serve(observer, port=0) as port, pytest.raises(OSError, match="refused"):
        socket.create_connection((foreign[0], port), timeout=5)
