"""Clusters that cannot be used say why; credentials that may little are told what they lack."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.capabilities import capabilities, read_version
from es_semantic.cluster.client import connect
from es_semantic.cluster.node.health import free_port
from es_semantic.cluster.steps import run
from es_semantic.config import ConnectionSettings
from es_semantic.errors import ConfigError, Forbidden, NotElasticsearch, Unreachable, UnsupportedVersion
from es_semantic.schema.roles import worker_role
from tests.embedder import TinyEmbedder
from tests.nodes import SecuredNode


def test_capabilities_of_a_basic_cluster(client: Elasticsearch) -> None:
    found = run(client, capabilities())
    assert found.version is not None
    assert found.version >= (8, 14)
    assert found.licence
    assert found.retrievers["standard"] is None


def test_nothing_answers() -> None:
    client = connect(ConnectionSettings(url=f"http://127.0.0.1:{free_port()}", max_retries=0))
    with pytest.raises(Unreachable, match="es-semantic up"):
        run(client, capabilities())


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html>It works!</html>"
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def web_server() -> Iterator[str]:
    """A real HTTP server that is not Elasticsearch."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_something_else_answers(web_server: str) -> None:
    client = connect(ConnectionSettings(url=web_server, max_retries=0))
    with pytest.raises(NotElasticsearch, match="not Elasticsearch"):
        run(client, capabilities())
    with pytest.raises(NotElasticsearch, match="not Elasticsearch"):
        es_semantic.search(client, "index", "text", model=TinyEmbedder())


@pytest.mark.parametrize("version", ["7.17.9", "8.13.4"])
def test_an_old_server_is_refused_with_both_versions(version: str) -> None:
    with pytest.raises(UnsupportedVersion, match=rf"{version}; es-semantic needs 8\.14"):
        read_version({"version": {"number": version}})


@pytest.mark.parametrize(("version", "read"), [("8.14.0", (8, 14)), ("9.4.3", (9, 4)), ("10.0.0-SNAPSHOT", (10, 0))])
def test_supported_versions(version: str, read: tuple[int, int]) -> None:
    assert read_version({"version": {"number": version}}) == read


def test_a_ca_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="connection"):
        connect(ConnectionSettings(url="https://127.0.0.1:9200", ca_certs="/no/such/ca.pem"))


def test_wrong_credentials(secured_node: SecuredNode) -> None:
    settings = ConnectionSettings.model_validate(
        {"url": secured_node.url, "username": "admin", "password": "wrong-one"}
    )
    with pytest.raises(Forbidden, match="Check the credentials") as caught:
        run(connect(settings), capabilities())
    assert "wrong-one" not in str(caught.value)
    with pytest.raises(Forbidden):
        run(connect(ConnectionSettings(url=secured_node.url)), capabilities())


@pytest.fixture
def little(superuser: Elasticsearch, secured_node: SecuredNode, unique: str) -> Iterator[Elasticsearch]:
    """A worker's key: what sync and search need on one index, and no cluster privilege."""
    superuser.indices.create(index=unique, mappings={"properties": {"title": {"type": "text"}}})
    superuser.index(index=unique, id="1", document={"title": "red apple"}, refresh=True)
    key = superuser.security.create_api_key(name=unique, role_descriptors={"worker": worker_role([unique])})
    settings = ConnectionSettings.model_validate({"url": secured_node.url, "api_key": key["encoded"]})
    with connect(settings) as client:
        yield client
    superuser.security.invalidate_api_key(name=unique)
    superuser.indices.delete(index=unique)


def test_sync_and_search_need_no_cluster_privilege(
    superuser: Elasticsearch, little: Elasticsearch, unique: str
) -> None:
    embedder = TinyEmbedder()
    with pytest.raises(Forbidden):
        es_semantic.attach(little, unique, ["title"], model=embedder)
    es_semantic.attach(superuser, unique, ["title"], model=embedder)
    assert es_semantic.sync(little, unique, model=embedder).embedded == 1
    assert es_semantic.status(little, unique).ready == 1
    assert [hit.id for hit in es_semantic.search(little, unique, "apple", model=embedder).hits] == ["1"]
    found = run(little, capabilities())
    assert found.version is None
    assert found.licence is None
    es_semantic.detach(superuser, unique)
