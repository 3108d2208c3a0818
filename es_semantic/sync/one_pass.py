"""One pass over what the change feed has: read, embed and write, one beside the other, in the order of the feed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from es_semantic.cluster.steps import Compute, Handle, Join, Spawn, Steps
from es_semantic.embedding import Embedder
from es_semantic.embedding.cached import CachingEmbedder
from es_semantic.errors import EsSemanticError, NotAttached
from es_semantic.schema.target import Target
from es_semantic.sync.checkpoints import Position
from es_semantic.sync.control import Checkpoints
from es_semantic.sync.documents import Verdict
from es_semantic.sync.embed import Embedded, Split, embed_documents
from es_semantic.sync.feed import Feed, Page
from es_semantic.sync.limits import FailureLimits
from es_semantic.sync.observer import Observer, Outcome
from es_semantic.sync.report import Progress, SyncReport
from es_semantic.sync.shards import Shard
from es_semantic.sync.tracing import record_span
from es_semantic.sync.unchanged import require_unchanged
from es_semantic.sync.window import Window
from es_semantic.sync.writer import Result, Writer

MAX_WRITING = 3
"""Windows that are being written while the next is embedded."""

SAVE_EVERY = 5.0
"""Seconds between saved checkpoints. What was written since is read once more after a kill, and found true."""


@dataclass(slots=True)
class Pass:
    """While one window is embedded, the page after it is read and the three before it are written.

    Windows are finished in the order of the feed, so a shard's position never passes a document that is not done.
    """

    target: Target
    feed: Feed
    embedder: Embedder
    split: Split
    writer: Writer
    checkpoints: Checkpoints
    positions: dict[Shard, Position]
    durable: dict[str, bool]
    """By index: whether what it acknowledges survives a crash (``index.translog.durability: request``). If not, a
    sequence number may be given out again, so our own writes there are read like everybody's."""
    limits: FailureLimits
    report: SyncReport
    progress: Progress
    observer: Observer
    stop: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)
    _writing: deque[tuple[Window, Handle]] = field(default_factory=deque)
    _saved: float = field(default_factory=time.monotonic)

    def run(self) -> Steps[None]:
        """Go through the feed until its end, or until ``stop`` says so; the checkpoint is saved in either case.

        Raises:
            TooManyFailures: a limit of failures is exceeded.
            ModelUnavailable, ClusterError: model or cluster failed; what was written stays.
            IndexUnavailable, NotAttached: an index is not what it was when it was looked up.
        """
        try:
            yield from self._pump()
            yield from require_unchanged(self.target, self.report.field)
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            yield from self._finish_if_possible()
            if not isinstance(error, NotAttached):
                yield from self._save_if_possible()
            raise error
        yield from self.checkpoints.save(self.positions)
        report = self.report
        counts = {"read": report.read, "embedded": report.embedded, "failed": report.failed}
        record_span("pass", time.monotonic() - self.started, index=report.index, field=report.field, **counts)

    def _pump(self) -> Steps[None]:
        window = Window()
        reading: Handle | None = yield Spawn(self.feed.next_page())
        while reading is not None:
            page: Page | None = yield Join(reading)
            reading = None
            if page is not None:
                self._take_in(page, window)
                self.report.complete = not self.stop()
                reading = (yield Spawn(self.feed.next_page())) if self.report.complete else None
            if window.full or reading is None:
                yield from self._bring_up_to_date(window)
                window = Window()
        while self._writing:
            yield from self._finish_oldest()

    def _take_in(self, page: Page, window: Window) -> None:
        wanted = [document for document in page.documents if self.writer.needs(document)]
        window.add(page, wanted)
        unchanged = sum(document.verdict is Verdict.TRUE for document in page.documents)
        self.report.read += len(page.documents)
        self.report.unchanged += unchanged
        self.observer.documents(page.shard.index, self.report.field, "unchanged", unchanged)
        self.observer.queue("read", self.feed.unread)
        self.observer.queue("embed", len(window.work))
        self._tell()

    def _bring_up_to_date(self, window: Window) -> Steps[None]:
        texts = [work.document.text for work in window.stale]
        if texts:
            window.embedded = yield Compute(lambda: self._embed(texts))
            window.forget_texts()
        while len(self._writing) >= MAX_WRITING or (self._writing and self._writing[0][1].done()):
            yield from self._finish_oldest()
        self._writing.append((window, (yield Spawn(self._write(window)))))
        self.observer.queue("write", sum(len(waiting.work) for waiting, _ in self._writing))

    def _write(self, window: Window) -> Steps[list[Result]]:
        yield from require_unchanged(self.target, self.report.field, {shard.index for shard in window.through})
        return (yield from self.writer.write(window))

    def _embed(self, texts: list[str]) -> list[Embedded]:
        started = time.monotonic()
        self.observer.batch(len(texts))
        before = self._cache_counts()
        embedded = embed_documents(self.embedder, texts, self.split)
        seconds = time.monotonic() - started
        self.observer.embed_seconds(seconds)
        record_span("embed", seconds, texts=len(texts))
        hits, misses = self._cache_counts()
        self.observer.cache(hits - before[0], misses - before[1])
        return embedded

    def _cache_counts(self) -> tuple[int, int]:
        if isinstance(self.embedder, CachingEmbedder):
            return self.embedder.hits, self.embedder.misses
        return 0, 0

    def _finish_oldest(self) -> Steps[None]:
        window, handle = self._writing[0]
        results: list[Result] = yield Join(handle)
        self._writing.popleft()
        for result in results:
            if result.outcome is not None and result.outcome.ok and self.durable[result.work.shard.index]:
                self.positions[result.work.shard].remember(result.outcome.seq_no)
        for shard, through in window.through.items():
            self.positions[shard].advance(through)
        self._count(results)
        if time.monotonic() - self._saved > SAVE_EVERY:
            yield from self.checkpoints.save(self.positions)
            self._saved = time.monotonic()

    def _count(self, results: list[Result]) -> None:
        needed = [result for result in results if result.work.document.verdict is not Verdict.TRUE]
        outcomes = Counter((result.work.shard.index, self._count_one(result)) for result in needed)
        for (index, outcome), count in outcomes.items():
            self.observer.documents(index, self.report.field, outcome, count)
        self.report.checkpoint = checkpoint_of(self.positions)
        self._tell()
        # Those that are marked as failed since an earlier run were counted then.
        tried = [result for result in needed if result.work.document.verdict is not Verdict.FAILED]
        failed = {result.place: result.failure for result in tried if result.failure}
        self.limits.count(len(tried), failed)

    def _count_one(self, result: Result) -> Outcome:
        document, outcome = result.work.document, result.outcome
        if result.failure:
            self.report.fail(document.index, document.id, result.failure)
            return "foreign" if document.verdict is Verdict.FOREIGN else "failed"
        if outcome is not None and outcome.superseded:
            self.report.superseded += 1
            return "superseded"
        if result.embedded is None:
            self.report.empty += 1
            return "empty"
        self.report.embedded += 1
        self.report.over_long += result.embedded.over_long
        return "embedded"

    def _tell(self) -> None:
        self.report.seconds = time.monotonic() - self.started
        self.progress(self.report)

    def _finish_if_possible(self) -> Steps[None]:
        """Wait for what is being written, so that it is counted and not embedded again.

        A window that could not be written stays the oldest, so that no later one moves a shard's position past it.
        """
        while self._writing:
            try:
                yield from self._finish_oldest()
            except EsSemanticError:
                return

    def _save_if_possible(self) -> Steps[None]:
        try:
            yield from self.checkpoints.save(self.positions)
        except EsSemanticError:
            # What went wrong first matters more; what is not saved is read once more.
            return


def checkpoint_of(positions: dict[Shard, Position]) -> dict[str, dict[str, int]]:
    """Return the sequence numbers by index and shard."""
    checkpoint: dict[str, dict[str, int]] = {}
    for shard, position in positions.items():
        checkpoint.setdefault(shard.index, {})[str(shard.number)] = position.seq_no
    return checkpoint
