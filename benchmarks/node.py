"""The node that benchmarks run on, and indices that do not outlive them.

``python -m benchmarks.node NAME...`` runs several benchmarks one after the other on one node.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from es_semantic import Embedder, attach, detach
from es_semantic.cluster import node
from es_semantic.cluster.client import connect
from es_semantic.config import load_config
from es_semantic.errors import IndexUnavailable, NotAttached
from es_semantic.schema.control import CONTROL_INDEX

FIELD = "body"
"""The one text field of the plain indices here."""


@dataclass(frozen=True, slots=True)
class Node:
    """An open Elasticsearch, and a client with the settings that es-semantic itself uses."""

    url: str
    client: Elasticsearch

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """Yield a name for an index; what was made under it is removed afterwards."""
        name = f"bench-{uuid.uuid4().hex[:12]}"
        try:
            yield name
        finally:
            with suppress(NotAttached, IndexUnavailable):
                detach(self.client, name)
            self.client.indices.delete(index=name, ignore_unavailable=True)
            # Checkpoints outlive a detach.
            mine = {"term": {"index": name}}
            self.client.delete_by_query(
                index=CONTROL_INDEX, query=mine, refresh=True, conflicts="proceed", ignore_unavailable=True
            )

    def fill(self, index: str, texts: Iterable[str]) -> None:
        """Create a plain index of one text field and put the texts in, with the ids "0", "1", ...; then refresh.

        The index has Elasticsearch's default settings. No more than one bulk request of the texts is held at a time.
        """
        self.client.indices.create(index=index, mappings={"properties": {FIELD: {"type": "text"}}})
        actions = ({"_index": index, "_id": str(i), "_source": {FIELD: text}} for i, text in enumerate(texts))
        bulk(self.client, actions)
        self.client.indices.refresh(index=index)

    def attach(self, index: str, model: Embedder) -> None:
        """Attach the semantic field ``semantic`` to a filled index: one vector a document, as the peers make them."""
        attach(self.client, index, FIELD, model=model, chunk="never")


@contextmanager
def open_node() -> Iterator[Node]:
    """Yield the configured node (``ES_SEMANTIC_URL``), else one that is started, and stopped if it was started here.

    Raises:
        NodeError: none is configured, and none can be started.
    """
    # Before any library reads it: models come from packages, and no benchmark may wait for a model hub.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    config = load_config()
    if config.connection.urls:
        with connect(config.connection) as client:
            yield Node(config.connection.urls[0], client)
        return
    info = node.up(config.node, report=lambda line: print(line, file=sys.stderr))
    try:
        with connect(config.connection, default_url=info.url) as client:
            yield Node(info.url, client)
    finally:
        if info.started:
            node.down()


def main() -> None:
    """Run the named benchmarks with their default sizes; leave with 1 if any of them failed."""
    names = sys.argv[1:]
    if not names:
        raise SystemExit("usage: python -m benchmarks.node NAME...")
    with open_node() as running:
        environment = {**os.environ, "ES_SEMANTIC_URL": running.url}
        failed = [
            name
            for name in names
            if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], env=environment, check=False).returncode
        ]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
