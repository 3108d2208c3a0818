"""What the chunk index holds of documents, and how chunks leave it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import RequestFailed
from es_semantic.schema.target import Target
from es_semantic.sync import bulk
from es_semantic.sync.pit import PointInTime, with_pit

PAGE = 1000
"""Buckets or hits of one request."""


@dataclass(slots=True)
class Standing:
    """What the index holds of one document: by hash how many chunks there are, and how many there should be.

    ``source`` is where it came from. Chunks without a hash are somebody else's, and not counted.
    """

    source: str = ""
    versions: dict[str, tuple[int, int]] = field(default_factory=dict)

    def has(self, document_hash: str) -> bool:
        """Whether all chunks of this version are there."""
        found, wanted = self.versions.get(document_hash, (0, -1))
        return found == wanted

    def has_other(self, document_hash: str) -> bool:
        """Whether there are chunks of another version."""
        return bool(self.versions.keys() - {document_hash})


def standings(index: str, dataset: str, ids: Sequence[str]) -> Steps[dict[str, Standing]]:
    """Return what the index holds of these documents, as of its last refresh; those it does not know are left out."""
    found: dict[str, Standing] = {}
    query = documents_query(dataset, {"terms": {"document_id": list(ids)}})
    sources = [{key: {"terms": {"field": key}}} for key in ("document_id", "document_hash", "source")]
    wanted = {"wanted": {"max": {"field": "chunk_count"}}}
    after: Mapping[str, Any] | None = None
    while ids:
        buckets, after = yield from _buckets(index, query, sources, after, wanted)
        for bucket in buckets:
            key = bucket["key"]
            standing = found.setdefault(key["document_id"], Standing())
            standing.source = key["source"]
            count, most = standing.versions.get(key["document_hash"], (0, 0))
            most = max(most, int(bucket["wanted"]["value"] or 0))
            standing.versions[key["document_hash"]] = (count + bucket["doc_count"], most)
        if after is None:
            break
    return found


def documents_below(index: str, dataset: str, prefix: str) -> Steps[list[tuple[str, str]]]:
    """Return id and source of all documents of the dataset whose source begins so."""
    found: list[tuple[str, str]] = []
    query = documents_query(dataset, {"prefix": {"source": prefix}})
    sources = [{key: {"terms": {"field": key}}} for key in ("document_id", "source")]
    after: Mapping[str, Any] | None = None
    while True:
        buckets, after = yield from _buckets(index, query, sources, after, {})
        found += [(bucket["key"]["document_id"], bucket["key"]["source"]) for bucket in buckets]
        if after is None:
            return found


def documents_query(dataset: str, *filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query for chunks of a dataset."""
    return {"bool": {"filter": [{"term": {"dataset_id": dataset}}, *filters]}}


def older_than(versions: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the filter for chunks of these documents that are of another version than the one beside the id."""
    older = [
        {
            "bool": {
                "filter": [{"term": {"document_id": doc_id}}, {"exists": {"field": "document_hash"}}],
                "must_not": [{"term": {"document_hash": document_hash}}],
            }
        }
        for doc_id, document_hash in versions
    ]
    return {"bool": {"should": older, "minimum_should_match": 1}}


def delete_chunks(target: Target, query: Mapping[str, Any]) -> Steps[int]:
    """Delete the chunks that match, as of the index's last refresh; return how many there were.

    Raises:
        RequestFailed: Elasticsearch refuses to delete one.
    """

    def read(pit: PointInTime) -> Steps[int]:
        deleted, after = 0, None
        while hits := (yield from pit.page({"query": query, "_source": False}, size=PAGE, after=after)):
            after = hits[-1]["sort"]
            actions = [{"delete": {"_index": target.name, "_id": hit["_id"]}} for hit in hits]
            outcomes = yield from bulk.write([[orjson.dumps(action)] for action in actions])
            refused = [outcome for outcome in outcomes if not outcome.ok and outcome.status != 404]
            if refused:
                raise RequestFailed(f"a chunk of {target.name!r} cannot be deleted: {refused[0].reason}")
            deleted += sum(outcome.ok for outcome in outcomes)
        return deleted

    return (yield from with_pit(target.name, read, max_size=target.max_result_window))


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield the items in groups of ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _buckets(
    index: str,
    query: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    after: Mapping[str, Any] | None,
    within: Mapping[str, Any],
) -> Steps[tuple[list[dict[str, Any]], Mapping[str, Any] | None]]:
    """Return a page of buckets, and what the next one begins after; None after the last."""
    composite = {"size": PAGE, "sources": list(sources), **({"after": after} if after is not None else {})}
    aggregation = {"composite": composite, **({"aggs": within} if within else {})}
    body = {"size": 0, "track_total_hits": False, "query": query, "aggs": {"documents": aggregation}}
    params = {"allow_partial_search_results": "false"}
    answer = yield Request("POST", url_path("/{}/_search", index), params, body)
    found = answer["aggregations"]["documents"]
    return found["buckets"], found.get("after_key") if len(found["buckets"]) == PAGE else None
