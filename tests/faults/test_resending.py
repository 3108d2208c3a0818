"""Who sends a refused request again: a loop of ours, which waits in between, and then not the client as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

from es_semantic.cluster.client import client_options
from es_semantic.cluster.steps import Join, Request, Spawn, Steps, refused_once, run, run_async
from es_semantic.config import ConnectionSettings
from es_semantic.errors import RequestFailed, Unreachable
from es_semantic.sync import bulk
from tests.faults.proxy import FaultProxy, Reset, Rule, TooMany

RETRIES = 3
"""What a client does by itself; both the client of the command line and one of a user's own are asked."""

Runs = Callable[[FaultProxy, Steps[Any]], Any]


def own(proxy: FaultProxy) -> dict[str, Any]:
    return client_options(ConnectionSettings(url=proxy.url, max_retries=RETRIES))


def synchronous(proxy: FaultProxy, steps: Steps[Any]) -> Any:
    with Elasticsearch(**own(proxy)) as client:
        return run(client, steps)


def asynchronous(proxy: FaultProxy, steps: Steps[Any]) -> Any:
    async def perform() -> Any:
        async with AsyncElasticsearch(**own(proxy)) as client:
            return await run_async(client, steps)

    return asyncio.run(perform())


def users(proxy: FaultProxy, steps: Steps[Any]) -> Any:
    settings: dict[str, Any] = {"max_retries": RETRIES, "retry_on_status": (429, 503), "retry_on_timeout": True}
    with Elasticsearch(proxy.url, **settings) as client:
        return run(client.options(opaque_id="theirs"), steps)


def asks(*, resend_refused: bool = True) -> Steps[Any]:
    # Not GET, which aiohttp itself sends once more where a connection breaks (RFC 9112, 9.3.1).
    return (yield Request("POST", "/_search", resend_refused=resend_refused))


def spawns(steps: Steps[Any]) -> Steps[Any]:
    return (yield Join((yield Spawn(steps))))


@pytest.fixture(params=[synchronous, asynchronous, users])
def runs(request: pytest.FixtureRequest) -> Runs:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("steps", "refused", "unanswered"),
    [
        (asks, 1 + RETRIES, 1 + RETRIES),
        (lambda: asks(resend_refused=False), 1, 1 + RETRIES),
        (lambda: refused_once(asks()), 1, 1 + RETRIES),
        (lambda: refused_once(spawns(asks())), 1, 1 + RETRIES),
    ],
    ids=["as the client is set up", "not if refused", "below a loop", "spawned below a loop"],
)
def test_how_often_a_request_is_sent(
    proxy: FaultProxy, runs: Runs, steps: Callable[[], Steps[Any]], refused: int, unanswered: int
) -> None:
    rule = proxy.add(Rule(TooMany()))
    with pytest.raises(RequestFailed, match="rejected by the fault proxy"):
        runs(proxy, steps())
    assert len(proxy.requests) == refused
    proxy.remove(rule)
    proxy.add(Rule(Reset()))
    with pytest.raises(Unreachable):
        runs(proxy, steps())
    assert len(proxy.requests) == refused + unanswered


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", [429, 503])
def test_a_bulk_write_is_sent_as_often_as_it_is_tried(proxy: FaultProxy, runs: Runs, status: int) -> None:
    proxy.add(Rule(TooMany(status)))
    lines = [b'{"index":{"_index":"never-made"}}', b"{}"]
    with pytest.raises(RequestFailed, match=f"refused {bulk.MAX_TRIES} times"):
        runs(proxy, bulk.write([lines]))
    assert len(proxy.requests) == bulk.MAX_TRIES


def test_other_requests_of_the_same_client_are_resent_as_before(proxy: FaultProxy, client: Elasticsearch) -> None:
    with Elasticsearch(proxy.url, max_retries=RETRIES, retry_on_status=(429,)) as theirs:
        proxy.add(Rule(TooMany()))
        with pytest.raises(RequestFailed):
            run(theirs, asks(resend_refused=False))
        assert len(proxy.requests) == 1
        with pytest.raises(RequestFailed):
            run(theirs, asks())
        assert len(proxy.requests) == 2 + RETRIES
    assert client.ping()
