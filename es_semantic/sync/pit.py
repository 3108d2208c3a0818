"""Read an index as it was at one moment, page by page (Elastic docs, "Point in time API")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import ClusterError

T = TypeVar("T")

KEEP_ALIVE = "15m"
"""Longest time between two pages: a page and what is left of the one before must be embedded and written in it."""


def with_pit(index: str, read: Callable[[str], Steps[T]]) -> Steps[T]:
    """Open a point in time, let ``read`` use it, and close it, whatever happens meanwhile."""
    pit: str = (yield Request("POST", url_path("/{}/_pit", index), {"keep_alive": KEEP_ALIVE}))["id"]
    try:
        result = yield from read(pit)
    except (Exception, KeyboardInterrupt, asyncio.CancelledError):
        yield from _close(pit)
        raise
    yield from _close(pit)
    return result


def page(
    pit: str, body: Mapping[str, Any], *, size: int, after: Sequence[Any] | None, max_size: int, about: str
) -> Request:
    """Return the search for the next page; ``max_size`` is the index's ``index.max_result_window``."""
    paging: dict[str, Any] = {
        "pit": {"id": pit, "keep_alive": KEEP_ALIVE},
        "size": min(size, max_size),
        "sort": [{"_shard_doc": "asc"}],
        "track_total_hits": False,
    }
    if after is not None:
        paging["search_after"] = list(after)
    params = {"allow_partial_search_results": "false"}
    return Request("POST", "/_search", params, {**body, **paging}, about=about)


def _close(pit: str) -> Steps[None]:
    try:
        yield Request("DELETE", "/_pit", body={"id": pit})
    except ClusterError:
        # It has expired, or it will; what happened before matters more.
        return
