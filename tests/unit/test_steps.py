"""Procedures are driven alike by both shells, and errors reach the procedure with their names."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.cluster.client import client_options
from es_semantic.cluster.failures import failure, reason_of
from es_semantic.cluster.steps import (
    MAX_SPAWNED,
    NDJSON,
    Compute,
    Join,
    Pause,
    Request,
    Spawn,
    Steps,
    refused_once,
    run,
    run_async,
    url_path,
)
from es_semantic.config import ConnectionSettings
from es_semantic.errors import Forbidden, IndexUnavailable, RequestFailed


@pytest.mark.parametrize("name", ["a/b", "../_all", "a?b", "a#b", "a%2Fb", "<logs-{now/d}>", "é"])
def test_no_name_changes_the_shape_of_a_path(name: str) -> None:
    path = url_path("/{}/_doc/{}", name, name)
    assert path.count("/") == 3
    assert not set(path) & set("?#<> ")


def test_newline_delimited_bodies_have_their_own_media_type() -> None:
    assert Request("POST", "/_bulk", body=[b"{}"]).headers["content-type"] == NDJSON
    assert "content-type" not in Request("GET", "/").headers


@pytest.mark.parametrize(
    ("status", "kind", "reason", "expected"),
    [
        (404, "index_not_found_exception", "no such index [x]", IndexUnavailable),
        (400, "index_closed_exception", "closed", IndexUnavailable),
        (403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)]", IndexUnavailable),
        (403, "security_exception", "action [x] is unauthorized", Forbidden),
        (401, "security_exception", "missing authentication", Forbidden),
        (403, "security_exception", "current license is non-compliant for [rrf]", RequestFailed),
        (400, "parsing_exception", "unknown field", RequestFailed),
        (429, "es_rejected_execution_exception", "queue full", RequestFailed),
    ],
)
def test_refusals_have_names(status: int, kind: str, reason: str, expected: type[Exception]) -> None:
    error = failure(status, {"error": {"type": kind, "reason": reason}}, "GET /x")
    assert type(error) is expected
    assert (error.status, error.error_type) == (status, kind)
    assert reason in str(error)
    assert "GET /x" in str(error)


def test_the_cause_is_told_where_the_reason_does_not_say_it() -> None:
    body = {"error": {"type": "a", "reason": "all shards failed", "failed_shards": [{"reason": {"reason": "why"}}]}}
    assert reason_of(body) == ("a", "all shards failed: why")
    assert reason_of({"error": "no handler found"}) == ("", "no handler found")
    deep = {"type": "a", "reason": "one", "caused_by": {"reason": "two", "caused_by": {"reason": "three"}}}
    assert reason_of({"error": deep}) == ("a", "one: two: three")


def test_credentials_are_not_shown() -> None:
    settings = ConnectionSettings(url="http://localhost:9200", api_key="SECRET")
    assert client_options(settings)["api_key"] == "SECRET"
    assert "SECRET" not in repr(settings)


def test_public_functions_show_their_parameters_and_what_they_do() -> None:
    for name in ("attach", "detach", "sync", "follow", "failures", "status", "search"):
        function = getattr(es_semantic, name)
        assert next(iter(inspect.signature(function).parameters)) == "client"
        assert function.__doc__


def both(steps: Callable[[], Steps[Any]]) -> Iterator[Callable[[], Any]]:
    """Drive a procedure that sends no request, in either shell."""
    yield lambda: run(Elasticsearch("http://127.0.0.1:1"), steps())

    async def asynchronous() -> Any:
        async with AsyncElasticsearch("http://127.0.0.1:1") as client:
            return await run_async(client, steps())

    yield lambda: asyncio.run(asynchronous())


def after(seconds: float, result: Any, done: list[Any] | None = None) -> Steps[Any]:
    yield Pause(seconds)
    if isinstance(result, Exception):
        raise result
    if done is not None:
        done.append(result)
    return result


def test_a_spawned_procedure_gives_its_result_when_it_is_joined() -> None:
    def parent() -> Steps[Any]:
        handle = yield Spawn(after(0, "result"))
        return (yield Join(handle)), (yield Join(handle))

    for result in both(parent):
        assert result() == ("result", "result")


def test_a_spawned_procedure_raises_where_it_is_joined_and_can_be_caught_there() -> None:
    def parent() -> Steps[Any]:
        handle = yield Spawn(after(0, Forbidden("no")))
        yield Pause(0.01)
        try:
            yield Join(handle)
        except Forbidden as error:
            return error.what

    for result in both(parent):
        assert result() == "no"


def test_an_exception_that_nobody_catches_is_the_procedures_own() -> None:
    def parent() -> Steps[Any]:
        yield Join((yield Spawn(after(0, Forbidden("no")))))

    for result in both(parent):
        with pytest.raises(Forbidden, match="no"):
            result()


def test_several_run_at_once_and_are_joined_in_any_order() -> None:
    def waits_for(own: threading.Event, others: threading.Event) -> Steps[Any]:
        own.set()
        # Not Compute: in the synchronous shell too, both must be under way.
        for _ in range(1000):
            if others.is_set():
                return True
            yield Pause(0.01)
        return False

    def parent() -> Steps[Any]:
        first, second = threading.Event(), threading.Event()
        one = yield Spawn(waits_for(first, second))
        other = yield Spawn(waits_for(second, first))
        return (yield Join(other)), (yield Join(one))

    for result in both(parent):
        assert result() == (True, True)


def test_more_than_there_are_threads_for_are_all_done() -> None:
    count = 3 * MAX_SPAWNED

    def parent() -> Steps[Any]:
        handles = []
        for number in range(count):
            handles.append((yield Spawn(after(0.001, number))))
        results = []
        for handle in handles:
            results.append((yield Join(handle)))
        return results

    for result in both(parent):
        assert result() == list(range(count))


def test_a_spawned_procedure_may_spawn_too() -> None:
    def child() -> Steps[Any]:
        return (yield Join((yield Spawn(after(0, "grandchild")))))

    def parent() -> Steps[Any]:
        return (yield Join((yield Spawn(child()))))

    for result in both(parent):
        assert result() == "grandchild"


@pytest.mark.parametrize("fails", [True, False])
def test_what_still_runs_at_the_end_is_waited_for(fails: bool) -> None:
    done: list[Any] = []

    def parent() -> Steps[Any]:
        yield Spawn(after(0.1, "done", done))
        yield Pause(0.02)
        if fails:
            raise Forbidden("the parent fails meanwhile")

    for result in both(parent):
        done.clear()
        if fails:
            with pytest.raises(Forbidden, match="meanwhile"):
                result()
        else:
            result()
        assert done == ["done"]


def test_a_failure_that_nobody_joins_does_not_hide_the_parents() -> None:
    def parent() -> Steps[Any]:
        yield Spawn(after(0, Forbidden("the child's")))
        yield Pause(0.02)
        raise IndexUnavailable("the parent's")

    for result in both(parent):
        with pytest.raises(IndexUnavailable, match="the parent's"):
            result()


def interrupted() -> None:
    raise KeyboardInterrupt


def test_an_interruption_reaches_the_procedure_which_may_tidy_up() -> None:
    tidied: list[Any] = []

    def parent() -> Steps[Any]:
        handle = yield Spawn(after(0.05, "done"))
        try:
            yield Compute(interrupted)
        except KeyboardInterrupt:
            # More steps may be made even now.
            tidied.append((yield Join(handle)))
            raise

    for result in both(parent):
        tidied.clear()
        with pytest.raises(KeyboardInterrupt):
            result()
        assert tidied == ["done"]


def test_a_cancelled_task_reaches_the_procedure_which_may_tidy_up() -> None:
    tidied: list[Any] = []

    def parent() -> Steps[Any]:
        handle = yield Spawn(after(0.05, "done"))
        try:
            yield Pause(60)
        except asyncio.CancelledError:
            tidied.append((yield Join(handle)))
            raise

    async def cancel() -> None:
        async with AsyncElasticsearch("http://127.0.0.1:1") as client:
            task = asyncio.create_task(run_async(client, parent()))
            await asyncio.sleep(0.02)
            task.cancel()
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert tidied == ["done"]


def test_a_procedure_that_spawns_nothing_starts_no_thread() -> None:
    def parent() -> Steps[Any]:
        yield Pause(0)
        return threading.active_count()

    before = threading.active_count()
    assert next(iter(both(parent)))() == before


def test_what_is_tried_again_as_a_whole_is_not_resent_where_it_is_refused() -> None:
    def child() -> Steps[Any]:
        return (yield Request("GET", "/child"))

    def parent() -> Steps[Any]:
        yield Request("GET", "/read")
        yield Request("POST", "/_bulk", resend_refused=False)
        yield Pause(0)
        try:
            yield Request("GET", "/refused")
        except Forbidden:
            yield Spawn(child())
        return "result"

    steps = refused_once(parent())
    first, second, third, fourth = (steps.send(None) for _ in range(4))
    fifth = steps.throw(Forbidden("no"))
    assert isinstance(fifth, Spawn)
    requests = [first, second, fourth, next(fifth.steps)]
    assert [each.resend_refused for each in requests if isinstance(each, Request)] == [False] * 4
    assert isinstance(third, Pause)
    with pytest.raises(StopIteration) as ended:
        steps.send("handle")
    assert ended.value.value == "result"


def test_a_procedure_that_is_tried_again_as_a_whole_ends_as_any_other() -> None:
    ends: list[str] = []

    def parent() -> Steps[Any]:
        try:
            yield Pause(0)
        finally:
            ends.append("closed")

    steps = refused_once(parent())
    next(steps)
    steps.close()
    assert ends == ["closed"]
    steps = refused_once(parent())
    next(steps)
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())
    assert ends == ["closed"] * 2


def test_refusals_of_documents_quote_nothing() -> None:
    body = {"error": {"type": "document_parsing_exception", "reason": "failed to parse: my diary"}}
    for path in ("POST /_bulk", "writing: POST /i/_update/1", "PUT /i/_doc/1", "POST /i/_update_by_query"):
        assert "diary" not in str(failure(400, body, path))
        assert "failed to parse" in str(failure(400, body, path))
    assert "diary" in str(failure(400, body, "POST /i/_search")), "it is the reader's own"
