"""Disks that will not suffice: a re-indexing is refused before it begins, by the cluster's own watermark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import es_semantic
from es_semantic.errors import JobStopped
from tests.embedder import TinyEmbedder
from tests.faults.own_node import OwnNode

WATERMARKS = {
    f"cluster.routing.allocation.disk.watermark.{which}": size
    for which, size in (("low", "900tb"), ("high", "800tb"), ("flood_stage", "700tb"))
}
"""Bytes that must stay free: more than any disk has."""


@pytest.fixture
def index(own_node: OwnNode, unique: str) -> Iterator[str]:
    """An index of a node whose disks are over the high watermark."""
    client = own_node.client
    client.indices.create(index=unique, settings={"number_of_replicas": 0})
    client.index(index=unique, id="1", document={"title": "a quokka"}, refresh=True)
    client.cluster.put_settings(persistent=WATERMARKS)
    yield unique
    client.cluster.put_settings(persistent=dict.fromkeys(WATERMARKS))
    client.options(ignore_status=404).indices.delete(index=[unique, f"{unique}-new"])


def test_a_disk_over_its_watermark(own_node: OwnNode, index: str, unique: str) -> None:
    wanted: dict[str, Any] = {"fields": "title", "model": TinyEmbedder(), "chunk": "never"}
    estimate = es_semantic.estimate_reindex(own_node.client, index, f"{unique}-new", **wanted)
    assert estimate.disk_free == 0
    with pytest.raises(JobStopped, match=r"the disks have 0 B left below their high watermark"):
        es_semantic.reindex(own_node.client, index, f"{unique}-new", **wanted)
    assert not own_node.client.indices.exists(index=f"{unique}-new")
    own_node.client.cluster.put_settings(persistent=dict.fromkeys(WATERMARKS))
    # The control index was made meanwhile, and may begin to have shards only now.
    own_node.client.cluster.health(wait_for_status="yellow", wait_for_no_initializing_shards=True)
    report = es_semantic.reindex(own_node.client, index, f"{unique}-new", switch="none", **wanted)
    assert report.counts.copied == 1
