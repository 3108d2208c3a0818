"""Documents become chunks: compared with what is there, converted, cut, written; what is no more is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.errors import TooManyFailures, UsageError
from es_semantic.ingest.chunks import chunk_items
from es_semantic.ingest.convert import Converters, converter_version
from es_semantic.ingest.cut import Cutter, cutter_for
from es_semantic.ingest.documents import Document, Unreadable
from es_semantic.ingest.files import CONVERTED
from es_semantic.ingest.index import ChunkIndex
from es_semantic.ingest.letters import Letters, Reasons
from es_semantic.ingest.report import BLANK, IngestReport, Watcher
from es_semantic.ingest.seen import Seen
from es_semantic.ingest.stored import (
    Standing,
    batches,
    delete_chunks,
    documents_below,
    documents_query,
    older_than,
    standings,
)
from es_semantic.sync import bulk
from es_semantic.sync.dead_letters import now
from es_semantic.sync.limits import MAX_FAILURES
from es_semantic.sync.shards import refresh

BATCH = 64
"""Documents that are compared, converted and written together."""

CONVERTED_WEIGHS = 8
"""One that must be converted counts as so many: it may take seconds."""

BATCH_BYTES = 16 * 1024 * 1024
"""A batch is full where its documents have as many bytes."""

REPLACED = 100
"""Documents whose older chunks are looked for in one request."""

NOTHING = ""
"""The hash of a document that has no text any more: no chunk has it."""


@dataclass(slots=True)
class Batches:
    """Takes documents from where they are read, a batch at a time; ``next`` returns none at the end."""

    documents: Iterator[Document]

    def next(self) -> list[Document]:
        """Read the next batch."""
        batch: list[Document] = []
        weight = size = 0
        for document in self.documents:
            batch.append(document)
            weight += CONVERTED_WEIGHS if document.kind in CONVERTED else 1
            size += len(document.data)
            if weight >= BATCH or size >= BATCH_BYTES:
                break
        return batch


@dataclass
class Ingestion:
    """One run over the documents of one dataset.

    ``write`` is called for all of them; then the index is synced; then ``remove`` takes out what they have replaced, so
    that a document is found at any time. ``again`` says that documents which failed before are tried once more;
    ``strict`` that one which fails is an error, and leaves no dead letter.
    """

    into: ChunkIndex
    letters: Letters
    seen: Seen
    converters: Converters
    report: IngestReport
    watch: Watcher
    again: bool = False
    strict: bool = False
    moved: int = 0
    new_failures: int = 0
    size: bulk.BodySize = field(default_factory=bulk.BodySize)

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.report.dataset

    @cached_property
    def cutter(self) -> Cutter:
        """How texts are cut; loads the model."""
        return cutter_for(self.into.embedder())

    def begin(self) -> Steps[None]:
        """Learn what is there, also what a run has written that was killed a moment ago."""
        yield from refresh(self.into.target)
        if not self.strict:
            yield from self.letters.load()

    def write(self, documents: Iterator[Document]) -> Steps[None]:
        """Put new and changed documents into the index.

        Raises:
            UsageError: a document failed, and this run is strict.
            TooManyFailures: more than 1,000 documents failed that had not failed before.
            MissingExtra: the library that converts files is not installed.
            ClusterError: Elasticsearch failed; what was written stays, and the next run goes on.
        """
        source = Batches(documents)
        while batch := (yield Compute(source.next)):
            yield from self._batch(batch)
            self.watch(self.report)
        if self.moved:
            self.report.notes.append(f"{self.moved} documents had come from another source before")

    def remove(self) -> Steps[None]:
        """Delete the chunks that were replaced."""
        yield from refresh(self.into.target)
        for some in self.seen.replaced(REPLACED):
            yield from self._delete(documents_query(self.dataset, older_than(some)))

    def remove_gone(self, root: str, closed: Sequence[str]) -> Steps[None]:
        """Delete the documents of files that are no more below a folder; of ``closed`` folders nothing is known."""
        below, protected = f"{root.rstrip('/')}/", tuple(f"{folder.rstrip('/')}/" for folder in closed)
        found = yield from documents_below(self.into.target.name, self.dataset, below)
        gone = [doc_id for doc_id, source in found if doc_id not in self.seen and not source.startswith(protected)]
        for some in batches(gone, REPLACED):
            yield from self._delete(documents_query(self.dataset, {"terms": {"document_id": list(some)}}))
            self.report.deleted += len(some)
        yield from self.clear(lambda label: f"{label}/".startswith(below) and not label.startswith(protected))

    def clear(self, concerned: Callable[[str], bool]) -> Steps[None]:
        """Delete the dead letters under these labels, but those of documents that have failed this time."""
        failed = self.letters.failed
        yield from self.letters.clear(
            [label for label in self.letters.known if concerned(label) and label not in failed]
        )

    def _delete(self, query: Mapping[str, Any]) -> Steps[None]:
        self.report.removed += yield from delete_chunks(self.into.target, query)
        self.watch(self.report)

    def _batch(self, batch: Sequence[Document]) -> Steps[None]:
        failed: Reasons = {}
        fresh = [document for document in batch if self._is_fresh(document, failed)]
        hashes: dict[str, str] = yield Compute(lambda: {document.id: self._hash(document) for document in fresh})
        known = yield from standings(self.into.target.name, self.dataset, list(hashes))
        wanted = [d for d in fresh if not self._is_settled(d, hashes[d.id], known.get(d.id), failed)]
        texts: list[str | Unreadable] = yield Compute(lambda: self.converters.texts(wanted))
        ready: list[_Ready] = []
        for document, text in zip(wanted, texts, strict=True):
            if isinstance(text, Unreadable):
                failed[document.label] = (hashes[document.id], str(text))
                continue
            pieces: list[str] = yield Compute(partial(self._pieces, text))
            if pieces:
                ready.append(_Ready(document, hashes[document.id], pieces, known.get(document.id)))
            else:
                self._blank(document, known.get(document.id), failed)
        yield from self._put(ready, failed)
        yield from self._fail(failed)

    def _is_fresh(self, document: Document, failed: Reasons) -> bool:
        """Say whether a document can be read, and no other of its id has come before in this run."""
        first = self.seen.first(document.id, document.label) if document.id else document.label
        if document.broken:
            failed[document.label] = (NOTHING, document.broken)
        elif first != document.label:
            failed[document.label] = (NOTHING, f"its id is that of {first} already")
        return document.label not in failed

    def _is_settled(self, document: Document, hashed: str, standing: Standing | None, failed: Reasons) -> bool:
        """Say whether nothing is to be written: the index has it, or the same has failed before."""
        if standing is not None and standing.has(hashed):
            self.report.unchanged += 1
            if standing.has_other(hashed):
                self.seen.replace(document.id, hashed)
            return True
        reason = "" if self.again else self.letters.reason(document.label, hashed)
        if reason:
            failed[document.label] = (hashed, reason)
        return bool(reason)

    def _pieces(self, text: str) -> list[str]:
        return self.cutter.pieces(text) if text.strip() else []

    def _blank(self, document: Document, standing: Standing | None, failed: Reasons) -> None:
        if self.strict:
            failed[document.label] = (NOTHING, "it holds no text")
            return
        self.report.skip(BLANK)
        if standing is not None:
            self.report.deleted += 1
            self.seen.replace(document.id, NOTHING)

    def _put(self, ready: Sequence[_Ready], failed: Reasons) -> Steps[None]:
        at = now()
        items = [each.items(self.into.target.name, self.dataset, at) for each in ready]
        written = yield from bulk.write([item for some in items for item in some], size=self.size)
        outcomes = iter(written)
        for each in ready:
            own = [next(outcomes) for _ in each.pieces]
            refused = [outcome for outcome in own if not outcome.ok]
            self.report.chunks += len(own) - len(refused)
            if refused:
                why = f"{len(refused)} of its {len(own)} chunks were refused: {refused[0].reason}"
                failed[each.document.label] = (each.hashed, why)
            elif each.standing is None:
                self.report.new += 1
            else:
                self.report.changed += 1
                self.moved += each.standing.source != each.document.source
                self.seen.replace(each.document.id, each.hashed)

    def _fail(self, failed: Reasons) -> Steps[None]:
        for label, (_, reason) in failed.items():
            if self.strict:
                raise UsageError(f"{label} cannot be ingested: {reason}")
            self.report.fail(label, reason)
        self.new_failures += yield from self.letters.write(failed)
        if self.new_failures > MAX_FAILURES:
            raise TooManyFailures(
                f"stopped, because {self.new_failures} documents failed; the last: {label}: {reason}",
                hint="Mend the cause and run the same command again; it goes on where it stopped.",
            )

    def _hash(self, document: Document) -> str:
        settings = self.into.binding.fingerprint.id
        if document.kind in CONVERTED:
            settings += f" markitdown {converter_version()}"
        return document.hash(settings)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A document that can be written, and what the index has of it."""

    document: Document
    hashed: str
    pieces: Sequence[str]
    standing: Standing | None

    def items(self, index: str, dataset: str, at: str) -> list[bulk.Item]:
        return chunk_items(index, dataset, self.document, self.pieces, document_hash=self.hashed, now=at)
