"""The change feed: the documents of a target that were written since a checkpoint, shard by shard, in order.

Which sequence numbers are there is asked first (``sync/shards.py``), then everything is refreshed, and only then is
``_seq_no`` in (checkpoint, global checkpoint] read. What was written at or below the global checkpoint is then visible
on every copy, whichever answers. A document written again meanwhile leaves the interval for a higher number, and none
can enter it: so pages need no point in time, which could expire, and a feed may be read as slowly as the model embeds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.schema.binding import Binding
from es_semantic.sync.checkpoints import Position
from es_semantic.sync.documents import Document, read_document, search_body
from es_semantic.sync.intervals import Interval
from es_semantic.sync.partition import Partition
from es_semantic.sync.shards import Shard

FIRST_PAGE = 64
LARGEST_PAGE = 512
PAGE_CHARACTERS = 2_000_000
"""Source text that a page should hold; how many documents that is, the page before tells."""

MAX_RANGES = 64
"""Intervals in one query; Elasticsearch allows at least 1,024 clauses (``indices.query.bool.max_clause_count``)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Documents of one shard; with it, everything in the shard up to and including ``through`` has been given out."""

    shard: Shard
    documents: list[Document]
    through: int


@dataclass(slots=True)
class Feed:
    """Reads the unread part of every shard, page by page; ``max_page`` is the index's ``index.max_result_window``."""

    binding: Binding
    name: str
    partition: Partition
    max_page: int
    positions: Mapping[Shard, Position]
    _shards: deque[Shard] = field(init=False)
    _unread: deque[Interval] = field(default_factory=deque)
    _size: int = FIRST_PAGE
    _span: int = 2 * FIRST_PAGE
    """How many sequence numbers to ask for at once: with many updated documents, few of them still stand for one."""

    def __post_init__(self) -> None:
        self._shards = deque(shard for shard, position in self.positions.items() if position.unread(shard))
        self._open_shard()

    def next_page(self) -> Steps[Page | None]:
        """Return the next page, None at the end; a page may hold no documents."""
        if not self._shards:
            return None
        shard = self._shards[0]
        ranges = take(self._unread, self._span)
        size = min(self._size, self.max_page)
        hits = (yield self._request(shard, ranges, size))["hits"]["hits"]
        through = ranges[-1][1]
        if len(hits) == size:
            through = hits[-1]["_seq_no"]
            self._unread.extendleft(reversed(above(ranges, through)))
        self._adapt(hits, size)
        documents = [read_document(hit, self.binding, self.name) for hit in hits if self.partition.holds(hit["_id"])]
        self._learn_size(documents)
        if not self._unread:
            through = shard.global_checkpoint
            self._shards.popleft()
            self._open_shard()
        return Page(shard, documents, through)

    def _open_shard(self) -> None:
        if self._shards:
            self._unread = deque(self.positions[self._shards[0]].unread(self._shards[0]))

    def _request(self, shard: Shard, ranges: Sequence[Interval], size: int) -> Request:
        written = [{"range": {"_seq_no": {"gte": first, "lte": last}}} for first, last in ranges]
        body: dict[str, Any] = search_body(self.binding, self.name, [{"bool": {"should": written}}])
        paging = {"size": size, "sort": [{"_seq_no": "asc"}]}
        params = {"preference": f"_shards:{shard.number}", "allow_partial_search_results": "false"}
        about = f"reading shard {shard.number} of {shard.index!r}"
        return Request("POST", url_path("/{}/_search", shard.index), params, {**body, **paging}, about=about)

    def _adapt(self, hits: Sequence[Any], size: int) -> None:
        if len(hits) == size:
            self._span = max(size, self._span // 2)
        elif len(hits) < size // 2:
            self._span *= 4

    def _learn_size(self, documents: Sequence[Document]) -> None:
        if documents:
            mean = sum(len(document.text) for document in documents) / len(documents) + 1
            self._size = max(1, min(LARGEST_PAGE, 4 * self._size, int(PAGE_CHARACTERS / mean)))


def take(unread: deque[Interval], span: int) -> list[Interval]:
    """Remove and return the first intervals, of ``span`` numbers together at most, cutting the last if need be."""
    taken: list[Interval] = []
    while unread and span > 0 and len(taken) < MAX_RANGES:
        first, last = unread.popleft()
        if last - first >= span:
            unread.appendleft((first + span, last))
            last = first + span - 1
        taken.append((first, last))
        span -= last - first + 1
    return taken


def above(ranges: Sequence[Interval], number: int) -> list[Interval]:
    """Return what of these intervals lies above the number."""
    return [(max(first, number + 1), last) for first, last in ranges if last > number]
