"""Real Elasticsearch nodes for the tests: one open, one secured, each started once per run and only if a test asks.

``ES_SEMANTIC_TEST_URL`` names an open node to use instead of starting one. Where a Docker engine answers, pytest-docker
starts both from ``tests/compose.yml``; else both run on this machine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_semantic.cluster import node
from es_semantic.cluster.node import docker, process
from es_semantic.cluster.node.health import free_port
from es_semantic.config import NodeSettings
from es_semantic.schema.control import CONTROL_INDEX

HEAP = "1g"

ONE_COMPILER = "-XX:TieredStopAtLevel=1"
"""Nodes that live for minutes start in half the time without the JVM's second compiler."""
USER = "admin"
PASSWORD = "only-for-tests"


_launch_environment = process.launch_environment


def _quick_environment(*given: Any, **more: Any) -> dict[str, str]:
    environment = _launch_environment(*given, **more)
    if "environ" in more:
        # Nobody is starting a node: a test looks at what is made of these variables.
        return environment
    return environment | {"ES_JAVA_OPTS": f"{environment['ES_JAVA_OPTS']} {ONE_COMPILER}"}


process.launch_environment = _quick_environment


@dataclass(frozen=True)
class SecuredNode:
    """A node with security on, and its superuser."""

    url: str
    username: str
    password: str

    @property
    def basic_auth(self) -> tuple[str, str]:
        return self.username, self.password


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    return str(Path(__file__).parent / "compose.yml")


@pytest.fixture(scope="session")
def node_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an open node."""
    if url := os.environ.get("ES_SEMANTIC_TEST_URL"):
        yield url
    elif docker.is_available():
        yield _docker_url(request, "open", None)
    else:
        with _local(None) as url:
            yield url


@pytest.fixture(scope="session")
def secured_node(request: pytest.FixtureRequest) -> Iterator[SecuredNode]:
    """A secured node with its superuser."""
    if docker.is_available():
        user = ("elastic", PASSWORD)
        yield SecuredNode(_docker_url(request, "secured", user), *user)
    else:
        with _local(node.Security(USER, PASSWORD)) as url:
            yield SecuredNode(url, USER, PASSWORD)


@pytest.fixture(scope="session")
def client(node_url: str) -> Iterator[Elasticsearch]:
    """The tests' own client of the open node."""
    with Elasticsearch(node_url, request_timeout=60) as elasticsearch:
        yield elasticsearch


@pytest.fixture(scope="session")
def superuser(secured_node: SecuredNode) -> Iterator[Elasticsearch]:
    """A superuser's client of the secured node."""
    with Elasticsearch(secured_node.url, basic_auth=secured_node.basic_auth, request_timeout=60) as elasticsearch:
        yield elasticsearch


@pytest.fixture
def unique() -> str:
    """A name that no other test uses; whatever starts with it is removed from the open node afterwards."""
    return f"test-{uuid.uuid4().hex[:12]}"


MakeIndex = Callable[..., str]


@pytest.fixture
def make_index(client: Elasticsearch, unique: str) -> Iterator[MakeIndex]:
    """Create indices on the open node: ``make_index({"title": {"type": "text"}}, documents={...}, **more)``.

    ``more`` are further keys of the create request's mappings. Everything named after the test is removed afterwards.
    """
    count = 0

    def make(
        properties: dict[str, Any],
        *,
        documents: dict[str, dict[str, Any]] | None = None,
        settings: dict[str, Any] | None = None,
        **more: Any,
    ) -> str:
        nonlocal count
        count += 1
        name = f"{unique}-{count}"
        mappings = {"properties": properties, **more}
        client.indices.create(index=name, mappings=mappings, settings={"number_of_replicas": 0, **(settings or {})})
        for doc_id, document in (documents or {}).items():
            client.index(index=name, id=doc_id, document=document)
        client.indices.refresh(index=name)
        return name

    yield make
    remove_everything(client, unique)


def remove_everything(client: Elasticsearch, prefix: str) -> None:
    """Remove data streams, indices, templates and pipelines with names that start so, and their checkpoints."""
    client.indices.put_settings(
        index=f"{prefix}*", settings={"index.blocks.read_only": None}, ignore_unavailable=True, allow_no_indices=True
    )
    # A distribution without the data-streams module can make data streams, but not delete them: their write index and
    # their template stay (400).
    client.options(ignore_status=[400, 404]).indices.delete_data_stream(name=f"{prefix}*", expand_wildcards="all")
    for name in client.indices.get(index=f"{prefix}*", expand_wildcards="all", features="aliases"):
        client.options(ignore_status=400).indices.delete(index=name)
    for template in client.options(ignore_status=404).indices.get_index_template(name=f"{prefix}*")["index_templates"]:
        client.options(ignore_status=400).indices.delete_index_template(name=template["name"])
    for pattern in (f"{prefix}*", f"es-semantic-{prefix}*", f"es-semantic-template-{prefix}*"):
        for pipeline in client.options(ignore_status=404).ingest.get_pipeline(id=pattern).body:
            client.options(ignore_status=400).ingest.delete_pipeline(id=pipeline)
    client.options(ignore_status=404).delete_by_query(
        index=CONTROL_INDEX, query={"prefix": {"index": prefix}}, refresh=True, conflicts="proceed"
    )


@contextmanager
def _local(security: node.Security | None) -> Iterator[str]:
    # Not tmp_path: pytest closes it to other users, and a node started by root runs as another one.
    home = Path(tempfile.mkdtemp(prefix="es-semantic-test-node-"))
    home.chmod(0o755)
    try:
        yield node.up(NodeSettings(port=free_port(), heap=HEAP), home=home, security=security).url
    finally:
        node.down(home=home)
        shutil.rmtree(home, ignore_errors=True)


def _docker_url(request: pytest.FixtureRequest, service: str, basic_auth: tuple[str, str] | None) -> str:
    services = request.getfixturevalue("docker_services")
    host = request.getfixturevalue("docker_ip")
    url = f"http://{host}:{services.port_for(service, 9200)}"
    probe = Elasticsearch(url, basic_auth=basic_auth) if basic_auth else Elasticsearch(url)
    services.wait_until_responsive(timeout=180, pause=1, check=probe.ping)
    return url
