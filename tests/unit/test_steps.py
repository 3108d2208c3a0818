"""Procedures are driven alike by both shells, and errors reach the procedure with their names."""

from __future__ import annotations

import inspect

import pytest

import es_semantic
from es_semantic.cluster.client import client_options
from es_semantic.cluster.failures import failure, reason_of
from es_semantic.cluster.steps import NDJSON, Request, url_path
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
    for name in ("attach", "detach", "sync", "status", "search"):
        function = getattr(es_semantic, name)
        assert next(iter(inspect.signature(function).parameters)) == "client"
        assert function.__doc__
