"""The log of ``es-semantic sync --follow`` is JSON to its last line, also where an error ends the worker."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.sync.health import LOOPBACK
from tests.embedder import TinyEmbedder
from tests.integration.test_follow import Command
from tests.nodes import MakeIndex


@pytest.fixture
def attached(client: Elasticsearch, make_index: MakeIndex) -> str:
    name = make_index({"title": {"type": "text"}}, documents={"1": {"title": "poison"}})
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder("other"))
    return name


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        yield holder.getsockname()[1]


def last_line(command: Command) -> dict[str, object]:
    assert command.process.stdout is not None
    command.process.stdout.close()
    assert all(line["ecs.version"] for line in command.log)
    line = command.log[-1]
    return {key: line.get(key) for key in ("log.level", "message", "error_type", "hint")}


def test_an_error_that_ends_the_worker_is_a_line_of_its_log(node_url: str, attached: str) -> None:
    command = Command(node_url, "sync", attached, "--follow", "--port", "0")
    assert command.ended() == 1
    line = last_line(command)
    assert (line["log.level"], line["error_type"]) == ("critical", "FingerprintMismatch")
    assert "model: index 'other', here 'tiny'" in str(line["message"])
    assert line["hint"]


def test_so_is_one_before_it_starts(node_url: str, attached: str, taken: int) -> None:
    command = Command(node_url, "sync", attached, "--follow", "--port", str(taken))
    assert command.ended() == 2
    line = last_line(command)
    assert (line["log.level"], line["error_type"]) == ("critical", "UsageError")
    assert f"port {taken} of {LOOPBACK} cannot serve metrics" in str(line["message"])
