"""Re-indexing on a local Ray: the same documents and vectors as without it, the same dead letters, the same resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.config import ConnectionSettings, RaySettings
from es_semantic.embedding import Embeddings
from es_semantic.errors import InputRejected, ModelUnavailable, UsageError
from es_semantic.sync import once
from tests.embedder import TinyEmbedder
from tests.faults.workers import ROOT, wait_until
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex
from tests.reindexing import documents
from tests.truth import untrue

__all__ = ["cli"]

POISON = "poison"
DOCUMENTS = 1_200


class Refusing(TinyEmbedder):
    """Refuses texts with a certain word."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if any(POISON in text for text in texts):
            raise InputRejected("this text is refused")
        return super().embed_documents(texts)


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    """One small Ray for all tests of this file: starting one takes seconds."""
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.fixture
def engine(node_url: str) -> es_semantic.RayEngine:
    return es_semantic.RayEngine(ConnectionSettings(url=node_url), RaySettings())


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    """Documents of every kind in two shards."""
    index = make_index({"title": {"type": "text"}}, settings={"number_of_shards": 2})
    lines: list[dict[str, Any]] = []
    for i in range(DOCUMENTS):
        title = {7: "", 8: f"a {POISON} ivy"}.get(i, f"document number {i}")
        routing = {"routing": f"r{i}"} if i % 5 == 0 else {}
        lines += [{"index": {"_id": str(i), **routing}}, {"title": title, "count": i}]
    assert not client.bulk(index=index, operations=lines)["errors"]
    return index


def test_the_same_as_without_ray(client: Elasticsearch, index: str, unique: str, engine: es_semantic.RayEngine) -> None:
    reports, kept = [], []
    for name, where in (("here", None), ("there", replace(engine, settings=RaySettings(actors=2)))):
        target = f"{unique}-{name}"
        wanted: dict[str, Any] = {"fields": "title", "chunk": "never", "model": Refusing(), "switch": "none"}
        reports.append(es_semantic.reindex(client, index, target, engine=where, verify="all", slices=2, **wanted))
        assert set(untrue(client, target, ["title"], TinyEmbedder())) == {"8"}
        letters = es_semantic.failures(client, target).failures
        assert [(letter.id, letter.reason) for letter in letters] == [("8", "this text is refused")]
        kept.append(states(client, target))
        assert documents(client, target) == documents(client, index)
    first, second = (report.counts.model_dump() for report in reports)
    assert first == second
    assert (second["copied"], second["embedded"], second["empty"], second["failed"]) == (DOCUMENTS, DOCUMENTS - 2, 1, 1)
    assert kept[0] == kept[1]


def states(client: Elasticsearch, index: str) -> dict[str, Any]:
    """What the semantic field of each document holds, but for when."""
    client.indices.refresh(index=index)
    body = {"size": 5_000, "_source": {"includes": ["semantic"], "exclude_vectors": False}}
    hits = client.search(index=index, body=body)["hits"]["hits"]
    return {
        hit["_id"]: {key: value for key, value in hit["_source"]["semantic"].items() if key != "embedded_at"}
        for hit in hits
    }


def test_cut_off_it_goes_on(
    client: Elasticsearch, index: str, unique: str, engine: es_semantic.RayEngine, tmp_path: Path
) -> None:
    """Stopped on Ray after the first window, it is gone on with: on Ray, and what was done is not done again."""
    target = f"{unique}-target"
    stop = threading.Event()
    wanted: dict[str, Any] = {"fields": "title", "chunk": "never", "switch": "none"}
    model = Counted(str(tmp_path / "texts"))
    stopped = es_semantic.reindex(
        client,
        index,
        target,
        engine=engine,
        model=model,
        progress=lambda report: stop.set() if report.counts.copied else None,
        stop=stop.is_set,
        **wanted,
    )
    assert not stopped.complete
    assert 0 < stopped.counts.copied < DOCUMENTS
    report = es_semantic.reindex(client, index, target, engine=engine, model=model, verify="all", **wanted)
    assert report.resumed
    assert documents(client, target) == documents(client, index)
    assert untrue(client, target, ["title"], TinyEmbedder()) == {}
    assert DOCUMENTS - 1 <= model.count() <= DOCUMENTS - 1 + 2 * 512


class Counted(TinyEmbedder):
    """Counts the texts of all processes in one file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        with open(self.path, "a") as file:
            file.write("".join("1\n" for text in texts if text.startswith(("document", "a poison"))))
        return super().embed_documents(texts)

    def count(self) -> int:
        return len(Path(self.path).read_text().splitlines()) if os.path.exists(self.path) else 0


def test_a_process_that_dies_is_replaced(
    client: Elasticsearch, index: str, unique: str, engine: es_semantic.RayEngine, tmp_path: Path
) -> None:
    target = f"{unique}-target"
    wanted: dict[str, Any] = {"fields": "title", "chunk": "never", "switch": "none", "verify": "all"}
    report = es_semantic.reindex(client, index, target, engine=engine, model=Dying(str(tmp_path / "dead")), **wanted)
    assert (tmp_path / "dead").exists()
    assert report.counts.copied == DOCUMENTS
    assert documents(client, target) == documents(client, index)
    assert untrue(client, target, ["title"], TinyEmbedder()) == {}


class Dying(TinyEmbedder):
    """Takes its process down, once, when it embeds a window."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if len(texts) > 100 and not os.path.exists(self.mark):
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_documents(texts)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_killed_with_its_ray_it_goes_on_without(
    client: Elasticsearch, node_url: str, index: str, unique: str, tmp_path: Path
) -> None:
    """The process that leads is killed with -9, and the Ray that it has started ends with it."""
    target, model = f"{unique}-target", Counted(str(tmp_path / "texts"))
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER, node_url, index, target, model.path],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: leader.poll() is not None or model.count() > 0, 180)
    assert leader.poll() is None
    leader.kill()
    leader.wait()
    report = es_semantic.reindex(client, index, target, fields="title", chunk="never", model=model, switch="none")
    assert report.resumed
    assert documents(client, target) == documents(client, index)
    assert untrue(client, target, ["title"], TinyEmbedder()) == {}
    assert DOCUMENTS - 1 <= model.count() <= 2 * DOCUMENTS


LEADER = """
import sys
from elasticsearch import Elasticsearch
import es_semantic
from es_semantic.config import ConnectionSettings
from tests.integration.test_reindex_ray import Counted

url, index, target, path = sys.argv[1:]
engine = es_semantic.RayEngine(ConnectionSettings(url=url))
wanted = {"fields": "title", "chunk": "never", "switch": "none"}
es_semantic.reindex(Elasticsearch(url), index, target, model=Counted(path), engine=engine, **wanted)
"""


class Down(TinyEmbedder):
    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        raise ModelUnavailable(f"the model is down for {len(texts)} texts")


def test_what_a_task_raises_is_raised_here(
    client: Elasticsearch,
    index: str,
    unique: str,
    engine: es_semantic.RayEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(once, "MAX_TRIES", 1)
    wanted: dict[str, Any] = {"fields": "title", "chunk": "never", "switch": "none", "engine": engine}
    with pytest.raises(ModelUnavailable, match="the model is down for"):
        es_semantic.reindex(client, index, f"{unique}-target", model=Down(), **wanted)
    away = es_semantic.RayEngine(ConnectionSettings(url="http://localhost:9"), RaySettings())
    with pytest.raises(es_semantic.EsSemanticError, match="port=9"):
        es_semantic.reindex(client, index, f"{unique}-other", model=TinyEmbedder(), **{**wanted, "engine": away})


def test_a_model_that_cannot_travel(
    client: Elasticsearch, index: str, unique: str, engine: es_semantic.RayEngine
) -> None:
    class Bound(TinyEmbedder):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(UsageError, match="cannot be sent to Ray's processes"):
        es_semantic.reindex(
            client,
            index,
            f"{unique}-target",
            fields="title",
            chunk="never",
            model=Bound(),
            engine=engine,
            switch="none",
        )


def test_wrong_use(client: Elasticsearch, index: str, cli: Cli, tmp_path: Path) -> None:
    ran = cli("reindex", index, "--to", "x", "--fields", "title", "--engine", "spark")
    assert (ran.code, "engine 'spark' does not exist: local or ray" in ran.err) == (2, True)
    (tmp_path / "rows.jsonl").write_text('{"title": "one"}\n')
    files = cli("reindex", "./rows.jsonl", "--to", "x", "--fields", "title", "--engine", "ray")
    assert (files.code, "--engine cannot be used with files" in files.err) == (2, True)
    one = es_semantic.RayEngine(ConnectionSettings(), source=ConnectionSettings())
    with pytest.raises(UsageError, match=r"give remote and engine\.source together"):
        es_semantic.reindex(client, index, "x", engine=one)
