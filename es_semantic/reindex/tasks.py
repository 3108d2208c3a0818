"""What the processes of a cluster do for a job: read windows, embed them, write them. No Ray here.

A window travels as bytes from one to the next, because each may run on another machine. So does an error of ours, in
the place of a window, because Ray keeps of an exception only its text.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from es_semantic.cluster.client import allow_deep_documents, connect
from es_semantic.cluster.steps import run
from es_semantic.config import ConnectionSettings
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.errors import EsSemanticError
from es_semantic.reindex.copy import CopyWindow
from es_semantic.reindex.document import Copied
from es_semantic.reindex.known import Target, with_known
from es_semantic.reindex.lanes import Rate
from es_semantic.reindex.origin import Origin
from es_semantic.reindex.writer import CopyWriter, Written
from es_semantic.schema.control import Version
from es_semantic.sync.embed import Embedded, Embedding, splitter
from es_semantic.sync.feed import Feed
from es_semantic.sync.intervals import Interval
from es_semantic.sync.observer import SILENT
from es_semantic.sync.partition import WHOLE
from es_semantic.sync.shards import Shard

Part = Mapping[Shard, Sequence[Interval]]
"""What one task reads: sequence numbers by shard."""

Batch = Mapping[str, Any]
"""One column of bytes."""

PART = "part"
WINDOW = "window"


@dataclass(frozen=True, slots=True)
class Done:
    """A window that is written: what it covers, and what became of its documents, without their texts and vectors."""

    window: CopyWindow
    written: list[Written]


@dataclass(frozen=True)
class Reading:
    """Reads a part of the source, window by window.

    ``known`` is the target where it may have some of the documents already, so that their vectors are looked for.
    """

    source: ConnectionSettings
    connection: ConnectionSettings
    origin: Origin
    known: Target | None
    rate: float | None
    """Documents a second of this task; None for as fast as it goes."""

    def __call__(self, batch: Batch) -> Iterator[dict[str, list[bytes]]]:
        """Yield the windows of each part, each by itself."""
        allow_deep_documents()
        rate = Rate(self.rate)
        try:
            for packed in batch[PART]:
                for window in self.windows(pickle.loads(packed)):
                    count = len(window.documents)
                    yield {WINDOW: [pickle.dumps(window)]}
                    time.sleep(rate.pause(count))
        except EsSemanticError as error:
            yield {WINDOW: [pickle.dumps(error)]}

    def windows(self, part: Part) -> Iterator[CopyWindow]:
        """Yield windows until the part is read."""
        feed: Feed[Copied] = Feed(self.origin.reader, WHOLE, self.origin.target.max_result_window, part)
        window = CopyWindow()
        with connect(self.source) as client:
            while (page := run(client, feed.next_page())) is not None:
                window.documents += page.documents
                window.covered.append((page.shard, page.covered))
                if window.full:
                    yield self._looked_up(window)
                    window = CopyWindow()
        if window.covered:
            yield self._looked_up(window)

    def _looked_up(self, window: CopyWindow) -> CopyWindow:
        if self.known is not None:
            with connect(self.connection) as client:
                window.documents = run(client, with_known(self.known, window.documents))
        return window


class EmbeddingTask:
    """Holds the model in a process of its own, and embeds the texts of windows."""

    def __init__(self, load: Callable[[], Embedder], target: Target) -> None:
        self.target = target
        self.embedding: Embedding | None = None
        self.load = load

    def __call__(self, batch: Batch) -> dict[str, list[bytes]]:
        """Return the windows with their vectors, and without the texts."""
        return {WINDOW: [_handed_on(packed, self._embed) for packed in batch[WINDOW]]}

    def _embed(self, window: CopyWindow) -> CopyWindow:
        if self.embedding is None:
            self.embedding = self._loaded()
        texts = [document.text for document in window.stale]
        if texts:
            window.embedded = self.embedding(texts)
        window.documents = [replace(document, text="") for document in window.documents]
        return window

    def _loaded(self) -> Embedding:
        """The model of another machine may have the same name and other weights."""
        embedder, binding = self.load(), self.target.binding
        assert binding is not None
        require_same_model(binding.fingerprint, embedder.profile.fingerprint, index=self.target.index)
        return Embedding(embedder, splitter(embedder, binding.chunking), SILENT)


@dataclass
class Writing:
    """Writes windows. ``letters`` are the dead letters of the target that are known already."""

    connection: ConnectionSettings
    source: ConnectionSettings
    target: Target
    origin: Origin
    letters: dict[str, Version] = field(default_factory=dict)

    def __call__(self, batch: Batch) -> dict[str, list[bytes]]:
        """Return what became of each window."""
        allow_deep_documents()
        return {WINDOW: [_handed_on(packed, self._write) for packed in batch[WINDOW]]}

    def _write(self, window: CopyWindow) -> Done:
        with connect(self.connection) as client, connect(self.source) as source:
            asked = replace(self.origin, client=source)
            writer = CopyWriter(self.target, SILENT, asked.versions, letters=dict(self.letters))
            written = run(client, writer.write(window.documents, window.embedded))
        return Done(CopyWindow(covered=window.covered), [_light(each) for each in written])


def _handed_on(packed: bytes, work: Callable[[CopyWindow], Any]) -> bytes:
    """Return what is made of a window; an error, of an earlier task or of this one, takes its place."""
    given = pickle.loads(packed)
    if isinstance(given, EsSemanticError):
        return packed
    try:
        return pickle.dumps(work(given))
    except EsSemanticError as error:
        return pickle.dumps(error)


def _light(written: Written) -> Written:
    """Return what is counted of a document."""
    document = replace(written.document, body=b"", state=None if written.document.state is None else b"")
    return replace(written, document=document, embedded=None if written.embedded is None else Embedded(None))
