"""Copy what the source has and the target lacks: one pass of reading, embedding and writing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.errors import EsSemanticError, JobTaken
from es_semantic.reindex.document import Copied
from es_semantic.reindex.job import Progress, Record
from es_semantic.reindex.known import with_known
from es_semantic.reindex.report import ReindexReport, Watcher
from es_semantic.reindex.writer import CopyWriter, Written, reasons
from es_semantic.sync.documents import Verdict
from es_semantic.sync.embed import Embedded, Embedding
from es_semantic.sync.feed import Page
from es_semantic.sync.intervals import Interval
from es_semantic.sync.limits import FailureLimits
from es_semantic.sync.one_pass import SAVE_EVERY
from es_semantic.sync.pump import MAX_WRITING, Pump
from es_semantic.sync.shards import Shard
from es_semantic.sync.window import WINDOW, WINDOW_CHARACTERS

DOCUMENTS = 2 * WINDOW
"""In a window where little has to be embedded."""

BYTES = 16_000_000
"""Of whole documents in a window, and a page more at most."""


@dataclass(slots=True)
class CopyWindow:
    """Documents to write together, and the sequence numbers that are done with them."""

    documents: list[Copied] = field(default_factory=list)
    covered: list[tuple[Shard, Sequence[Interval]]] = field(default_factory=list)
    embedded: Sequence[Embedded] = ()

    @property
    def stale(self) -> list[Copied]:
        """The documents to embed."""
        return [d for d in self.documents if d.verdict is Verdict.STALE]

    @property
    def full(self) -> bool:
        """Whether it should be worked off before more is taken in."""
        stale = self.stale
        return (
            len(stale) >= WINDOW
            or sum(len(document.text) for document in stale) >= WINDOW_CHARACTERS
            or len(self.documents) >= DOCUMENTS
            or sum(len(document.body) for document in self.documents) >= BYTES
        )


class Pages(Protocol):
    """Where documents come from, page by page; a page is one of each lane."""

    def next_page(self) -> Steps[list[Page[Copied]] | None]:
        """Return the next page of every lane that has one, None at the end."""


@dataclass(slots=True)
class CopyPass:
    """The stages of a pump over the lanes of a source.

    With ``unsure``, the target may have some of it already: after a run that was cut off, or because documents are
    copied once more. Then vectors are looked for there before texts are embedded, in a resumed job (``until_sure``)
    until nothing was found in as many windows in a row as can have been under way.
    """

    lanes: Pages
    embedding: Embedding
    writer: CopyWriter
    record: Record
    progress: Progress
    report: ReindexReport
    watch: Watcher
    stop: Callable[[], bool]
    limits: FailureLimits
    unsure: bool
    until_sure: bool
    _new_in_a_row: int = 0
    _started: float = field(default_factory=time.monotonic)
    _before: float = field(init=False)
    """Seconds that earlier passes of this run have taken."""
    _saved: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Take over what earlier passes have counted."""
        self._before = self.report.seconds

    def run(self) -> Steps[None]:
        """Copy until nothing is unread, or ``stop`` says so; how far it came is saved in either case.

        Raises:
            TooManyFailures: a limit of failures is exceeded.
            JobTaken: another run goes on with this job.
            ModelUnavailable, ClusterError: model or cluster failed; what was written stays.
        """
        pump = Pump(self)
        yield from self.through(pump.run(), pump.finish_if_possible)

    def through(self, work: Steps[None], after_failure: Callable[[], Steps[None]]) -> Steps[None]:
        """Do the work of the pass, and save how far it came in either case."""
        try:
            yield from work
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            yield from after_failure()
            if not isinstance(error, JobTaken):
                yield from self._save_if_possible()
            raise error
        yield from self.save()

    def save(self) -> Steps[None]:
        """Remember how far the job is."""
        yield from self.record.save(shards=self.progress.stored(), counts=self.report.counts)
        self._saved = time.monotonic()

    def next_page(self) -> Steps[list[Page[Copied]] | None]:
        """Return the next page of every lane."""
        return self.lanes.next_page()

    def new_window(self) -> CopyWindow:
        """Return an empty window."""
        return CopyWindow()

    def take_in(self, pages: list[Page[Copied]], window: CopyWindow) -> bool:
        """Put all documents into the window: each has to be written."""
        for page in pages:
            window.documents += page.documents
            window.covered.append((page.shard, page.covered))
        self.report.complete = not self.stop()
        return self.report.complete

    def is_full(self, window: CopyWindow) -> bool:
        """Say whether the window should be worked off."""
        return window.full

    def embed(self, window: CopyWindow) -> Steps[None]:
        """Embed what neither source nor target has a vector of, and let go of the texts."""
        if self.unsure:
            yield from self._look_for_known(window)
        texts = [document.text for document in window.stale]
        if texts:
            window.embedded = yield Compute(lambda: self.embedding(texts))
        window.documents = [replace(document, text="") for document in window.documents]

    def writing(self, windows: list[CopyWindow]) -> None:
        """Tell how much is being written."""
        self.writer.observer.queue("write", sum(len(window.documents) for window in windows))

    def write(self, window: CopyWindow) -> Steps[list[Written]]:
        """Write the window's documents."""
        return self.writer.write(window.documents, window.embedded)

    def finish(self, window: CopyWindow, written: list[Written]) -> Steps[None]:
        """Note what is done, and count."""
        for shard, covered in window.covered:
            self.progress.finish(shard, covered)
        self._count(written)
        if time.monotonic() - self._saved > SAVE_EVERY:
            yield from self.save()

    def _look_for_known(self, window: CopyWindow) -> Steps[None]:
        before = len(window.stale)
        window.documents = yield from with_known(self.writer.target, window.documents)
        if self.until_sure and before:
            self._new_in_a_row = self._new_in_a_row + 1 if len(window.stale) == before else 0
            # Read, embedded or written when the earlier run was cut off.
            self.unsure = self._new_in_a_row <= MAX_WRITING + 2

    def _count(self, written: Sequence[Written]) -> None:
        counts = self.report.counts
        for each in written:
            if each.refused:
                continue
            counts.copied += 1
            verdict = each.document.verdict
            counts.empty += verdict is Verdict.EMPTY
            counts.reused += verdict is Verdict.TRUE and each.document.state is not None
            counts.embedded += each.embedded is not None and not each.failed
            counts.failed += bool(each.failed)
        dead = {document.place: reason for document, reason in reasons(written)}
        for (doc_id, _), reason in dead.items():
            self.report.fail(doc_id, reason)
        self.report.refused += sum(bool(each.refused) for each in written)
        self.report.done += len(written)
        self.report.seconds = self._before + time.monotonic() - self._started
        self.watch(self.report)
        self.limits.count(len(written), {repr(place): reason for place, reason in dead.items()})

    def _save_if_possible(self) -> Steps[None]:
        try:
            yield from self.save()
        except EsSemanticError:
            # What went wrong first matters more; what is not saved is read once more.
            return
