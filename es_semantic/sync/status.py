"""How far an index is, as its documents are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import Forbidden
from es_semantic.schema.binding import Binding
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.schema.target import Target
from es_semantic.schema.vectors import has_vector
from es_semantic.sync.checkpoints import (
    Position,
    StoredCheckpoint,
    binding_id,
    checkpoint_id,
    positions_of,
    read_stored,
)
from es_semantic.sync.control import find_control, search_control
from es_semantic.sync.intervals import Intervals
from es_semantic.sync.partition import WHOLE, Partition, parse_partition
from es_semantic.sync.shards import read_shards

PAGE = 1000
"""Checkpoints read at once."""


@dataclass(frozen=True, slots=True)
class Status:
    """Counts of documents: ``ready`` carry a vector of the bound model, ``empty`` have no text, ``failed`` are dead
    letters, ``pending`` are all others. Counts follow the marks: only ``sync`` compares texts, and a document that
    Elasticsearch refuses to update keeps the mark that it had.

    ``unread`` is how many writes came since the last sync's checkpoint, by sequence numbers, es-semantic's own left
    out. Where partitions are synced, a write is unread until every one of them has gone past it. None where nobody has
    synced yet, or these credentials may not read checkpoints."""

    index: str
    field: str
    model: str
    dims: int
    total: int
    ready: int
    pending: int
    failed: int
    empty: int
    unread: int | None = None


def status_steps(target: Target, binding: Binding, *, name: str) -> Steps[Status]:
    """Count the documents of the target by state; see :func:`es_semantic.status`."""
    answer = yield Request("POST", url_path("/{}/_search", target.name), body=counts_body(name, binding))
    buckets = answer["aggregations"]["state"]["buckets"]
    counts = {state: buckets[state]["doc_count"] for state in ("ready", "failed", "empty")}
    total = answer["hits"]["total"]["value"]
    return Status(
        index=target.name,
        field=name,
        model=binding.stamp,
        dims=binding.fingerprint.dims,
        total=total,
        pending=total - sum(counts.values()),
        unread=(yield from _unread(target, binding, name)),
        **counts,
    )


def _unread(target: Target, binding: Binding, name: str) -> Steps[int | None]:
    try:
        stored = yield from _checkpoints(list(target.indices), name)
        shards = yield from read_shards(target)
    except Forbidden:
        return None
    if not stored:
        return None
    bound = binding_id(binding, name)
    unread = 0
    for index in target.indices:
        here = [shard for shard in shards if shard.index == index]
        known = {
            parse_partition(each.partition): positions_of(each, here, bound)[0]
            for each in stored
            if each.index == index
        }
        for shard in here:
            position = read_by_all({partition: positions[shard] for partition, positions in known.items()})
            unread += sum(last - first + 1 for first, last in position.unread(shard))
    return unread


def read_by_all(positions: Mapping[Partition, Position]) -> Position:
    """Return how far all documents of a shard have been read, by the positions of whichever partitions were synced.

    Any way to divide the index will do: through the least of its parts everything has been read. A part that has not
    been synced begins where the whole index is, as its worker would.
    """
    whole = positions.get(WHOLE, Position())
    farthest = whole.seq_no
    for count in {partition.count for partition in positions}:
        parts = [positions.get(Partition(number, count), whole) for number in range(1, count + 1)]
        farthest = max(farthest, min(part.seq_no for part in parts))
    own = Intervals(interval for position in positions.values() for interval in position.own)
    own.forget_through(farthest)
    return Position(farthest, own)


def _checkpoints(indices: Sequence[str], name: str) -> Steps[list[StoredCheckpoint]]:
    """Return the checkpoints of all partitions; none where there is no control index."""
    # Found by its id even where somebody has edited it, which must be told.
    ids = [checkpoint_id(index, name, WHOLE) for index in indices]
    ids += yield from _partitions_ids(indices, name)
    found = yield from find_control(ids)
    return [read_stored(each["_source"], each["_id"]) for each in found or ()]


def _partitions_ids(indices: Sequence[str], name: str) -> Steps[list[str]]:
    # Those who may not refresh see a partition's first checkpoint a second later.
    yield from optional(Request("POST", url_path("/{}/_refresh", CONTROL_INDEX)), missing=(403, 404))
    return [hit["_id"] for hit in (yield from search_control(checkpoints_body(indices, name)))]


def checkpoints_body(indices: Sequence[str], name: str) -> dict[str, Any]:
    """Return the search for the first page of a semantic field's checkpoints, of all partitions; only their ids."""
    filters = [{"term": {"kind": "checkpoint"}}, {"term": {"field": name}}, {"terms": {"index": list(indices)}}]
    sort = [{"index": "asc"}, {"partition": "asc"}]
    query = {"bool": {"filter": filters}}
    return {"size": PAGE, "query": query, "_source": False, "sort": sort, "track_total_hits": False}


def counts_body(name: str, binding: Binding) -> dict[str, Any]:
    """Return the search body that counts documents by state."""
    states: dict[str, Any] = {
        state: {"bool": {"filter": [{"term": {f"{name}.status": state}}]}} for state in ("ready", "failed", "empty")
    }
    states["ready"]["bool"]["filter"] += [has_vector(name, binding), {"term": {f"{name}.model": binding.stamp}}]
    return {"size": 0, "track_total_hits": True, "aggs": {"state": {"filters": {"filters": states}}}}
