"""What the log of a worker tells: of a long pass that it is alive, and of a bug of ours all but secrets."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import orjson
import pytest

from es_semantic.cli.following import Telling
from es_semantic.cli.output import LINE_EVERY


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set forward."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    names = ("index", "unread", "embedded", "unchanged", "failed")
    return [{name: record.__dict__[name] for name in names} for record in caplog.records]


def test_a_pass_of_a_minute(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "es_semantic.worker")
    observer = Telling()
    for second in range(61):
        clock[0] = 1000.0 + second
        observer.documents("articles-1", "semantic", "embedded", 10)
        observer.documents("articles-1", "semantic", "unchanged", 1)
        observer.lag("articles", "semantic", 1000 - 10 * second, float(second))
    told = lines(caplog)
    assert {record.getMessage() for record in caplog.records} == {"in progress"}
    assert [line["unread"] for line in told] == [900, 800, 700, 600, 500, 400]
    assert [line["embedded"] for line in told] == [110, *[100] * 5]
    assert [line["unchanged"] for line in told] == [11, *[10] * 5]
    assert {(line["index"], line["failed"]) for line in told} == {("articles", 0)}


def test_short_passes_and_failures_have_no_such_line(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "es_semantic.worker")
    observer = Telling()
    for _ in range(100):
        observer.documents("articles", "semantic", "embedded", 10)
        observer.lag("articles", "semantic", 5, 0.4)
        observer.lag("articles", "semantic", 0, 0.0)
        clock[0] += LINE_EVERY
    observer.lag("articles", "semantic", 5, 3 * LINE_EVERY)
    assert lines(caplog) == []


BUG = """
import sys
import es_semantic
from es_semantic.cli.main import main

def follow(*arguments, **options):
    raise ZeroDivisionError("api_key=Q7xSecret0123456789")

es_semantic.follow = follow
sys.argv = ["es-semantic", "--url", "http://127.0.0.1:1", "sync", "articles", "--follow", "--port", "0"]
main()
"""


def test_a_bug_of_ours_is_a_line_of_the_log_too() -> None:
    ended = subprocess.run([sys.executable, "-c", BUG], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "")
    started, bug = (orjson.loads(line) for line in ended.stderr.splitlines())
    assert started["message"] == "worker started"
    assert (bug["log.level"], bug["message"]) == ("critical", "worker ended by a bug")
    assert "ZeroDivisionError" in bug["error.stack_trace"]
    assert "Q7xSecret" not in ended.stderr
