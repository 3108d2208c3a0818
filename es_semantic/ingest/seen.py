"""Which documents a run has come upon: kept on disk, so that memory does not grow with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from types import TracebackType


class Seen:
    """Ids of documents with the label of the first that had it; some with the version that shall be the only one.

    SQLite keeps a database without a name in a temporary file, and deletes it with the connection (SQLite docs,
    "Temporary Databases").
    """

    def __init__(self) -> None:
        # One call after the other, but in the asynchronous shell from several threads.
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, label TEXT, hash TEXT) WITHOUT ROWID")

    def first(self, doc_id: str, label: str) -> str:
        """Return the label under which this id came first: the given one, if it has not come before."""
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, NULL)", (doc_id, label))
        (found,) = self._database.execute("SELECT label FROM seen WHERE id = ?", (doc_id,)).fetchone()
        return str(found)

    def replace(self, doc_id: str, document_hash: str) -> None:
        """Note that other versions of the document than this one shall go."""
        self._database.execute("UPDATE seen SET hash = ? WHERE id = ?", (document_hash, doc_id))

    def __contains__(self, doc_id: str) -> bool:
        """Whether a document of this id has come."""
        return self._database.execute("SELECT 1 FROM seen WHERE id = ?", (doc_id,)).fetchone() is not None

    def replaced(self, size: int) -> Iterator[Sequence[tuple[str, str]]]:
        """Yield ids and versions noted by :meth:`replace`, so many at once."""
        last = ""
        query = "SELECT id, hash FROM seen WHERE hash IS NOT NULL AND id > ? ORDER BY id LIMIT ?"
        while rows := self._database.execute(query, (last, size)).fetchall():
            yield rows
            last = rows[-1][0]

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()
