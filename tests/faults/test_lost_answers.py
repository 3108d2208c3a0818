"""A connection that breaks, or an answer that does not come: the worker reads again and decides by hash."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import Unreachable
from tests.faults.proxy import (
    Action,
    BlackHole,
    Delay,
    FaultProxy,
    LoseAnswer,
    Reset,
    ResetAfter,
    Rule,
    chance,
    ends,
    first,
)
from tests.faults.test_overload import bulk_of_documents
from tests.faults.workers import IN_FLIGHT, Counting, Owner, attached, check, seeded
from tests.nodes import MakeIndex

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 400
TITLE = {"title": {"type": "text"}}


def sync_to_the_end(client: Elasticsearch, owner: Owner, model: Counting, *, most: int = 10) -> int:
    """Sync until one comes through, and return how many did not."""
    for failed in range(most):
        try:
            assert es_semantic.sync(client, owner.index, model=model).failed == 0
        except Unreachable:
            continue
        return failed
    raise AssertionError(f"no sync of {most} came through")


@pytest.mark.parametrize("retries", [0, 3])
def test_a_committed_write_is_not_embedded_again(
    proxy: FaultProxy, client: Elasticsearch, make_index: MakeIndex, retries: int
) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    proxy.add(Rule(LoseAnswer(), when=bulk_of_documents, often=first(1)))
    model = Counting()
    with Elasticsearch(proxy.url, max_retries=retries, request_timeout=60) as through:
        assert sync_to_the_end(through, owner, model) == 0
    assert sum(seen.fault is not None for seen in proxy.requests) == 1
    if retries:
        # The client itself sends the write again: a version conflict with its own first try.
        assert len(model.embedded) == DOCUMENTS
    # Of what was in flight only the windows behind the lost one may be embedded again: 64 is the first window.
    lost = set(model.embedded[:64])
    assert len([text for text in model.embedded if text in lost]) == 64
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + IN_FLIGHT
    check(owner)


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize(
    "action", [LoseAnswer(), ResetAfter(60), ResetAfter(400), Reset(), Delay(0.05)], ids=lambda action: repr(action)
)
def test_faults_at_random(
    proxy: FaultProxy, client: Elasticsearch, make_index: MakeIndex, action: Action, retries: int
) -> None:
    generator = seeded()
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    model = Counting()
    with Elasticsearch(proxy.url, max_retries=retries, request_timeout=60) as through:
        proxy.add(Rule(action, when=ends("/_bulk"), often=chance(0.2, generator)))
        proxy.add(Rule(action, when=ends("/_search"), often=chance(0.1, generator)))
        sync_to_the_end(through, owner, model)
    faults = sum(seen.fault is not None for seen in proxy.requests)
    harmless = isinstance(action, Delay)
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + (0 if harmless else faults * IN_FLIGHT)
    check(owner)


@pytest.mark.parametrize(
    ("where", "retries"), [(bulk_of_documents, 0), (bulk_of_documents, 3), (ends("/_search"), 0), (ends("/_stats"), 0)]
)
def test_a_node_that_never_answers(
    proxy: FaultProxy,
    client: Elasticsearch,
    make_index: MakeIndex,
    where: Callable[[str, str, bytes], bool],
    retries: int,
) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    rule = proxy.add(Rule(BlackHole(), when=where, often=first(2)))
    model = Counting()
    with Elasticsearch(proxy.url, max_retries=retries, retry_on_timeout=retries > 0, request_timeout=2) as through:
        sync_to_the_end(through, owner, model)
        proxy.remove(rule)
    assert sum(seen.fault == "BlackHole" for seen in proxy.requests) == 2
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + 2 * IN_FLIGHT
    check(owner)


def test_a_slow_write_that_arrives_after_all(proxy: FaultProxy, client: Elasticsearch, make_index: MakeIndex) -> None:
    """The client has given up, the document was changed meanwhile, and only then the write reaches the node."""
    owner = attached(client, make_index(TITLE), 50)
    proxy.add(Rule(Delay(3), when=bulk_of_documents, often=first(1)))
    model = Counting()
    with Elasticsearch(proxy.url, max_retries=0, request_timeout=1) as through:
        changed = {"0": {"title": "changed while the write was on its way"}}
        calls = itertools.count(1)
        # The second call is that after the pass that got no answer.
        model.meanwhile = lambda _texts: owner.update(changed) if next(calls) == 2 else None
        sync_to_the_end(through, owner, model)
        proxy.wait_for(lambda seen: seen.fault == "Delay" and seen.done)
        sync_to_the_end(through, owner, model)
    check(owner)


def test_the_cluster_is_gone_for_good(proxy: FaultProxy, client: Elasticsearch, make_index: MakeIndex) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    model = Counting()
    with Elasticsearch(proxy.url, max_retries=0) as through:
        rule = proxy.add(Rule(Reset(), often=lambda match: match > 12))
        with pytest.raises(Unreachable, match="no Elasticsearch answers"):
            es_semantic.sync(through, owner.index, model=model)
        proxy.remove(rule)
        sync_to_the_end(through, owner, model)
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + 6 * IN_FLIGHT
    check(owner)
