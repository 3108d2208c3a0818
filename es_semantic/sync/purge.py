"""Remove what a semantic field has stored in the documents."""

from __future__ import annotations

from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import RequestFailed
from es_semantic.schema.checks import is_semantic_field
from es_semantic.schema.target import Target
from es_semantic.sync import bulk

PAGE = 1000
KEEP_ALIVE = "5m"


def purge_steps(target: Target, *, name: str) -> Steps[int]:
    """Remove the object ``name`` from every document that has one, and return how many had.

    Scripted bulk updates do it, because they run no ingest pipeline: ``_update_by_query`` would run the owner's
    pipelines over every document once more.

    Raises:
        RequestFailed: some documents could not be changed; running it again goes on with these.
    """
    if not is_semantic_field(target.mapping, name):
        return 0
    yield Request("POST", url_path("/{}/_refresh", target.name))
    pit = (yield Request("POST", url_path("/{}/_pit", target.name), {"keep_alive": KEEP_ALIVE}))["id"]
    try:
        removed = yield from _remove_all(target, name, pit)
    except Exception:
        yield _close(pit)
        raise
    yield _close(pit)
    yield Request("POST", url_path("/{}/_refresh", target.name))
    return removed


def _remove_all(target: Target, name: str, pit: str) -> Steps[int]:
    removed = 0
    after: list[Any] | None = None
    while True:
        page = yield _page(pit, name, after)
        hits = page["hits"]["hits"]
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
        after, pit = hits[-1]["sort"], page["pit_id"]


def _close(pit: str) -> Request:
    return Request("DELETE", "/_pit", body={"id": pit})


def _page(pit: str, name: str, after: list[Any] | None) -> Request:
    body: dict[str, Any] = {
        "pit": {"id": pit, "keep_alive": KEEP_ALIVE},
        "size": PAGE,
        "query": {"exists": {"field": f"{name}.status"}},
        "_source": False,
        "stored_fields": ["_routing"],
        "sort": [{"_shard_doc": "asc"}],
        "track_total_hits": False,
    }
    if after is not None:
        body["search_after"] = after
    return Request("POST", "/_search", {"allow_partial_search_results": "false"}, body)


def _removal(hit: dict[str, Any], name: str) -> bulk.Item:
    action = {"_index": hit["_index"], "_id": hit["_id"], "retry_on_conflict": 5}
    if "_routing" in hit:
        action["routing"] = hit["_routing"]
    script = {"source": "ctx._source.remove(params.name)", "params": {"name": name}}
    return [orjson.dumps({"update": action}), orjson.dumps({"script": script})]
