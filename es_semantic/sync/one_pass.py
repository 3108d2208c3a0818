"""One pass over what the change feed has: read, embed and write, one beside the other, in the order of the feed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.errors import EsSemanticError, NotAttached
from es_semantic.schema.target import Target
from es_semantic.sync.checkpoints import Position
from es_semantic.sync.control import Checkpoints
from es_semantic.sync.documents import Document, Verdict
from es_semantic.sync.embed import Embedding
from es_semantic.sync.feed import Feed, Page
from es_semantic.sync.limits import FailureLimits
from es_semantic.sync.observer import Observer, Outcome
from es_semantic.sync.pump import Pump
from es_semantic.sync.report import Progress, SyncReport
from es_semantic.sync.shards import Shard
from es_semantic.sync.tracing import record_span
from es_semantic.sync.unchanged import require_unchanged
from es_semantic.sync.window import Window
from es_semantic.sync.writer import Result, Writer

SAVE_EVERY = 5.0
"""Seconds between saved checkpoints. What was written since is read once more after a kill, and found true."""


@dataclass(slots=True)
class Pass:
    """The stages of a pump over a feed.

    Windows are finished in the order of the feed, so a shard's position never passes a document that is not done.
    """

    target: Target
    feed: Feed[Document]
    embedding: Embedding
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
    _saved: float = field(default_factory=time.monotonic)

    def run(self) -> Steps[None]:
        """Go through the feed until its end, or until ``stop`` says so; the checkpoint is saved in either case.

        Raises:
            TooManyFailures: a limit of failures is exceeded.
            ModelUnavailable, ClusterError: model or cluster failed; what was written stays.
            IndexUnavailable, NotAttached: an index is not what it was when it was looked up.
        """
        pump = Pump(self)
        try:
            yield from pump.run()
            yield from require_unchanged(self.target, self.report.field)
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            yield from pump.finish_if_possible()
            if not isinstance(error, NotAttached):
                yield from self._save_if_possible()
            raise error
        yield from self.checkpoints.save(self.positions)
        report = self.report
        counts = {"read": report.read, "embedded": report.embedded, "failed": report.failed}
        record_span("pass", time.monotonic() - self.started, index=report.index, field=report.field, **counts)

    def next_page(self) -> Steps[Page[Document] | None]:
        """Return the next page of the feed."""
        return self.feed.next_page()

    def new_window(self) -> Window:
        """Return an empty window."""
        return Window()

    def take_in(self, page: Page[Document], window: Window) -> bool:
        """Put into the window those of the page's documents that need something."""
        wanted = [document for document in page.documents if self.writer.needs(document)]
        window.add(page, wanted)
        unchanged = sum(document.verdict is Verdict.TRUE for document in page.documents)
        self.report.read += len(page.documents)
        self.report.unchanged += unchanged
        self.observer.documents(page.shard.index, self.report.field, "unchanged", unchanged)
        self.observer.queue("read", self.feed.unread)
        self.observer.queue("embed", len(window.work))
        self._tell()
        self.report.complete = not self.stop()
        return self.report.complete

    def is_full(self, window: Window) -> bool:
        """Say whether the window should be worked off."""
        return window.full

    def embed(self, window: Window) -> Steps[None]:
        """Embed the texts of the window, and let go of them."""
        texts = [work.document.text for work in window.stale]
        if texts:
            window.embedded = yield Compute(lambda: self.embedding(texts))
            window.forget_texts()

    def writing(self, windows: list[Window]) -> None:
        """Tell how much is being written."""
        self.observer.queue("write", sum(len(window.work) for window in windows))

    def write(self, window: Window) -> Steps[list[Result]]:
        """Write the window, unless its indices are not what they were."""
        yield from require_unchanged(self.target, self.report.field, {shard.index for shard in window.through})
        return (yield from self.writer.write(window))

    def finish(self, window: Window, results: list[Result]) -> Steps[None]:
        """Move the positions past the window, and count."""
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
