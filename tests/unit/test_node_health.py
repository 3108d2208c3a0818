from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from es_semantic.cluster import node
from es_semantic.cluster.node.health import free_port, node_url, require_free_port, wait_until_ready
from es_semantic.config.settings import NodeSettings
from es_semantic.errors import NodeError


class NodeServer(ThreadingHTTPServer):
    """Answers as a node: its banner, and these health statuses, the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), NodeHandler)
        self.healths = [200]

    @property
    def url(self) -> str:
        return node_url(self.server_port)


class NodeHandler(BaseHTTPRequestHandler):
    server: NodeServer

    def do_GET(self) -> None:
        healths = self.server.healths
        status = 200 if self.path == "/" else healths.pop(0) if len(healths) > 1 else healths[0]
        body = json.dumps({"name": "mine", "version": {"number": "9.4.3"}}).encode()
        self.send_response(status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[NodeServer]:
    with NodeServer() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def wait(server: NodeServer, *, name: str = "mine", alive: bool = True, seconds: float = 10) -> str:
    return wait_until_ready(server.url, name, None, alive=lambda: alive, seconds=seconds)


def test_a_node_is_ready_once_its_health_says_so(server: NodeServer) -> None:
    server.healths = [503, 408, 200]
    assert wait(server) == "9.4.3"


def test_a_node_that_died_is_noticed_at_once(server: NodeServer) -> None:
    server.healths = [503]
    with pytest.raises(ProcessLookupError):
        wait(server, alive=False, seconds=60)


def test_a_node_that_stays_red_times_out(server: NodeServer) -> None:
    server.healths = [408]
    with pytest.raises(TimeoutError):
        wait(server, seconds=0.6)


def test_another_node_on_the_port_does_not_count(server: NodeServer) -> None:
    with pytest.raises(TimeoutError):
        wait(server, name="other", seconds=0.6)


def test_refused_credentials_end_the_wait(server: NodeServer) -> None:
    server.healths = [401]
    with pytest.raises(NodeError, match="refuses these credentials"):
        wait(server, seconds=60)


def test_a_free_port_is_free() -> None:
    require_free_port(free_port())


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_taken_by_another_program_is_an_error(address: str) -> None:
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        with pytest.raises(NodeError, match="taken by another program") as caught:
            require_free_port(other.getsockname()[1])
    assert "node.port" in caught.value.hint


def test_an_elasticsearch_on_the_port_can_be_used(server: NodeServer) -> None:
    with pytest.raises(NodeError, match="an Elasticsearch that es-semantic did not start") as caught:
        require_free_port(server.server_port)
    assert f"ES_SEMANTIC_URL={server.url}" in caught.value.hint
    assert "node.port" in caught.value.hint


def test_up_on_a_taken_port_starts_nothing(tmp_path: Path, server: NodeServer) -> None:
    with pytest.raises(NodeError, match="is taken"):
        node.up(NodeSettings(port=server.server_port), home=tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["node.lock"]
