"""An overloaded cluster, HTTP 429 and 503: everything is tried again, nothing is dropped, no document is to blame."""

from __future__ import annotations

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import RequestFailed
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync import bulk
from tests.embedder import TinyEmbedder
from tests.faults.proxy import FaultProxy, RejectItems, Rule, TooMany, chance, ends, first
from tests.faults.workers import IN_FLIGHT, Counting, attached, check, command_line, seeded, settle
from tests.nodes import MakeIndex

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 400
TITLE = {"title": {"type": "text"}}


def bulk_of_documents(_method: str, path: str, body: bytes) -> bool:
    return path.endswith("/_bulk") and CONTROL_INDEX.encode() not in body


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_items_that_are_rejected_are_written_later(
    proxy: FaultProxy,
    through: Elasticsearch,
    client: Elasticsearch,
    make_index: MakeIndex,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    share: float,
) -> None:
    # Half of 32 items fail eight times in a row about once in eight windows: that is the next test's subject.
    monkeypatch.setattr(bulk, "MAX_TRIES", 30)
    generator = seeded()
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    proxy.add(Rule(RejectItems(lambda _i, _action: generator.random() < share, status), when=ends("/_bulk")))
    model = Counting()
    report = es_semantic.sync(through, owner.index, model=model)
    assert (report.embedded, report.failed, report.superseded) == (DOCUMENTS, 0, 0)
    assert len(model.embedded) == DOCUMENTS
    assert sum(seen.fault == "RejectItems" for seen in proxy.requests) > DOCUMENTS // 64
    proxy.clear()
    assert settle(through, owner, model).embedded == 0
    check(owner)


@pytest.mark.parametrize("status", [429, 503])
def test_requests_that_are_refused_are_sent_again(
    proxy: FaultProxy, through: Elasticsearch, client: Elasticsearch, make_index: MakeIndex, status: int
) -> None:
    generator = seeded()
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    proxy.add(Rule(TooMany(status), when=ends("/_bulk"), often=chance(0.3, generator)))
    searches = proxy.add(Rule(TooMany(status), when=ends("/_search"), often=chance(0.2, generator)))
    model = Counting()
    report = es_semantic.sync(through, owner.index, model=model)
    refused_searches = sum(seen.fault is not None and seen.path.endswith("/_search") for seen in proxy.requests)
    proxy.remove(searches)
    assert (report.failed, report.complete) == (0, True)
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + refused_searches * IN_FLIGHT
    check(owner)


def test_a_burst_that_outlasts_one_request_s_tries(
    proxy: FaultProxy, through: Elasticsearch, client: Elasticsearch, make_index: MakeIndex
) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    proxy.add(Rule(TooMany(), when=bulk_of_documents, often=first(3 * bulk.MAX_TRIES)))
    model = Counting()
    report = es_semantic.sync(through, owner.index, model=model)
    assert (report.failed, report.complete) == (0, True)
    # Each of at most three giving-up writes has cost what was in flight.
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + 3 * IN_FLIGHT
    check(owner)


def test_an_overload_without_end_is_an_error_and_the_next_sync_goes_on(
    proxy: FaultProxy, through: Elasticsearch, client: Elasticsearch, make_index: MakeIndex
) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    good = 2
    proxy.add(Rule(TooMany(), when=bulk_of_documents, often=lambda match: match > good))
    model = Counting()
    with pytest.raises(RequestFailed, match="refused 8 times") as stopped:
        es_semantic.sync(through, owner.index, model=model)
    assert (stopped.value.status, "run sync again" in stopped.value.hint) == (429, True)
    assert stopped.value.exit_code == 1
    proxy.clear()
    before = len(model.embedded)
    settle(through, owner, model)
    assert len(model.embedded) - before == DOCUMENTS - 64 - 32 < DOCUMENTS
    check(owner)


def test_the_command_line_ends_with_1(proxy: FaultProxy, client: Elasticsearch, make_index: MakeIndex) -> None:
    owner = attached(client, make_index(TITLE), 1)
    proxy.add(Rule(TooMany(), when=ends("/_refresh")))
    ended = command_line(proxy.url, "sync", owner.index)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended.stderr
    assert "rejected by the fault proxy" in ended.stderr
    proxy.clear()
    assert settle(client, owner, TinyEmbedder()).embedded == 1
    check(owner)
