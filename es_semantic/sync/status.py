"""How far an index is, as its documents are marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.schema.binding import Binding
from es_semantic.schema.target import Target


@dataclass(frozen=True, slots=True)
class Status:
    """Counts of documents: ``ready`` carry a vector of the bound model, ``empty`` have no text, ``failed`` are dead
    letters, ``pending`` are all others. Counts follow the marks: only ``sync`` compares texts, and a document that
    Elasticsearch refuses to update keeps the mark that it had."""

    index: str
    field: str
    model: str
    dims: int
    total: int
    ready: int
    pending: int
    failed: int
    empty: int


def status_steps(target: Target, binding: Binding, *, name: str) -> Steps[Status]:
    """Count the documents of the target by state; see :func:`es_semantic.status`."""
    answer = yield Request("POST", url_path("/{}/_search", target.name), body=counts_body(name, binding.fingerprint.id))
    buckets = answer["aggregations"]["state"]["buckets"]
    counts = {state: buckets[state]["doc_count"] for state in ("ready", "failed", "empty")}
    total = answer["hits"]["total"]["value"]
    return Status(
        index=target.name,
        field=name,
        model=binding.fingerprint.id,
        dims=binding.fingerprint.dims,
        total=total,
        pending=total - sum(counts.values()),
        **counts,
    )


def counts_body(name: str, model: str) -> dict[str, Any]:
    """Return the search body that counts documents by state."""
    states: dict[str, Any] = {
        state: {"bool": {"filter": [{"term": {f"{name}.status": state}}]}} for state in ("ready", "failed", "empty")
    }
    states["ready"]["bool"]["filter"] += [{"exists": {"field": f"{name}.vector"}}, {"term": {f"{name}.model": model}}]
    return {"size": 0, "track_total_hits": True, "aggs": {"state": {"filters": {"filters": states}}}}
