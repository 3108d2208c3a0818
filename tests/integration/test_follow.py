"""``es-semantic sync --follow`` as a process: what it embeds, how it stops, what it tells."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch
from prometheus_client.parser import text_string_to_metric_families

import es_semantic
from es_semantic.embedding import PROBE_TEXT
from es_semantic.sync.health import LOOPBACK
from tests.embedder import TinyEmbedder
from tests.faults.proxy import FaultProxy
from tests.integration.test_write_paths import FIELDS, FIRST_WRITES, OLD, OVERWRITES, PROPERTIES
from tests.nodes import MakeIndex
from tests.truth import untrue

PATIENCE = 60.0
"""Seconds until something that never comes fails a test."""

KEY = "dGhlLWtleTp0aGUtc2VjcmV0"
ROOT = Path(__file__).parents[2]

COMMAND = """
import sys, time
import es_semantic
from es_semantic.cli.main import main
from es_semantic.errors import InputRejected
from tests.embedder import TinyEmbedder

class Slow(TinyEmbedder):
    def embed_documents(self, texts):
        if any("poison" in text for text in texts):
            raise InputRejected("this text is refused")
        if texts != [{probe!r}]:
            print(len(texts), flush=True)
            time.sleep({seconds})
        return super().embed_documents(texts)

model, follow, sync = Slow(), es_semantic.follow, es_semantic.sync
es_semantic.follow = lambda *arguments, **options: follow(*arguments, model=model, **options)
es_semantic.sync = lambda *arguments, **options: sync(*arguments, model=model, **options)
main()
"""
"""The installed command, with the tests' model in place of the bound one."""


class Command:
    """A running ``es-semantic``; all that it writes to stderr is kept."""

    def __init__(self, url: str, *arguments: str, seconds: float = 0.0, **environment: str) -> None:
        script = COMMAND.format(probe=PROBE_TEXT, seconds=seconds)
        env = {**os.environ, "ES_SEMANTIC_URL": url, "ES_SEMANTIC_API_KEY": KEY, "NO_COLOR": "1", **environment}
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=env,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def log(self) -> list[dict[str, Any]]:
        """All lines so far; each must be JSON."""
        return [json.loads(line) for line in list(self.lines)]

    def batch(self) -> int:
        """Wait for the next batch that is being embedded, and return its size."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def wait_for(self, message: str, **fields: Any) -> dict[str, Any]:
        """Wait for a line of the log."""
        wanted = {"message": message, **fields}

        def found() -> dict[str, Any] | None:
            return next((line for line in self.log if wanted.items() <= line.items()), None)

        until(lambda: found() is not None or self.process.poll() is not None, self.lines)
        line = found()
        assert line is not None, self.lines
        return line

    @property
    def health(self) -> str:
        """The URL of the health pages."""
        return f"http://{LOOPBACK}:{self.wait_for('worker started')['health_port']}"

    def stop(self, *, times: int = 1, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        for _ in range(times):
            self.process.send_signal(number)
            if times > 1:
                self.wait_for("stopping after this batch; once more to stop at once")
        return self.ended()

    def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code


def is_true(client: Elasticsearch, index: str) -> bool:
    """Whether every document of an index has the vector of its text."""
    return untrue(client, index, FIELDS, TinyEmbedder()) == {}


def until(true: Callable[[], Any], about: object = "") -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it is not within a minute.
    """
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, about
        time.sleep(0.05)


Start = Callable[..., Command]


@pytest.fixture
def start(node_url: str) -> Iterator[Start]:
    """Start a worker on any free port, or another command: ``start("sync", "books", "--follow")``."""
    started: list[Command] = []

    def run(*arguments: str, url: str = node_url, **options: Any) -> Command:
        port = ("--port", "0") if "--follow" in arguments and "--port" not in arguments else ()
        command = Command(url, *arguments, *port, **options)
        started.append(command)
        return command

    yield run
    for command in started:
        command.process.kill()
        command.ended()
        assert command.process.stdout is not None
        command.process.stdout.close()


@pytest.fixture
def books(client: Elasticsearch, make_index: MakeIndex) -> str:
    """An attached index of a few documents."""
    return attached(client, make_index, {str(i): {"title": f"the title {i}"} for i in range(5)})


def attached(client: Elasticsearch, make_index: MakeIndex, documents: dict[str, dict[str, Any]]) -> str:
    name = make_index(PROPERTIES, documents=documents)
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder())
    return name


def many(client: Elasticsearch, make_index: MakeIndex, count: int, title: str = "the title") -> str:
    name = make_index(PROPERTIES)
    operations: list[dict[str, Any]] = []
    for i in range(count):
        operations += [{"index": {"_id": str(i)}}, {"title": f"{title} {i}"}]
    client.bulk(index=name, operations=operations, refresh=True)
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder())
    return name


def test_writes_of_every_path_to_several_indices(client: Elasticsearch, make_index: MakeIndex, start: Start) -> None:
    first = attached(client, make_index, {f"over: {path}": OLD for path in OVERWRITES})
    second = attached(client, make_index, {})
    worker = start("sync", first, second, "--follow")
    assert worker.wait_for("worker started")["indices"] == ", ".join(sorted([first, second]))
    worker.wait_for("caught up", index=first, embedded=len(OVERWRITES))
    for path, (write, _) in OVERWRITES.items():
        client.indices.refresh(index=first)
        write(client, first, f"over: {path}")
    for path, (write, _) in FIRST_WRITES.items():
        write(client, second, f"first: {path}")
    for name in (first, second):
        until(partial(is_true, client, name), worker.lines)
    assert worker.stop() == 0
    assert worker.log[-1]["message"] == "worker stopped"
    for name in (first, second):
        assert es_semantic.sync(client, name, model=TinyEmbedder()).read == 0

    said = "".join(worker.lines)
    assert [word for word in ("old title", "old body", "new title", "new body", KEY) if word in said] == []
    assert all({"@timestamp", "log.level", "message", "ecs.version"} <= line.keys() for line in worker.log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_long_backfill_stops_after_the_batch_and_keeps_the_checkpoint(
    client: Elasticsearch, make_index: MakeIndex, start: Start, number: int
) -> None:
    name = many(client, make_index, 3000)
    worker = start("sync", name, "--follow", seconds=0.5)
    batches = [worker.batch()]
    assert worker.stop(number=number) == 0
    assert worker.process.stdout is not None
    batches += map(int, worker.process.stdout)
    assert worker.wait_for("going on", complete=False)["embedded"] == sum(batches) < 3000
    client.indices.refresh(index=name)
    assert es_semantic.status(client, name).ready == sum(batches)
    assert es_semantic.status(client, name).unread == 3000 - sum(batches)
    report = es_semantic.sync(client, name, model=TinyEmbedder())
    assert report.read == report.embedded == 3000 - sum(batches)
    assert untrue(client, name, FIELDS, TinyEmbedder()) == {}


def test_the_second_signal_ends_the_process_at_once(client: Elasticsearch, books: str, start: Start) -> None:
    worker = start("sync", books, "--follow", seconds=100 * PATIENCE)
    worker.batch()
    assert worker.stop(times=2) == 130
    assert es_semantic.sync(client, books, model=TinyEmbedder()).embedded == 5


def test_a_worker_that_has_nothing_to_do_stops_too(client: Elasticsearch, make_index: MakeIndex, start: Start) -> None:
    name = attached(client, make_index, {})
    worker = start("sync", name, "--follow")
    until(lambda: ready(worker) == 200, worker.lines)
    assert worker.stop() == 0


def ready(worker: Command) -> int:
    return httpx.get(f"{worker.health}/readyz", trust_env=False).status_code


def test_health_while_the_node_is_away(client: Elasticsearch, node_url: str, books: str, start: Start) -> None:
    with FaultProxy(node_url) as proxy:
        worker = start("sync", books, "--follow", url=proxy.url)
        until(lambda: ready(worker) == 200, worker.lines)
        with proxy.down():
            until(lambda: ready(worker) == 503, worker.lines)
            assert f"{books}: Unreachable" in httpx.get(f"{worker.health}/readyz", trust_env=False).text
            assert httpx.get(f"{worker.health}/healthz", trust_env=False).status_code == 200
            client.index(index=books, id="meanwhile", document={"title": "written meanwhile"})
        until(lambda: ready(worker) == 200, worker.lines)
        until(lambda: untrue(client, books, FIELDS, TinyEmbedder()) == {}, worker.lines)
        assert worker.stop() == 0
    failure = next(line for line in worker.log if line["log.level"] == "error")
    assert (failure["index"], failure["error_type"]) == (books, "Unreachable")
    assert failure["retry_in_seconds"] >= 0


def test_a_node_that_is_away_does_not_keep_a_worker_from_stopping(node_url: str, books: str, start: Start) -> None:
    with FaultProxy(node_url) as proxy:
        worker = start("sync", books, "--follow", url=proxy.url)
        until(lambda: ready(worker) == 200, worker.lines)
        with proxy.down():
            until(lambda: ready(worker) == 503, worker.lines)
            assert worker.stop() == 0


def test_metrics(client: Elasticsearch, books: str, start: Start) -> None:
    # The pipeline has marked it as empty already.
    client.index(index=books, id="blank", document={"title": " "})
    client.index(index=books, id="bad", document={"title": "poison"})
    worker = start("sync", books, "--follow")
    worker.wait_for("caught up", index=books)
    until(lambda: ready(worker) == 200, worker.lines)
    text = httpx.get(f"{worker.health}/metrics", trust_env=False).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    outcomes = {
        sample.labels["outcome"]: sample.value
        for sample in samples
        if sample.name == "es_semantic_documents_total" and sample.labels["index"] == books
    }
    assert {outcome: count for outcome, count in outcomes.items() if count} == {
        "embedded": 5,
        "unchanged": 1,
        "failed": 1,
    }
    values = {sample.name: sample.value for sample in samples}
    assert values["es_semantic_lag_documents"] == values["es_semantic_lag_seconds"] == 0
    assert values["es_semantic_embed_seconds_count"] >= 1
    assert values["es_semantic_bulk_seconds_count"] >= 1
    assert values["es_semantic_healthy"] == 1
    assert [word for word in ("poison", "the title", KEY) if word in text] == []
    letter = worker.wait_for("dead letter: this text is refused")
    assert (letter["index"], letter["id"]) == (books, "bad")
    assert worker.stop() == 0


def test_too_many_failures_stop_it_with_exit_code_4(client: Elasticsearch, make_index: MakeIndex, start: Start) -> None:
    name = many(client, make_index, 600, "poison")
    worker = start("sync", name, "--follow")
    assert worker.ended() == 4
    said = "".join(worker.lines)
    assert "documents failed; the last: this text is refused" in said
    assert "es-semantic failures INDEX" in said
    client.indices.refresh(index=name)
    assert es_semantic.status(client, name).failed >= 512
    assert len(es_semantic.failures(client, name).failures) == es_semantic.status(client, name).failed


def test_another_model_is_nothing_to_wait_for(client: Elasticsearch, make_index: MakeIndex, start: Start) -> None:
    name = make_index(PROPERTIES)
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder("other"))
    worker = start("sync", name, "--follow")
    assert worker.ended() == 1
    assert "model: index 'other', here 'tiny'" in "".join(worker.lines)


def test_a_port_in_use(books: str, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        worker = start("sync", books, "--follow", "--port", str(port))
        assert worker.ended() == 2
    said = "".join(worker.lines)
    assert f"port {port} of {LOOPBACK} cannot serve metrics" in said
    assert "Give another port" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sync", "INDEX", "--follow", "--partition", "0/0"], "partition '0/0' does not exist"),
        (["sync", "INDEX", "--partition", "0/0"], "partition '0/0' does not exist"),
        (["sync", "INDEX", "--follow", "--json"], "--follow goes with neither"),
        (["sync", "INDEX", "--follow", "--initial-load"], "--follow goes with neither"),
        (["sync", "--follow"], "Missing argument"),
    ],
)
def test_wrong_use(books: str, start: Start, arguments: list[str], said: str) -> None:
    command = start(*[books if argument == "INDEX" else argument for argument in arguments])
    assert command.ended() == 2
    assert said in "".join(command.lines)


def test_workers_of_two_parts_side_by_side(client: Elasticsearch, make_index: MakeIndex, start: Start) -> None:
    name = many(client, make_index, 200)
    workers = [start("sync", name, "--follow", "--partition", f"{part}/2") for part in (1, 2)]
    embedded = [worker.wait_for("caught up", index=name)["embedded"] for worker in workers]
    assert sum(embedded) == 200
    assert all(embedded)
    assert untrue(client, name, FIELDS, TinyEmbedder()) == {}
    assert [worker.stop() for worker in workers] == [0, 0]
