"""The change feed: the documents of a target that were written since a checkpoint, shard by shard, in order.

Which sequence numbers are there is asked first (``sync/shards.py``), then everything is refreshed, and only then is
``_seq_no`` in (checkpoint, global checkpoint] read. What was written at or below the global checkpoint is then visible
on every copy, whichever answers. A document written again meanwhile leaves the interval for a higher number, and none
can enter it: so pages need no point in time, which could expire, and a feed may be read as slowly as the model embeds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import ClusterError, Unreachable
from es_semantic.sync.checkpoints import NEVER
from es_semantic.sync.intervals import Interval
from es_semantic.sync.partition import Partition
from es_semantic.sync.shards import Shard

D = TypeVar("D")

FIRST_REQUEST = 64
"""Documents that the first request of every pass asks for."""

LARGEST_REQUEST = 128
"""Twice as many make reading faster by a few percent, and memory twice as much where documents are suddenly huge."""

LARGEST_PAGE = 512
"""Documents after which a page is complete: a window's, because one page is read while a window is embedded."""

PAGE_CHARACTERS = 2_000_000
"""Source text that a request should bring; how many documents that is, the request before tells."""

TOO_LARGE = (413, 504)
"""A proxy takes no such answer, or has waited too long for it."""

CIRCUIT_BROKEN = "Data too large"
"""How Elasticsearch's circuit breakers begin (429); around it may stand the error of the whole search."""

MAX_RANGES = 64
"""Intervals in one query; Elasticsearch allows at least 1,024 clauses (``indices.query.bool.max_clause_count``)."""


class Reader(Protocol[D]):
    """What is read of each document."""

    def body(self, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the search for the documents that pass all filters."""

    def read(self, hit: Mapping[str, Any]) -> D:
        """Read one hit of that search."""

    def size(self, document: D) -> int:
        """Return how many characters a document holds, about."""


@dataclass(frozen=True, slots=True)
class Page(Generic[D]):
    """Documents of one shard; with it, everything in the shard up to and including ``through`` has been given out.

    ``covered`` are the sequence numbers of which these are all documents: those that no earlier page has covered.
    """

    shard: Shard
    documents: list[D]
    through: int
    covered: list[Interval]


@dataclass(slots=True)
class RequestSize:
    """How many documents to ask for at once; kept from pass to pass.

    How large documents are is known only when they have come. So a request asks for at most twice the documents of a
    full one before it, and no more than fit :data:`PAGE_CHARACTERS` by the mean of the one before. That bounds its text
    where neighbours are alike; where huge documents follow tiny ones, one answer holds :data:`LARGEST_REQUEST` of them
    at most.
    """

    documents: int = FIRST_REQUEST

    def begin(self) -> None:
        """A pass begins: what was written since the last may be of another size."""
        self.documents = min(self.documents, FIRST_REQUEST)

    def learn(self, documents: int, characters: int, *, full: bool) -> None:
        """Take an answer into account: so many documents had so many characters; were they as many as asked for?"""
        if documents:
            grown = 2 * self.documents if full else self.documents
            self.documents = max(
                1,
                min(LARGEST_REQUEST, LARGEST_PAGE, grown, int(PAGE_CHARACTERS * documents / (characters + documents))),
            )

    def failed(self, error: ClusterError) -> None:
        """Ask for a quarter the next time, if the answer may have been too large, or too slow because it is large."""
        if isinstance(error, Unreachable) or error.status in TOO_LARGE or CIRCUIT_BROKEN in error.what:
            self.documents = max(1, self.documents // 4)


@dataclass(slots=True)
class Feed(Generic[D]):
    """Reads the ``unread`` part of every shard, page by page; ``max_page`` is the index's ``index.max_result_window``.

    What is unread is settled when the feed is made: it may be read in one thread while positions move in another.
    """

    reader: Reader[D]
    partition: Partition
    max_page: int
    unread_parts: InitVar[Mapping[Shard, Iterable[Interval]]]
    size: RequestSize = field(default_factory=RequestSize)
    _unread: deque[tuple[Shard, deque[Interval]]] = field(init=False)
    _span: int = 2 * FIRST_REQUEST
    """How many sequence numbers to ask for at once: with many updated documents, few of them still stand for one."""

    def __post_init__(self, unread_parts: Mapping[Shard, Iterable[Interval]]) -> None:
        found = ((shard, deque(intervals)) for shard, intervals in unread_parts.items())
        self._unread = deque((shard, intervals) for shard, intervals in found if intervals)
        self.size.begin()

    @property
    def unread(self) -> int:
        """How many sequence numbers no page has been asked for; several of them may have been one document's."""
        return sum(last - first + 1 for _, intervals in self._unread for first, last in intervals)

    def next_page(self) -> Steps[Page[D] | None]:
        """Return the next page, None at the end; a page may hold no documents.

        It takes a few requests, and ends early with much text.

        Raises:
            ClusterError: it could not be read; where its size may be the reason, the next feed asks for less at once.
        """
        if not self._unread:
            return None
        shard, intervals = self._unread[0]
        documents: list[D] = []
        covered: list[Interval] = []
        characters, through = 0, NEVER
        for _ in range(LARGEST_PAGE // LARGEST_REQUEST or 1):
            new, ranges = yield from self._read(shard, intervals)
            documents += new
            covered += ranges
            characters += sum(self.reader.size(document) for document in new)
            through = ranges[-1][1]
            if not intervals or len(documents) >= LARGEST_PAGE or characters >= PAGE_CHARACTERS // 2:
                break
        if not intervals:
            through = shard.global_checkpoint
            self._unread.popleft()
        return Page(shard, documents, through, covered)

    def _read(self, shard: Shard, intervals: deque[Interval]) -> Steps[tuple[list[D], list[Interval]]]:
        """Return the next documents of a shard and of which numbers these are all; take these from ``intervals``."""
        size = min(self.size.documents, self.max_page)
        ranges = take(intervals, max(self._span, size))
        try:
            hits = (yield self._request(shard, ranges, size))["hits"]["hits"]
        except ClusterError as error:
            self.size.failed(error)
            raise
        full = len(hits) == size
        if full:
            through = hits[-1]["_seq_no"]
            intervals.extendleft(reversed(above(ranges, through)))
            ranges = through_number(ranges, through)
        self._adapt(len(hits), size)
        documents = [self.reader.read(hit) for hit in hits if self.partition.holds(hit["_id"])]
        self.size.learn(len(documents), sum(map(self.reader.size, documents)), full=full)
        return documents, ranges

    def _request(self, shard: Shard, ranges: Sequence[Interval], size: int) -> Request:
        written = [{"range": {"_seq_no": {"gte": first, "lte": last}}} for first, last in ranges]
        body: dict[str, Any] = self.reader.body([{"bool": {"should": written}}])
        paging = {"size": size, "sort": [{"_seq_no": "asc"}]}
        params = {"preference": f"_shards:{shard.number}", "allow_partial_search_results": "false"}
        about = f"reading shard {shard.number} of {shard.index!r}"
        return Request("POST", url_path("/{}/_search", shard.index), params, {**body, **paging}, about=about)

    def _adapt(self, hits: int, size: int) -> None:
        if hits == size:
            self._span = max(size, self._span // 2)
        elif hits < size // 2:
            self._span *= 4


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


def through_number(ranges: Sequence[Interval], number: int) -> list[Interval]:
    """Return what of these intervals lies at or below the number."""
    return [(first, min(last, number)) for first, last in ranges if first <= number]
