"""The rows of files as pages of documents, each row under its number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from es_semantic.cluster.steps import Compute, Pause, Steps
from es_semantic.reindex.document import Copied, Whole
from es_semantic.reindex.files.columns import BadRow, Columns, column, document_of, id_of, vector_of
from es_semantic.reindex.files.rows import File, Row
from es_semantic.reindex.lanes import Rate
from es_semantic.schema.binding import Binding
from es_semantic.sync.documents import Verdict, held, marks
from es_semantic.sync.feed import PAGE_CHARACTERS, Page
from es_semantic.sync.intervals import Interval
from es_semantic.sync.shards import Shard

ROWS = 512
"""In one page at most."""

SAMPLE = 1000
"""Rows that tell what the others are like."""

FILES = "files"
"""In place of an index's UUID: files have none, only the history of each."""


def shard_of(number: int, file: File, rows: int) -> Shard:
    """Return what stands for a file among the things that are read: its rows are its sequence numbers."""
    return Shard(file.path.name, FILES, number, file.history, rows - 1)


@dataclass(frozen=True, slots=True)
class RowReader:
    """Makes documents of rows."""

    columns: Columns
    binding: Binding
    name: str
    base64: bool

    def read(self, file: File, row: Row) -> Copied | None:
        """Return the document of a row, None for a blank one; one that is broken says why."""
        if row.value is None and not row.error:
            return None
        where = f"{file.path.name}:{row.line}"
        try:
            if row.value is None:
                raise BadRow(row.error)
            source = document_of(row.value, self.columns)
            doc_id = id_of(row.value, self.columns, f"{file.path.stem}-{row.number}")
            routing = self.columns.routing and _text(row.value, self.columns.routing)
            vector = vector_of(row.value, self.columns, self.binding.fingerprint.dims)
        except BadRow as error:
            return broken(where, f"line {row.line} of {file.path.name}: {error}")
        # What comes from elsewhere carries no state of ours.
        source.pop(self.name, None)
        reader = Whole(self.name, self.binding, vectors_hidden=False, base64=self.base64)
        copied = reader.read({"_id": doc_id, "_routing": routing, "_version": 1, "_source": source})
        if copied.verdict is Verdict.FOREIGN:
            return broken(where, f"line {row.line} of {file.path.name}: {copied.reason}")
        if vector is None or copied.verdict is not Verdict.STALE or self.binding.chunking is not None:
            return copied
        return copied.true(kept_state(copied, vector, self.binding, base64=self.base64))


def broken(where: str, reason: str) -> Copied:
    """Return what stands for a row that is no document."""
    return Copied(where, None, 1, b"{}", "", "", Verdict.FOREIGN, None, reason)


def kept_state(document: Copied, vector: NDArray[np.float32], binding: Binding, *, base64: bool) -> bytes:
    """Return the state of a document whose vector, shape (dims,), came with it."""
    span = [(0, len(document.text))]
    vectors = held(binding, vector[None, :], span, base64=base64)
    state = {**marks(binding, document.hash, "ready"), **vectors}
    return orjson.dumps({key: value for key, value in state.items() if value is not None})


@dataclass(slots=True)
class FileLanes:
    """The rows of files that are not done, page by page."""

    files: Sequence[File]
    reader: RowReader
    rate: Rate
    unread: deque[tuple[int, Shard, deque[Interval]]]
    _rows: Iterator[Row] | None = None
    _reading: int = -1
    _next: int = field(default=0)

    def next_page(self) -> Steps[list[Page[Copied]] | None]:
        """Return the next page, None at the end."""
        page: Page[Copied] | None = yield Compute(self._page)
        if page is None:
            return None
        seconds = self.rate.pause(len(page.documents))
        if seconds:
            yield Pause(seconds)
        return [page]

    def _page(self) -> Page[Copied] | None:
        if not self.unread:
            return None
        number, shard, intervals = self.unread[0]
        first, last = intervals[0]
        if self._rows is None or self._reading != number or self._next != first:
            self._rows = self.files[number].rows(first)
        self._reading = number
        documents: list[Copied] = []
        size, through = 0, last
        for row in self._rows:
            copied = self.reader.read(self.files[number], row)
            if copied is not None:
                documents.append(copied)
                size += len(copied.body)
            if row.number >= last or row.number - first >= ROWS - 1 or size >= PAGE_CHARACTERS:
                through = row.number
                break
        self._next = through + 1
        intervals[0] = (through + 1, last)
        if through >= last:
            intervals.popleft()
        if not intervals:
            self.unread.popleft()
        return Page(shard, documents, through, [(first, through)])


def open_files(
    files: Sequence[File], reader: RowReader, unread: Mapping[Shard, Sequence[Interval]], rate: Rate
) -> FileLanes:
    """Return the lanes of what is not done of these files, in their order."""
    waiting = sorted(((shard.number, shard, deque(every)) for shard, every in unread.items()), key=lambda one: one[0])
    return FileLanes(files, reader, rate, deque(one for one in waiting if one[2]))


def sample_rows(files: Sequence[File]) -> list[Row]:
    """Return the first rows with a value, a thousand at most."""
    found: list[Row] = []
    for file in files:
        for row in file.rows():
            if row.value is not None:
                found.append(row)
            if len(found) >= SAMPLE:
                return found
    return found


def _text(row: Mapping[str, Any], path: str) -> str | None:
    value = column(row, path)
    return None if value is None or isinstance(value, (Mapping, list)) else str(value)
