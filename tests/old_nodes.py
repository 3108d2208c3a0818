"""Nodes of older versions of Elasticsearch, and indices attached without an ingest pipeline.

These distributions lack the module ``ingest-common`` and with it the ``script`` processor, without which ``attach`` is
refused.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from elasticsearch import Elasticsearch

from es_semantic.cluster import node
from es_semantic.cluster.node.account import service_account
from es_semantic.cluster.node.distribution import Distribution, carried, major_minor
from es_semantic.cluster.node.health import free_port
from es_semantic.cluster.node.java import find_java, java_versions
from es_semantic.cluster.node.maven import Carrier
from es_semantic.cluster.node.paths import default_cache
from es_semantic.cluster.steps import Request, Steps, run, url_path
from es_semantic.config import NodeSettings
from es_semantic.embedding.chunking import split
from es_semantic.errors import NodeError
from es_semantic.schema.binding import Binding, Bindings, meta_with
from es_semantic.schema.render import all_properties
from es_semantic.schema.text import source_text, text_hash
from tests.embedder import TinyEmbedder

CARRIERS = {
    carrier.elasticsearch: carrier
    for carrier in (
        Carrier(
            "8.14.1", "10.7.0.96327", 759_175_712, "4a5e5f0d7581e287cff4f02f7588dae499e2aa81fce37b88612acadfb4ba4518"
        ),
        Carrier(
            "8.16.1", "25.1.0.102122", 825_789_639, "1b37a6d6f882e32208620597706ee336e9a3495acff826421475618dc747feba"
        ),
    )
}
"""Where each version comes from. It is fetched once a machine, and kept without the rest of the zip."""

GIVEN = "ES_SEMANTIC_TEST_OLD_URL"
"""The environment variable that names a running open node to use instead of starting one."""

HEAP = "512m"


@contextmanager
def old_node(version: str) -> Iterator[str]:
    """Yield the URL of an open node of this version; skip the test where it cannot be fetched or has no Java."""
    if url := os.environ.get(GIVEN):
        assert httpx.get(url).json()["version"]["number"] == version
        yield url
        return
    distribution = _distribution(version)
    # Not tmp_path: pytest closes it to other users, and a node started by root runs as another one.
    home = Path(tempfile.mkdtemp(prefix="es-semantic-test-node-"))
    home.chmod(0o755)
    settings = NodeSettings(port=free_port(), heap=HEAP, distribution=str(distribution.path))
    try:
        yield node.up(settings, home=home, report=print).url
    finally:
        node.down(home=home)
        shutil.rmtree(home, ignore_errors=True)


def _distribution(version: str) -> Distribution:
    try:
        distribution = carried(CARRIERS[version], cache=default_cache(), report=print)
        find_java(None, distribution.path, service_account(), versions=java_versions(major_minor(version)))
    except NodeError as error:
        pytest.skip(f"no Elasticsearch {version} here: {error.what}")
    return distribution


def ask(
    client: Elasticsearch, method: str, path: str, body: Mapping[str, Any] | list[bytes] | None = None, **params: str
) -> Any:
    """Send one request as es-semantic does: what a client's own methods of 9.x send is refused by servers of 8.x."""

    def steps() -> Steps[Any]:
        return (yield Request(method, path, params, body))

    return run(client, steps())


def make_attached_index(
    client: Elasticsearch,
    index: str,
    binding: Binding,
    documents: Mapping[str, Mapping[str, Any]],
    *,
    properties: Mapping[str, Any],
) -> None:
    """Create an index of one shard that is attached without a pipeline, and write the documents in their order.

    They come in one segment without deleted documents, so that BM25 scores and ties do not depend on the node.
    """
    bindings = Bindings().with_field("semantic", binding)
    mappings = {"_meta": meta_with({}, bindings), "properties": {**properties, **all_properties(bindings)}}
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}
    ask(client, "PUT", url_path("/{}", index), {"settings": settings, "mappings": mappings})
    lines = [line for doc_id, document in documents.items() for line in ({"index": {"_id": doc_id}}, document)]
    answer = ask(client, "POST", url_path("/{}/_bulk", index), [orjson.dumps(line) for line in lines], refresh="true")
    assert not answer["errors"]


def embedded(document: Mapping[str, Any], binding: Binding, embedder: TinyEmbedder) -> dict[str, Any]:
    """Return a document with the worker's marks and vectors, these as lists, which every server takes."""
    text = source_text(document, binding.source)
    state: dict[str, Any] = {"status": "ready", "hash": text_hash(text), "model": binding.stamp}
    if binding.chunking is None:
        state["vector"] = embedder.vector(text).tolist()
    else:
        state["chunks"] = [
            {"start": at.start, "end": at.end, "vector": embedder.vector(text[at.start : at.end]).tolist()}
            for at in split(text, binding.chunking)
        ]
    return {**document, "semantic": state}
