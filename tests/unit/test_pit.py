"""A point in time is closed whatever happens, and tidying up never hides what happened; driven by hand."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.cluster.steps import Compute, Request, Steps
from es_semantic.errors import ModelUnavailable, RequestFailed
from es_semantic.sync.pit import PointInTime, with_pit


def read(pit: PointInTime) -> Steps[str]:
    yield Compute(lambda: None)
    return f"read {pit.id}"


def opened() -> Steps[str]:
    steps = with_pit("an index", read, max_size=10)
    assert next(steps) == Request("POST", "/an%20index/_pit", {"keep_alive": "15m"})
    assert isinstance(steps.send({"id": "p1"}), Compute)
    return steps


CLOSE = Request("DELETE", "/_pit", body={"id": "p1"})


def test_it_is_closed_at_the_end() -> None:
    steps = opened()
    assert steps.send(None) == CLOSE
    with pytest.raises(StopIteration) as stop:
        steps.send({})
    assert stop.value.value == "read p1"


@pytest.mark.parametrize("failure", [ModelUnavailable("down"), KeyboardInterrupt()])
def test_it_is_closed_after_a_failure(failure: Any) -> None:
    steps = opened()
    assert steps.throw(failure) == CLOSE
    with pytest.raises(type(failure)) as caught:
        steps.send({})
    assert caught.value is failure


@pytest.mark.parametrize("failure", [ModelUnavailable("down"), KeyboardInterrupt()])
def test_a_failure_is_told_even_where_closing_fails_too(failure: Any) -> None:
    steps = opened()
    assert steps.throw(failure) == CLOSE
    with pytest.raises(type(failure)) as caught:
        steps.throw(RequestFailed("no such point in time", status=404))
    assert caught.value is failure


def test_an_abandoned_procedure_says_nothing_more() -> None:
    steps = opened()
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)


def read_pages(pit: PointInTime) -> Steps[list[Any]]:
    hits: list[Any] = []
    for _ in range(2):
        hits += yield from pit.page({}, size=5, after=None)
    return hits


def asked(step: Any) -> str:
    assert isinstance(step, Request)
    assert isinstance(step.body, dict)
    return str(step.body["pit"]["id"])


def test_the_latest_id_is_used_and_closed() -> None:
    steps = with_pit("an index", read_pages, max_size=10)
    next(steps)
    assert asked(steps.send({"id": "p1"})) == "p1"
    assert asked(steps.send({"pit_id": "p2", "hits": {"hits": ["a"]}})) == "p2"
    assert steps.send({"pit_id": "p3", "hits": {"hits": ["b"]}}) == Request("DELETE", "/_pit", body={"id": "p3"})
    with pytest.raises(StopIteration) as stop:
        steps.send({})
    assert stop.value.value == ["a", "b"]


def test_the_latest_id_is_closed_after_a_failure() -> None:
    steps = with_pit("an index", read_pages, max_size=10)
    next(steps)
    steps.send({"id": "p1"})
    steps.send({"pit_id": "p2", "hits": {"hits": []}})
    assert steps.throw(RequestFailed("refused", status=500)) == Request("DELETE", "/_pit", body={"id": "p2"})
    with pytest.raises(RequestFailed):
        steps.send({})
