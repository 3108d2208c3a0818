"""How large an index with vectors will be, and whether there is room for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import JobStopped
from es_semantic.schema.binding import Binding

FLOAT = 4
GRAPH_LINKS = 4.5
"""Bytes of a graph for each vector and link (``m``): 72 at 16 links in a segment of 100,000 random vectors, which are
the worst case; real ones take half of it (docs/scale.md)."""

CORRECTIONS = 16
"""Bytes beside a quantised vector."""

QUANTISED = {"int8": 1.0, "int4": 0.5, "bbq": 0.125}
"""Bytes a dimension beside the raw vector, which stays (Elastic docs, "Dense vector field type")."""

HIGH_WATERMARK = 0.90
HEADROOM = 150 * 2**30
"""Defaults: a disk fuller than the one share, and with less free than the other, takes no more shards (Elastic docs,
"Cluster-level shard allocation and routing settings", ``disk.watermark.high``)."""


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that an index will take on disk, replicas included, and bytes that the data nodes have left for it.

    ``free`` is None where these credentials may not ask.
    """

    needed: int
    free: int | None

    @property
    def suffices(self) -> bool:
        """Whether there is room, as far as is known."""
        return self.free is None or self.needed <= self.free


def vector_bytes(binding: Binding) -> float:
    """Return the bytes on disk for one vector: raw, quantised, and its part of a graph."""
    dims = binding.fingerprint.dims
    kind = str(binding.index_options.get("type", ""))
    quantised = next((share for name, share in QUANTISED.items() if kind.startswith(name)), None)
    links = float(binding.index_options.get("m", 16)) if kind.endswith("hnsw") or kind == "bbq_disk" else 0.0
    return FLOAT * dims + (0 if quantised is None else quantised * dims + CORRECTIONS) + GRAPH_LINKS * links


def room_for(index: str, bound: Binding | None, wanted: Binding, *, vectors: float, replicas: int) -> Steps[Room]:
    """Compare what a copy of an index of this cluster takes with what the disks have left.

    The copy has so many ``vectors`` of the ``wanted`` binding in place of as many of the one ``bound``, if any.
    """
    stats = yield Request("GET", url_path("/{}/_stats/store", index), {"filter_path": "_all.primaries.store"})
    source = int(stats["_all"]["primaries"]["store"]["size_in_bytes"])
    more = vectors * (vector_bytes(wanted) - (vector_bytes(bound) if bound is not None else 0.0))
    return Room(int(max(0.0, source + more) * (1 + replicas)), (yield from free_bytes()))


def free_bytes() -> Steps[int | None]:
    """Return what the data nodes may take until their disks are at the high watermark; None where one may not ask."""
    params = {"filter_path": "nodes.*.roles,nodes.*.fs.total"}
    nodes = yield from optional(Request("GET", "/_nodes/stats/fs", params), missing=(403,))
    if not nodes:
        return None
    # Not flat: a filter takes the dots of flat keys for levels, and finds none of them.
    keys = {"include_defaults": "true", "filter_path": f"*.{WATERMARK}"}
    settings = yield from optional(Request("GET", "/_cluster/settings", keys), missing=(403,))
    return left(nodes["nodes"], watermark(settings or {}))


WATERMARK = "cluster.routing.allocation.disk.watermark.high"


def watermark(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the high watermark as it is set: ``90%``, ``0.9``, or the bytes that must stay free, such as ``20gb``."""
    for where in ("transient", "persistent", "defaults"):
        value: Any = settings.get(where)
        for key in WATERMARK.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return str(value)
    return f"{HIGH_WATERMARK:.0%}"


def left(nodes: Mapping[str, Mapping[str, Any]], high: str) -> int:
    """Return the bytes that all data nodes together have left below the watermark."""
    free = 0
    for node in nodes.values():
        roles = node.get("roles", ["data"])
        if not any(role == "data" or role.startswith("data_") for role in roles):
            continue
        disk = node["fs"]["total"]
        free += max(0, int(disk["available_in_bytes"]) - _kept_free(high, int(disk["total_in_bytes"])))
    return free


def require_room(room: Room, target: str) -> None:
    """Refuse to begin what will not fit.

    Raises:
        JobStopped: with both sizes.
    """
    if not room.suffices:
        raise JobStopped(
            f"{target!r} will take about {size(room.needed)}, and the disks have {size(room.free or 0)} left below "
            "their high watermark",
            hint="Make room or add a data node; shorter vectors or no chunks take less.",
        )


def size(count: int) -> str:
    """Return a number of bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}


def _kept_free(high: str, total: int) -> int:
    """Return the bytes that must stay free on a disk of this size."""
    text = high.strip().lower()
    if text.endswith("%") or text.replace(".", "", 1).isdigit():
        share = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
        return min(int(total * (1 - share)), HEADROOM)
    for unit in sorted(_UNITS, key=len, reverse=True):
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * _UNITS[unit])
    return int(total * (1 - HIGH_WATERMARK))
