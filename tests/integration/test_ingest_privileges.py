"""Once an administrator has made the chunk index, a worker's privileges and ``delete`` suffice to ingest into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.api_ingest import ingest, ingest_document
from es_semantic.errors import Forbidden
from es_semantic.schema.roles import worker_role
from tests.embedder import TinyEmbedder
from tests.nodes import remove_everything
from tests.workers_key import Keys, client, keys, node_url

__all__ = ["client", "keys", "node_url"]

MODEL = TinyEmbedder()


@pytest.fixture
def index(client: Elasticsearch, unique: str) -> Iterator[str]:
    yield f"{unique}-chunks"
    remove_everything(client, unique)


def test_least_privileges(client: Elasticsearch, keys: Keys, index: str, tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(f"text of {name}")
    role = worker_role([index])
    role["indices"][0]["privileges"].append("delete")
    own = client.options(api_key=keys.of_role(role))
    with pytest.raises(Forbidden):
        ingest(own, tmp_path, dataset="d", index=index, model=MODEL)
    ingest(client, tmp_path, dataset="d", index=index, model=MODEL)
    (tmp_path / "a.md").write_text("another text")
    (tmp_path / "b.md").unlink()
    (tmp_path / "torn.txt").write_bytes(b"\xff")
    report = ingest(own, tmp_path, dataset="d", index=index, model=MODEL)
    assert (report.changed, report.deleted, report.failed, report.embedded) == (1, 1, 1, 1)
    assert ingest_document(own, dataset="d", name="c.md", data=b"uploaded", index=index, model=MODEL).written
    assert len(es_semantic.failures(own, index).failures) == 1
