"""Read a source by several lanes at once, no faster than is wanted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from es_semantic.cluster.steps import Join, Pause, Spawn, Steps
from es_semantic.reindex.document import Copied, Whole
from es_semantic.sync.feed import Feed, Page, take
from es_semantic.sync.intervals import Interval
from es_semantic.sync.partition import WHOLE
from es_semantic.sync.shards import Shard

MAX_LANES = 8
"""Lanes that are read at once: a page of each is in memory."""


There = Callable[[Steps[Page[Copied] | None]], Steps[Page[Copied] | None]]
"""Runs a procedure on the cluster where the source is."""


@dataclass(slots=True)
class Rate:
    """Holds a stream down to so many documents a second, None for as fast as it goes."""

    a_second: float | None
    _passed: int = 0
    _since: float = field(default_factory=time.monotonic)

    def pause(self, documents: int) -> float:
        """Return the seconds to wait after so many more documents."""
        if self.a_second is None:
            return 0.0
        self._passed += documents
        return max(0.0, self._since + self._passed / self.a_second - time.monotonic())


@dataclass(slots=True)
class Lanes:
    """The unread part of a source, cut into lanes; a page is one of each."""

    feeds: deque[Feed[Copied]]
    rate: Rate
    there: There

    def next_page(self) -> Steps[list[Page[Copied]] | None]:
        """Return the next page of every lane that has one, None at the end."""
        handles = []
        for feed in self.feeds:
            handles.append((feed, (yield Spawn(self.there(feed.next_page())))))
        pages: list[Page[Copied]] = []
        for feed, handle in handles:
            page: Page[Copied] | None = yield Join(handle)
            if page is None:
                self.feeds.remove(feed)
            else:
                pages.append(page)
        seconds = self.rate.pause(sum(len(page.documents) for page in pages))
        if seconds:
            yield Pause(seconds)
        return pages or None


def lanes(unread: Mapping[Shard, Sequence[Interval]], count: int) -> list[dict[Shard, list[Interval]]]:
    """Cut what is unread into at most ``count`` parts of about as many sequence numbers each; none is empty."""
    left = {shard: deque(intervals) for shard, intervals in unread.items() if intervals}
    total = sum(last - first + 1 for intervals in left.values() for first, last in intervals)
    parts: list[dict[Shard, list[Interval]]] = []
    for number in range(count):
        room = total * (number + 1) // count - total * number // count
        part: dict[Shard, list[Interval]] = {}
        for shard, intervals in left.items():
            while room and intervals:
                taken = take(intervals, room)
                part.setdefault(shard, []).extend(taken)
                room -= sum(last - first + 1 for first, last in taken)
        if part:
            parts.append(part)
    return parts


def open_lanes(
    reader: Whole, unread: Mapping[Shard, Sequence[Interval]], *, count: int, max_page: int, rate: Rate, there: There
) -> Lanes:
    """Return the lanes of what is unread; ``max_page`` is the source's ``index.max_result_window``."""
    parts = lanes(unread, min(count, MAX_LANES))
    return Lanes(deque(Feed(reader, WHOLE, max_page, part) for part in parts), rate, there)
