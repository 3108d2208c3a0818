"""The fault proxy hands everything on unchanged, and each fault does to the client and to the node what it says."""

from __future__ import annotations

import gc
import gzip
import http.client
import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from elastic_transport import ConnectionError as NoConnection
from elastic_transport import ConnectionTimeout
from elasticsearch import ApiError, Elasticsearch

from tests.faults.proxy import (
    Action,
    BlackHole,
    Delay,
    FaultProxy,
    LoseAnswer,
    RejectItems,
    Reset,
    ResetAfter,
    Rule,
    TooMany,
    chance,
    ends,
    every,
    first,
)

# What the proxy leaves behind (sockets, tasks, coroutines) shows as a warning.
pytestmark = pytest.mark.filterwarnings("error")

MB = 1024 * 1024


@contextmanager
def raises_connection_error(what: str) -> Iterator[None]:
    with pytest.raises(NoConnection) as lost:
        yield
    assert what in lost.value.message


def spoken(url: str, request: bytes) -> bytes:
    """Everything that comes back for a request with ``Connection: close``."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(MB), b""))


def test_hands_on_what_clients_do(proxy: FaultProxy, through: Elasticsearch, client: Elasticsearch, index: str) -> None:
    through.index(index=index, id="a/b ü", document={"n": 1})
    operations: list[dict[str, Any]] = []
    for n in range(2, 5):
        operations += [{"index": {"_id": str(n)}}, {"n": n}]
    assert not through.bulk(index=index, operations=operations, refresh=True)["errors"]

    pit = through.open_point_in_time(index=index, keep_alive="1m")["id"]
    page = through.search(pit={"id": pit}, sort=[{"n": "desc"}], query={"match_all": {}}, size=2)
    assert [hit["_source"]["n"] for hit in page["hits"]["hits"]] == [4, 3]
    assert through.close_point_in_time(id=page["pit_id"])["succeeded"]
    ids = ["a/b ü", "3", "none"]
    assert through.mget(index=index, ids=ids) == client.mget(index=index, ids=ids)
    assert through.indices.exists(index=index)
    assert not through.exists(index=index, id="none")
    assert proxy.counts[("PUT", f"/{index}/_doc/a%2Fb%20%C3%BC")] == 1
    assert proxy.counts[("PUT", f"/{index}/_bulk")] == 1
    assert proxy.counts[("POST", "/_search")] == 1
    assert proxy.counts[("HEAD", f"/{index}/_doc/none")] == 1
    assert {(seen.fault, seen.done) for seen in proxy.wait_for(lambda seen: seen.done, times=8)} == {(None, True)}
    assert [seen.status for seen in proxy.requests][-1] == 404


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/{index}/_doc/1?realtime=true", ""),
        ("GET", "/{index}/_doc/1", "Accept-Encoding: gzip\r\n"),
        ("HEAD", "/{index}/_doc/1", ""),
        ("GET", "/{index}/_doc/none", ""),
        ("GET", "/{index}/_mget", "Content-Length: 13\r\n"),
        ("DELETE", "/_bulk?no_such_parameter", "Accept: application/yaml\r\nx-OPAQUE-id:  7 \r\n"),
    ],
)
def test_answers_are_the_same_bytes(
    proxy: FaultProxy, node_url: str, client: Elasticsearch, index: str, method: str, path: str, headers: str
) -> None:
    client.index(index=index, id="1", document={"n": 1, "text": "long enough to be packed " * 100})
    body = '{"ids":["1"]}' if "Length" in headers else ""
    start = f"{method} {path.format(index=index)} HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n"
    request = f"{start}{headers}Connection: close\r\n\r\n{body}".encode()
    direct = spoken(node_url, request)
    assert direct.startswith(b"HTTP/1.1 ")
    assert spoken(proxy.url, request) == direct


def test_chunked_and_packed_requests(proxy: FaultProxy, behind: FaultProxy, client: Elasticsearch, index: str) -> None:
    bodies: list[bytes] = []

    def keep(_method: str, _path: str, body: bytes) -> bool:
        bodies.append(body)
        return False

    proxy.add(Rule(Reset(), when=keep))
    behind.add(Rule(Reset(), when=keep))
    lines = [b'{"index":{"_id":"%d"}}\n{"n":%d}\n' % (n, n) for n in range(50)]
    parts = urlsplit(proxy.url)
    with closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)) as connection:
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        # Two requests on one connection: an iterable goes in chunks.
        for body in (iter([gzip.compress(b"".join(lines))[:100], gzip.compress(b"".join(lines))[100:]]), b""):
            path = f"/{index}/_bulk?refresh" if body else f"/{index}/_count"
            connection.request("POST", path, body or None, headers if body else {})
            answer = json.loads(connection.getresponse().read())
    assert answer["count"] == client.count(index=index)["count"] == 50
    assert bodies == [b"".join(lines)] * 2 + [b""] * 2


def test_bodies_of_20_mb_both_ways(through: Elasticsearch, client: Elasticsearch, index: str) -> None:
    text = "x" * (MB // 2)
    operations: list[dict[str, Any]] = []
    for n in range(40):
        operations += [{"index": {"_id": str(n)}}, {"text": f"{n} {text}"}]
    assert not through.bulk(index=index, operations=operations)["errors"]
    documents = through.mget(index=index, ids=[str(n) for n in range(40)])["docs"]
    assert [document["_source"]["text"] for document in documents] == [f"{n} {text}" for n in range(40)]
    assert client.exists(index=index, id="39")


def test_reset_forwards_nothing_and_the_next_request_works(
    proxy: FaultProxy, behind: FaultProxy, through: Elasticsearch, index: str
) -> None:
    through.index(index=index, id="0", document={"n": 0})
    proxy.add(Rule(Reset(), often=first(1)))
    with raises_connection_error("reset by peer"):
        through.index(index=index, id="1", document={"n": 1})
    assert len(behind.requests) == 1
    assert through.index(index=index, id="1", document={"n": 1})["result"] == "created"
    assert [(seen.fault, seen.status) for seen in proxy.requests] == [(None, 201), ("Reset", None), (None, 201)]


@pytest.mark.parametrize("length", [0, 1, 17, 120])
def test_reset_after_sends_exactly_so_much(
    proxy: FaultProxy, through: Elasticsearch, client: Elasticsearch, index: str, length: int
) -> None:
    proxy.add(Rule(ResetAfter(length)))
    with pytest.raises(NoConnection):
        through.index(index=index, id="1", document={"n": 1})
    assert client.get(index=index, id="1")["found"]

    parts = urlsplit(proxy.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(f"GET /{index}/_doc/1 HTTP/1.1\r\nHost: node\r\n\r\n".encode())
        received = connection.recv(length, socket.MSG_WAITALL) if length else b""
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert len(received) == length
    assert b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\n".startswith(received[:50])


def test_black_hole_holds_only_its_own_request(
    proxy: FaultProxy, behind: FaultProxy, through: Elasticsearch, index: str
) -> None:
    rule = proxy.add(Rule(BlackHole(), when=ends("/_bulk")))
    with pytest.raises(ConnectionTimeout):
        through.options(request_timeout=0.3).bulk(index=index, operations=[{"index": {"_id": "1"}}, {"n": 1}])
    assert not through.exists(index=index, id="1")
    assert behind.counts == {("HEAD", f"/{index}/_doc/1"): 1}
    assert proxy.wait_for(lambda seen: seen.fault == "BlackHole" and seen.done)[0].status is None
    proxy.remove(rule)
    assert not through.bulk(index=index, operations=[{"index": {"_id": "1"}}, {"n": 1}])["errors"]


def test_delay_forwards_later_even_if_the_client_has_left(
    proxy: FaultProxy, behind: FaultProxy, through: Elasticsearch, client: Elasticsearch, index: str
) -> None:
    proxy.add(Rule(Delay(0.4), often=first(2)))
    began = time.monotonic()
    through.index(index=index, id="1", document={"n": 1})
    assert time.monotonic() - began >= 0.4
    assert behind.requests[0].time - proxy.requests[0].time >= 0.4
    with pytest.raises(ConnectionTimeout):
        through.options(request_timeout=0.1).index(index=index, id="2", document={"n": 2})
    proxy.wait_for(lambda seen: seen.fault == "Delay" and seen.done, times=2)
    assert client.get(index=index, id="2")["found"]


def test_lost_answer_is_a_committed_write(
    proxy: FaultProxy, through: Elasticsearch, client: Elasticsearch, index: str
) -> None:
    proxy.add(Rule(LoseAnswer(), when=ends("/_bulk"), often=first(1)))
    operations: list[dict[str, Any]] = [{"create": {"_id": "1"}}, {"n": 1}]
    with raises_connection_error("reset by peer"):
        through.bulk(index=index, operations=operations)
    assert client.get(index=index, id="1")["found"]
    assert through.bulk(index=index, operations=operations)["items"][0]["create"]["status"] == 409
    assert [(seen.fault, seen.status) for seen in proxy.requests] == [("LoseAnswer", 200), (None, 200)]


@pytest.mark.parametrize("status", [429, 503])
def test_too_many_refuses_and_then_lets_through(
    proxy: FaultProxy, behind: FaultProxy, through: Elasticsearch, index: str, status: int
) -> None:
    proxy.add(Rule(TooMany(status), often=first(3)))
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            through.index(index=index, id="1", document={"n": 1})
        assert (refused.value.meta.status, refused.value.error) == (status, "es_rejected_execution_exception")
        assert refused.value.body["status"] == status
    with pytest.raises(ApiError) as refused:
        through.exists(index=index, id="1")
    assert refused.value.meta.status == status
    assert behind.requests == []
    assert through.index(index=index, id="1", document={"n": 1})["result"] == "created"
    # All on one connection, which the refusals left usable.
    assert [seen.status for seen in proxy.requests] == [status] * 3 + [201]


def test_client_retries_over_refusals(proxy: FaultProxy, index: str) -> None:
    proxy.add(Rule(TooMany(), often=first(2)))
    with Elasticsearch(proxy.url, max_retries=2, retry_on_status=[429]) as retrying:
        assert retrying.index(index=index, id="1", document={"n": 1})["result"] == "created"
    assert [seen.fault for seen in proxy.requests] == ["TooMany", "TooMany", None]


def faults_of(proxy: FaultProxy, through: Elasticsearch, often: Callable[[int], bool], calls: int) -> list[bool]:
    rule = proxy.add(Rule(TooMany(), when=lambda method, _path, _body: method == "HEAD", often=often))
    before = len(proxy.requests)
    for _ in range(calls):
        through.options(ignore_status=429).perform_request("HEAD", "/")
        through.options(ignore_status=429).info()
    proxy.remove(rule)
    seen = proxy.requests[before:]
    assert {request.fault for request in seen if request.method == "GET"} == {None}
    return [request.fault is not None for request in seen if request.method == "HEAD"]


def test_how_often_a_rule_applies(proxy: FaultProxy, through: Elasticsearch) -> None:
    assert faults_of(proxy, through, first(2), 4) == [True, True, False, False]
    assert faults_of(proxy, through, every(3), 7) == [False, False, True, False, False, True, False]
    assert faults_of(proxy, through, lambda _match: True, 3) == [True] * 3
    generator = random.Random(4)
    expected = [generator.random() < 0.5 for _ in range(20)]
    assert faults_of(proxy, through, chance(0.5, random.Random(4)), 20) == expected


def test_the_first_rule_that_applies_wins(proxy: FaultProxy, through: Elasticsearch) -> None:
    for action, often in ((TooMany(429), every(2)), (TooMany(503), first(2))):
        proxy.add(Rule(action, often=often))
    for _ in range(5):
        through.options(ignore_status=[429, 503]).info()
    assert [seen.status for seen in proxy.requests] == [503, 429, 503, 429, 200]
    proxy.clear()
    through.info()
    assert proxy.requests[-1].fault is None


def test_down_refuses_closes_and_comes_back(proxy: FaultProxy, behind: FaultProxy, through: Elasticsearch) -> None:
    through.info()
    url = proxy.url
    proxy.add(Rule(BlackHole(), when=ends("/_search")))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(through.search)
        proxy.wait_for(lambda seen: seen.fault == "BlackHole")
        with proxy.down():
            assert isinstance(held.exception(timeout=30), NoConnection)
            for _ in range(3):
                with raises_connection_error("refused"):
                    through.info()
            with pytest.raises(RuntimeError, match="down already"), proxy.down():
                pass
    assert proxy.url == url
    assert through.info()["tagline"] == "You Know, for Search"
    assert len(proxy.requests) == 3

    # The node itself goes and comes: the connections kept to it are renewed.
    with behind.down(), pytest.raises(NoConnection):
        through.info()
    assert through.info()["tagline"] == "You Know, for Search"


def test_twenty_connections_while_rules_come_and_go(proxy: FaultProxy, client: Elasticsearch, index: str) -> None:
    threads, writes = 20, 15
    stop = threading.Event()
    actions: list[Action] = [Reset(), TooMany(), LoseAnswer(), Delay(0.001), ResetAfter(40)]

    def trouble(number: int) -> None:
        generator = random.Random(number)
        for action in itertools.cycle(actions):
            rule = proxy.add(Rule(action, often=chance(0.2, generator)))
            if stop.wait(0.005):
                return
            proxy.remove(rule)

    def write(number: int) -> list[str]:
        # A client of its own has a connection of its own.
        done: list[str] = []
        with Elasticsearch(proxy.url, max_retries=0, request_timeout=60) as own:
            for n in range(writes):
                while len(done) == n:
                    with suppress(NoConnection, ApiError):
                        done.append(own.index(index=index, id=f"{number}-{n}", document={"n": number})["_id"])
        return done

    with ThreadPoolExecutor(threads + 2) as pool:
        troubles = [pool.submit(trouble, number) for number in range(2)]
        try:
            written = [doc_id for ids in pool.map(write, range(threads)) for doc_id in ids]
        finally:
            stop.set()
        assert [future.result() for future in troubles] == [None, None]
    assert sorted(written) == sorted(f"{number}-{n}" for number in range(threads) for n in range(writes))
    client.indices.refresh(index=index)
    assert client.count(index=index)["count"] == threads * writes
    assert {seen.fault for seen in proxy.requests} > {None, "Reset"}


def test_leaves_nothing_behind(node_url: str) -> None:
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1) as pool:
        with FaultProxy(node_url) as proxy:
            proxy.add(Rule(BlackHole(), when=ends("/_search")))
            through = Elasticsearch(proxy.url, max_retries=0)
            through.info()
            held = pool.submit(through.search)
            proxy.wait_for(2)
        assert isinstance(held.exception(timeout=30), NoConnection)
        through.close()
        parts = urlsplit(proxy.url)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((parts.hostname, parts.port))
    assert set(threading.enumerate()) <= before
    # An open socket or a pending task warns when it is collected, and warnings are errors here.
    gc.collect()


def test_what_fails_in_the_proxy_fails_the_test(node_url: str, index: str) -> None:
    proxy = FaultProxy(node_url)
    proxy.__enter__()
    proxy.add(Rule(RejectItems(lambda _position, _action: True)))
    with Elasticsearch(proxy.url, max_retries=0) as through, pytest.raises(NoConnection):
        through.search(index=index)
    with pytest.raises(ExceptionGroup, match="the fault proxy failed") as failed:
        proxy.__exit__(None, None, None)
    assert f"POST /{index}/_search" in str(failed.value.exceptions[0])


def test_what_fails_in_the_proxy_is_noted_on_the_test_s_own_failure(node_url: str) -> None:
    def wrong(_method: str, _path: str, _body: bytes) -> bool:
        raise LookupError("a mistake in a predicate")

    def broken_test() -> None:
        with FaultProxy(node_url) as proxy, Elasticsearch(proxy.url, max_retries=0) as through:
            proxy.add(Rule(Reset(), when=wrong))
            through.info()

    with pytest.raises(NoConnection) as lost:
        broken_test()
    assert lost.value.__notes__ == ["the fault proxy failed: LookupError('a mistake in a predicate')"]


def test_waiting_in_vain_says_what_was_seen(proxy: FaultProxy, through: Elasticsearch) -> None:
    through.info()
    assert [seen.path for seen in proxy.wait_for(1)] == ["/"]
    with pytest.raises(TimeoutError, match=r"2 requests expected .*method='GET', path='/'"):
        proxy.wait_for(2, timeout=0.05)


@pytest.mark.parametrize("url", ["https://localhost:9200", "localhost:9200", "http://localhost:9200/under/a/path"])
def test_takes_only_the_plain_url_of_a_node(url: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        FaultProxy(url)
