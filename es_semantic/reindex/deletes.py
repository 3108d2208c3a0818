"""Delete from the target what is no more in the source.

Deleted documents leave no trace that a search could find. But once everything that the source has is in the target,
equal numbers of documents mean that the target has nothing else; only otherwise are the ids compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import RequestFailed
from es_semantic.reindex.known import Target
from es_semantic.reindex.origin import Origin, count
from es_semantic.schema.target import resolve
from es_semantic.sync import bulk
from es_semantic.sync.feed import Feed
from es_semantic.sync.partition import WHOLE
from es_semantic.sync.shards import Shard, read_shards, refresh


def delete_what_is_gone(origin: Origin, target: Target, *, complete: bool) -> Steps[int]:
    """Bring the target's documents down to the source's, and return how many were deleted.

    ``complete`` says whether everything that the source had at the last look is in the target. A document that is
    written to the target meanwhile stays.

    Raises:
        RequestFailed: a document could not be deleted.
    """
    index = yield from resolve(target.index)
    yield from refresh(index)
    before = positions_of(origin.last)
    same = (yield from count(target.alias)) == (yield from origin.count())
    # Something written meanwhile can make up the number for something deleted.
    if complete and same and positions_of((yield from origin.look())) == before:
        return 0
    shards = yield from read_shards(index)
    return (yield from _walk(origin, target, {shard: shard.global_checkpoint for shard in shards}))


def delete_what_went_late(
    origin: Origin, target: Target, *, swept: Mapping[str, int], positions: Mapping[str, int]
) -> Steps[int]:
    """Delete what was deleted in the source after ``swept`` until now, unless a program has written it to the target.

    Both are sequence numbers by shard: of the source, and those of the target before programs wrote to it.
    """
    index = yield from resolve(target.index)
    yield from refresh(index)
    if not (yield from _may_be_gone(origin, swept)):
        return 0
    shards = yield from read_shards(index)
    return (yield from _walk(origin, target, {shard: positions.get(str(shard.number), -1) for shard in shards}))


def positions_of(shards: Sequence[Shard]) -> dict[str, int]:
    """Return the highest sequence number of each shard that every copy has."""
    return {str(shard.number): shard.global_checkpoint for shard in shards}


def positions_in(index: str) -> Steps[dict[str, int]]:
    """Return the highest sequence number of each shard of an index of this cluster, as it is now."""
    return positions_of((yield from read_shards((yield from resolve(index)))))


def delete_item(alias: str, hit: Mapping[str, Any]) -> bulk.Item:
    """Return the ``_bulk`` line that deletes a document unless it was written since it was read."""
    action = {
        "_index": alias,
        "_id": hit["_id"],
        "require_alias": True,
        "if_seq_no": hit["_seq_no"],
        "if_primary_term": hit["_primary_term"],
    }
    if "_routing" in hit:
        action["routing"] = hit["_routing"]
    return [orjson.dumps({"delete": action})]


@dataclass(frozen=True, slots=True)
class _Ids:
    """Reads ids and versions: the reader of a feed of the target."""

    def body(self, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "query": {"bool": {"must": [{"match_all": {}}], "filter": list(filters)}},
            "_source": False,
            "stored_fields": ["_routing"],
            "seq_no_primary_term": True,
            "track_total_hits": False,
        }

    def read(self, hit: Mapping[str, Any]) -> Mapping[str, Any]:
        return hit

    def size(self, _hit: Mapping[str, Any]) -> int:
        return 1


def _may_be_gone(origin: Origin, swept: Mapping[str, int]) -> Steps[bool]:
    """Say whether a document may have been deleted since: not where every later write still is a document."""
    for shard in origin.last:
        after = swept.get(str(shard.number), -1)
        standing = yield from origin.there(_standing(shard, after))
        if standing != shard.global_checkpoint - after:
            return True
    return False


def _standing(shard: Shard, after: int) -> Steps[int]:
    written = {"range": {"_seq_no": {"gt": after, "lte": shard.global_checkpoint}}}
    params = {"preference": f"_shards:{shard.number}"}
    body = {"query": {"bool": {"must": [{"match_all": {}}], "filter": [written]}}}
    return int((yield Request("POST", url_path("/{}/_count", shard.index), params, body))["count"])


def _walk(origin: Origin, target: Target, through: Mapping[Shard, int]) -> Steps[int]:
    """Compare the ids of the target's documents up to these sequence numbers with the source's."""
    unread = {shard: [(0, last)] for shard, last in through.items() if last >= 0}
    feed = Feed(_Ids(), WHOLE, target.max_page, unread)
    deleted = 0
    while page := (yield from feed.next_page()):
        hits = page.documents
        versions = yield from origin.versions([(hit["_id"], hit.get("_routing")) for hit in hits])
        gone = [hit for hit, version in zip(hits, versions, strict=True) if version is None]
        deleted += yield from _delete(gone, target)
    return deleted


def _delete(hits: Sequence[Mapping[str, Any]], target: Target) -> Steps[int]:
    outcomes = yield from bulk.write([delete_item(target.alias, hit) for hit in hits])
    for hit, outcome in zip(hits, outcomes, strict=True):
        if not outcome.ok and not outcome.superseded:
            raise RequestFailed(
                f"document {hit['_id']!r} of {target.index!r} could not be deleted: {outcome.reason}",
                status=outcome.status,
                error_type=outcome.error_type,
                hint="Mend that and run the same command again; it goes on where it stopped.",
            )
    return sum(outcome.ok for outcome in outcomes)
