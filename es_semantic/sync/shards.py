"""The shards of an index: which history they carry and how far every copy has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from es_semantic.cluster.steps import Pause, Request, Steps, url_path
from es_semantic.errors import IndexUnavailable, RequestFailed
from es_semantic.schema.target import Target

_KEPT = ",".join(
    f"indices.*.{key}"
    for key in ("uuid", "shards.*.routing.primary", "shards.*.routing.state", "shards.*.seq_no", "shards.*.commit")
)

START_WAIT = 0.1
"""Seconds between two looks at shards that are about to start."""

START_LOOKS = 50
"""As many looks, five seconds in all: a rollover makes an index known before its shards have started."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard as its primary sees it.

    ``uuid`` is the index's, new when an index is re-created; ``history`` is the shard's, new when it is restored from a
    snapshot or an old copy was made its primary by force: then sequence numbers seen before mean nothing.
    ``global_checkpoint`` is the highest sequence number at or below which every in-sync copy has everything (Elastic
    docs, "Index stats API"); -1 in a shard that was never written to.
    """

    index: str
    uuid: str
    number: int
    history: str
    global_checkpoint: int = field(compare=False)


def read_shards(target: Target, new: Collection[str] = ()) -> Steps[list[Shard]]:
    """Return all shards of the target's indices, ordered by index and number; also of indices made since it was read.

    Shards of the ``new`` indices are waited for, because Elasticsearch may just be starting them.

    Raises:
        IndexUnavailable: an index is gone, or a shard has no started primary.
    """
    shards = yield from _read_stats(target)
    missing = _without_primary(target, shards)
    looks = 0
    while missing and missing.keys() <= set(new) and looks < START_LOOKS:
        yield Pause(START_WAIT)
        shards = yield from _read_stats(target)
        missing, looks = _without_primary(target, shards), looks + 1
    for index, started in missing.items():
        raise IndexUnavailable(
            f"index {index!r} has {_number_of_shards(target, index)} shards, and {started} of them have a started "
            "primary",
            status=503,
            hint="See GET /_cluster/health and GET /_cluster/allocation/explain.",
        )
    return shards


def _read_stats(target: Target) -> Steps[list[Shard]]:
    path = url_path("/{}/_stats", target.name)
    params = {"level": "shards", "filter_path": _KEPT, "expand_wildcards": "all"}
    return shards_of((yield Request("GET", path, params, about=f"checkpoints of {target.name!r}")))


def _without_primary(target: Target, shards: Collection[Shard]) -> dict[str, int]:
    """Return by index how many shards are started, where that is not all of them: such a shard is simply not listed."""
    started = Counter(shard.index for shard in shards)
    return {index: started[index] for index in target.indices if started[index] != _number_of_shards(target, index)}


def _number_of_shards(target: Target, index: str) -> int:
    return int(target.indices[index].settings.get("index.number_of_shards", 1))


def shards_of(stats: Mapping[str, Any]) -> list[Shard]:
    """Return the shards with a started primary in an answer of ``GET /{index}/_stats?level=shards``."""
    return [
        Shard(index, state["uuid"], int(number), _history(primary), primary["seq_no"]["global_checkpoint"])
        for index, state in sorted((stats.get("indices") or {}).items())
        for number, copies in sorted(state["shards"].items(), key=lambda shard: int(shard[0]))
        for primary in copies
        if primary["routing"]["primary"] and primary["routing"]["state"] in ("STARTED", "RELOCATING")
    ]


def refresh(target: Target) -> Steps[None]:
    """Make everything written so far visible on every copy.

    Raises:
        RequestFailed: a copy could not be refreshed, so that something might be missed there.
    """
    answer = yield Request("POST", url_path("/{}/_refresh", target.name))
    failed = answer.get("_shards", {}).get("failed", 0)
    if failed:
        raise RequestFailed(f"{failed} shards of {target.name!r} could not be refreshed", status=503)


def _history(copy: Mapping[str, Any]) -> str:
    return str(copy["commit"]["user_data"]["history_uuid"])
