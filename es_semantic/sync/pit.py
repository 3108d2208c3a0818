"""Read an index as it was at one moment, page by page (Elastic docs, "Point in time API")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import ClusterError

T = TypeVar("T")

KEEP_ALIVE = "15m"
"""Longest time between two pages, in which what a page brought must be worked off."""


@dataclass(slots=True)
class PointInTime:
    """An index as it was; ``id`` may be another one after each page, and only the latest is to be used and closed."""

    index: str
    id: str
    max_size: int
    """The index's ``index.max_result_window``."""

    def page(self, body: Mapping[str, Any], *, size: int, after: Sequence[Any] | None) -> Steps[list[dict[str, Any]]]:
        """Return up to ``size`` hits of a search, those that follow the one whose sort values are ``after``."""
        answer = yield page_request(self, body, size=size, after=after)
        self.id = answer["pit_id"]
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits


def with_pit(index: str, read: Callable[[PointInTime], Steps[T]], *, max_size: int) -> Steps[T]:
    """Open a point in time, let ``read`` use it, and close it, whatever happens meanwhile."""
    opened = yield Request("POST", url_path("/{}/_pit", index), {"keep_alive": KEEP_ALIVE})
    pit = PointInTime(index, opened["id"], max_size)
    try:
        result = yield from read(pit)
    except (Exception, KeyboardInterrupt, asyncio.CancelledError):
        yield from _close(pit)
        raise
    yield from _close(pit)
    return result


def every_hit(index: str, body: Mapping[str, Any], *, size: int) -> Steps[list[dict[str, Any]]]:
    """Return all hits of a search, read in pages of ``size``."""

    def read(pit: PointInTime) -> Steps[list[dict[str, Any]]]:
        hits: list[dict[str, Any]] = []
        while True:
            page = yield from pit.page(body, size=size, after=hits[-1]["sort"] if hits else None)
            hits += page
            if len(page) < size:
                return hits

    return (yield from with_pit(index, read, max_size=size))


def page_request(pit: PointInTime, body: Mapping[str, Any], *, size: int, after: Sequence[Any] | None) -> Request:
    """Return the search for the next page."""
    paging: dict[str, Any] = {
        "pit": {"id": pit.id, "keep_alive": KEEP_ALIVE},
        "size": min(size, pit.max_size),
        "sort": [{"_shard_doc": "asc"}],
        "track_total_hits": False,
    }
    if after is not None:
        paging["search_after"] = list(after)
    params = {"allow_partial_search_results": "false"}
    return Request("POST", "/_search", params, {**body, **paging}, about=pit.index)


def _close(pit: PointInTime) -> Steps[None]:
    try:
        yield Request("DELETE", "/_pit", body={"id": pit.id})
    except ClusterError:
        # It has expired, or it will; what happened before matters more.
        return
