"""Remove what a semantic field has stored in the documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import RequestFailed
from es_semantic.schema.checks import is_semantic_field
from es_semantic.schema.target import Target
from es_semantic.sync import bulk
from es_semantic.sync.pit import PointInTime, with_pit

PAGE = 1000


Watch = Callable[[int], None]
"""Called after every page with the number of documents changed so far."""


def unwatched(removed: int) -> None:
    """Report no progress."""


def purge_steps(target: Target, *, name: str, watch: Watch = unwatched, leave_out: Sequence[str] = ()) -> Steps[int]:
    """Remove the object ``name`` from every document that has one, and return how many had.

    Indices to ``leave_out`` are those that must not be written. Scripted bulk updates do it, because they run no ingest
    pipeline: ``_update_by_query`` would run the owner's pipelines over every document once more. A point in time makes
    sure that every document is seen once, though each one changed leaves its place and copies of a shard refresh at
    different times.

    Raises:
        RequestFailed: some documents could not be changed; running it again goes on with these.
    """
    if not is_semantic_field(target.mapping, name):
        return 0
    yield Request("POST", url_path("/{}/_refresh", target.name))
    removed = yield from with_pit(
        target.name, lambda pit: _remove_all(target, name, pit, watch, leave_out), max_size=target.max_result_window
    )
    yield Request("POST", url_path("/{}/_refresh", target.name))
    return removed


def _remove_all(target: Target, name: str, pit: PointInTime, watch: Watch, leave_out: Sequence[str]) -> Steps[int]:
    query = {"bool": {"filter": [{"exists": {"field": name}}], "must_not": [{"terms": {"_index": list(leave_out)}}]}}
    body = {"query": query, "_source": False, "stored_fields": ["_routing"]}
    removed = 0
    after: list[Any] | None = None
    while True:
        hits = yield from pit.page(body, size=PAGE, after=after)
        if not hits:
            return removed
        outcomes = yield from bulk.write([_removal(hit, name) for hit in hits])
        failed = [outcome for outcome in outcomes if not outcome.ok and outcome.status != 404]
        if failed:
            raise RequestFailed(
                f"{len(failed)} documents of {target.name!r} still hold {name!r}: {failed[0].reason}",
                status=failed[0].status,
                error_type=failed[0].error_type,
                hint="Run the same command again; it goes on with what is left.",
            )
        removed += sum(outcome.ok for outcome in outcomes)
        watch(removed)
        after = hits[-1]["sort"]


def _removal(hit: dict[str, Any], name: str) -> bulk.Item:
    action = {"_index": hit["_index"], "_id": hit["_id"], "retry_on_conflict": 5}
    if "_routing" in hit:
        action["routing"] = hit["_routing"]
    script = {"source": "ctx._source.remove(params.name)", "params": {"name": name}}
    return [orjson.dumps({"update": action}), orjson.dumps({"script": script})]
