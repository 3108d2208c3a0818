"""The fault proxy in front of the open node, a node of our own that may be killed, and a worker that waits little."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

from es_semantic.sync import bulk, feed, follow, once, window
from tests.faults import workers
from tests.faults.own_node import OwnNode
from tests.faults.proxy import FaultProxy
from tests.nodes import MakeIndex


@pytest.fixture
def behind(node_url: str) -> Iterator[FaultProxy]:
    """A second proxy between the first and the node: it sees what was forwarded."""
    with FaultProxy(node_url) as proxy:
        yield proxy


@pytest.fixture
def proxy(behind: FaultProxy) -> Iterator[FaultProxy]:
    with FaultProxy(behind.url) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: FaultProxy) -> Iterator[Elasticsearch]:
    """A client of the proxy that never retries."""
    with Elasticsearch(proxy.url, max_retries=0, request_timeout=60) as elasticsearch:
        yield elasticsearch


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index({"n": {"type": "long"}}, dynamic=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses and small windows, so that little work meets many faults."""
    for module in (bulk, once, follow):
        monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
        monkeypatch.setattr(module, "LONGEST_WAIT", 0.1)
    monkeypatch.setattr(follow, "POLL", 0.05)
    monkeypatch.setattr(follow, "LOOK_UP_EVERY", 0.5)
    monkeypatch.setattr(feed, "LARGEST_PAGE", workers.PAGE)
    monkeypatch.setattr(window, "WINDOW", workers.WINDOW)


@pytest.fixture(scope="session")
def own_node() -> Iterator[OwnNode]:
    """A node of this run alone, which a test may kill; its requests may have a megabyte."""
    with OwnNode() as node:
        yield node
