"""A snapshot restored over an index, and a primary shard that fails over: sequence numbers are not what they seem."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster import node
from es_semantic.cluster.node import configuration
from es_semantic.cluster.node.health import free_port
from es_semantic.cluster.node.paths import NodeHome
from es_semantic.config import NodeSettings
from es_semantic.embedding import Embeddings
from tests.embedder import TinyEmbedder
from tests.truth import untrue

Adapt = Callable[[Path, dict[str, Any]], None]
"""Changes ``elasticsearch.yml`` of a node in this home."""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Adapt], Elasticsearch]]:
    """Start nodes of their own; all are stopped and removed afterwards."""
    homes: list[Path] = []
    render = configuration.render_settings

    def begin(adapt: Adapt) -> Elasticsearch:
        home = Path(tempfile.mkdtemp(prefix="es-semantic-test-node-"))
        home.chmod(0o755)
        homes.append(home)

        def adapted(node_home: NodeHome, **more: Any) -> dict[str, Any]:
            settings = render(node_home, **more)
            adapt(home, settings)
            return settings

        monkeypatch.setattr(configuration, "render_settings", adapted)
        state = node.up(NodeSettings(port=free_port(), heap="512m"), home=home)
        return Elasticsearch(state.url, request_timeout=60, max_retries=10, retry_on_timeout=True)

    yield begin
    for home in homes:
        node.down(home=home)
        shutil.rmtree(home, ignore_errors=True)


def fill(client: Elasticsearch, index: str, first: int, last: int, word: str) -> None:
    operations: list[dict[str, Any]] = []
    for i in range(first, last):
        operations += [{"index": {"_id": str(i)}}, {"title": f"{word} {i}"}]
    assert not client.bulk(index=index, operations=operations, refresh=True)["errors"]


def test_a_snapshot_restored_over_an_index_is_read_from_its_beginning(
    start: Callable[[Adapt], Elasticsearch],
) -> None:
    repository = Path(tempfile.mkdtemp(prefix="es-semantic-test-repository-"))
    repository.chmod(0o777)
    client = start(lambda _, settings: settings.update({"path.repo": str(repository)}))
    client.snapshot.create_repository(
        name="backup", repository={"type": "fs", "settings": {"location": str(repository)}}
    )
    client.indices.create(index="notes", mappings={"properties": {"title": {"type": "text"}}})
    es_semantic.attach(client, "notes", ["title"], model=TinyEmbedder())
    fill(client, "notes", 0, 40, "old")
    client.snapshot.create(repository="backup", snapshot="old", indices="notes", wait_for_completion=True)
    fill(client, "notes", 40, 60, "new")
    es_semantic.sync(client, "notes", model=TinyEmbedder())
    before = uuid(client)

    client.indices.close(index="notes")
    client.snapshot.restore(repository="backup", snapshot="old", indices="notes", wait_for_completion=True)
    client.cluster.health(index="notes", wait_for_status="yellow")
    fill(client, "notes", 100, 130, "later")
    report = es_semantic.sync(client, "notes", model=TinyEmbedder())
    assert uuid(client) == before, "Elasticsearch keeps the UUID of an index that is restored in place"
    assert report.notes == ["shard 0 of 'notes' was restored: it is read from its beginning"]
    assert report.embedded == 70
    assert untrue(client, "notes", ["title"], TinyEmbedder()) == {}
    shutil.rmtree(repository, ignore_errors=True)


def uuid(client: Elasticsearch) -> str:
    settings = client.indices.get_settings(index="notes", flat_settings=True)["notes"]["settings"]
    return str(settings["index.uuid"])


class KillingOnce(TinyEmbedder):
    """While it embeds, the node that holds the primary dies."""

    def __init__(self, kill: Callable[[], None]) -> None:
        super().__init__()
        self._kill: Callable[[], None] | None = kill

    def embed_documents(self, texts: Any) -> Embeddings:
        if len(texts) > 1 and self._kill is not None:
            self._kill()
            self._kill = None
        return super().embed_documents(texts)


def test_a_primary_that_fails_over_loses_nothing(start: Callable[[Adapt], Elasticsearch]) -> None:
    seed: list[str] = []

    def first(_: Path, settings: dict[str, Any]) -> None:
        settings.pop("discovery.type")
        settings["cluster.initial_master_nodes"] = [settings["node.name"]]
        seed.append(f"127.0.0.1:{settings['transport.port']}")

    def second(home: Path, settings: dict[str, Any]) -> None:
        settings.pop("discovery.type")
        settings.update({"node.roles": ["data", "ingest"], "discovery.seed_hosts": seed})
        names[home] = settings["node.name"]

    names: dict[Path, str] = {}
    client = start(first)
    start(second)
    ((home, name),) = names.items()
    client.indices.create(
        index="notes",
        mappings={"properties": {"title": {"type": "text"}}},
        settings={"number_of_replicas": 0, "index.routing.allocation.require._name": name},
    )
    settings = {"index.routing.allocation.require._name": None, "number_of_replicas": 1}
    client.indices.put_settings(index="notes", settings=settings)
    client.cluster.health(index="notes", wait_for_status="green", timeout="60s")
    assert primary_node(client) == name
    es_semantic.attach(client, "notes", ["title"], model=TinyEmbedder())
    fill(client, "notes", 0, 600, "before")

    def kill() -> None:
        fill(client, "notes", 500, 700, "meanwhile")
        end(home)
        fill(client, "notes", 650, 800, "afterwards")

    es_semantic.sync(client, "notes", model=KillingOnce(kill))
    assert primary_node(client) != name
    es_semantic.sync(client, "notes", model=TinyEmbedder())
    assert client.count(index="notes")["count"] == 800
    assert untrue(client, "notes", ["title"], TinyEmbedder()) == {}
    assert es_semantic.sync(client, "notes", model=TinyEmbedder()).read == 0


def primary_node(client: Elasticsearch) -> str:
    shards = client.cat.shards(index="notes", format="json", h="prirep,node").body
    return next(str(shard["node"]) for shard in shards if shard["prirep"] == "p")  # type: ignore[index]


def end(home: Path) -> None:
    """Kill a node as a power cut would."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in part for part in process.info["cmdline"] or []):
            process.send_signal(signal.SIGKILL)
