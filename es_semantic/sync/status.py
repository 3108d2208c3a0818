"""How far an index is, as its documents are marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import Forbidden
from es_semantic.schema.binding import Binding
from es_semantic.schema.target import Target
from es_semantic.sync.checkpoints import binding_id, checkpoint_id, positions_of, read_stored
from es_semantic.sync.control import find_control
from es_semantic.sync.partition import WHOLE
from es_semantic.sync.shards import read_shards


@dataclass(frozen=True, slots=True)
class Status:
    """Counts of documents: ``ready`` carry a vector of the bound model, ``empty`` have no text, ``failed`` are dead
    letters, ``pending`` are all others. Counts follow the marks: only ``sync`` compares texts, and a document that
    Elasticsearch refuses to update keeps the mark that it had.

    ``unread`` is how many writes came since the last sync's checkpoint, by sequence numbers, es-semantic's own left
    out; None where nobody has synced yet, or these credentials may not read checkpoints."""

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
    by_id = {checkpoint_id(index, name, WHOLE): index for index in target.indices}
    try:
        found = yield from find_control(list(by_id))
        shards = yield from read_shards(target)
    except Forbidden:
        return None
    stored = {by_id[each["_id"]]: read_stored(each["_source"], each["_id"]) for each in found or ()}
    if not stored:
        return None
    unread = 0
    for index in target.indices:
        here = [shard for shard in shards if shard.index == index]
        positions, _ = positions_of(stored.get(index), here, binding_id(binding, name))
        unread += sum(last - first + 1 for shard in here for first, last in positions[shard].unread(shard))
    return unread


def counts_body(name: str, binding: Binding) -> dict[str, Any]:
    """Return the search body that counts documents by state."""
    states: dict[str, Any] = {
        state: {"bool": {"filter": [{"term": {f"{name}.status": state}}]}} for state in ("ready", "failed", "empty")
    }
    states["ready"]["bool"]["filter"] += [_has_vector(name, binding), {"term": {f"{name}.model": binding.stamp}}]
    return {"size": 0, "track_total_hits": True, "aggs": {"state": {"filters": {"filters": states}}}}


def _has_vector(name: str, binding: Binding) -> dict[str, Any]:
    if binding.chunking is None:
        return {"exists": {"field": f"{name}.vector"}}
    return {"nested": {"path": f"{name}.chunks", "query": {"exists": {"field": f"{name}.chunks.vector"}}}}
