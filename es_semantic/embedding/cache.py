"""Vectors that were made before, kept in one SQLite file for all runs and processes of one person."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import numpy as np

from es_semantic.embedding.cache_file import CacheUnusable, connect, is_damage, remove_damaged
from es_semantic.embedding.protocol import Vectors

T = TypeVar("T")

Row = tuple[bytes, bool, int, bytes]
"""Key, over_long, checksum, vector."""

PARAMETERS = 500
"""Keys in one SELECT; SQLite's own limit was 999 before 3.32 (sqlite.org/limits.html)."""

FILL = 0.9
"""Eviction goes on until this part of the cap is used; what is free then takes the next writes without growing."""

EVICTED_AT_ONCE = 256
"""Vectors deleted by one statement."""

REST_SECONDS = 60.0
"""After a failure (disk full, locked, not writable) the file is left alone for so long, then tried again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedVector:
    """``vector`` has shape (dims,), float32; ``over_long`` tells that it stands for the beginning of its text only."""

    vector: Vectors
    over_long: bool = False


class VectorCache:
    """A map from keys of any bytes to vectors that outlives the process and never raises.

    Safe to use from several threads and processes at once. A file that is locked, on a full disk or not writable means
    misses, one warning, and another try a minute later; a damaged file is replaced by a new one; a file that is not
    ours is left as it is. Every row carries a checksum over key and vector, so what is damaged is a miss, never a wrong
    vector.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open nothing yet.

        ``max_bytes`` caps the file, oldest vectors leave first; below about 1 MiB little fits, 0 turns the cache off.
        A write-ahead log of some megabytes lies beside the file while it is in use.
        """
        self.path = path
        self.max_bytes = max_bytes
        self._connection: sqlite3.Connection | None = None
        self._closing: weakref.finalize[[sqlite3.Connection], VectorCache] | None = None
        self._inode: int | None = None
        self._rests_until = 0.0
        self._warned: set[str] = set()
        self._turn = threading.Lock()

    def get_many(self, keys: Sequence[bytes], *, dims: int) -> dict[bytes, CachedVector]:
        """Return what is known; a vector of another size, with NaN or infinity, or damaged counts as not known."""
        return self._use(lambda connection: _read(connection, keys, dims), {}) if keys else {}

    def put_many(self, vectors: Mapping[bytes, CachedVector]) -> None:
        """Keep the vectors, as many as the cap allows; a key that is there already gets the new vector."""
        if vectors:
            self._use(lambda connection: _write(connection, vectors, self.max_bytes), None)

    def close(self) -> None:
        """Close the file; the next use opens it again. Done by itself when nobody holds this cache any more."""
        with self._turn:
            self._close()

    def _use(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        with self._turn:
            if self.max_bytes <= 0 or time.monotonic() < self._rests_until:
                return otherwise
            for first in (True, False):
                try:
                    return work(self._connected())
                except (sqlite3.Error, OSError, ValueError) as error:
                    # The second try is for the new file that has taken a damaged one's place.
                    if not (first and self._replaced(error)):
                        self._rest(error)
                        return otherwise
        return otherwise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            # Of the file as it is before anybody finds fault with it: only that one may be removed.
            self._inode = _inode(self.path)
            self._connection = connect(self.path)
            self._closing = weakref.finalize(self, _close_quietly, self._connection)
            self._inode = _inode(self.path)
        return self._connection

    def _replaced(self, error: Exception) -> bool:
        ours = self._connection is not None
        self._close()
        if not is_damage(error):
            return False
        try:
            remove_damaged(self.path, self._inode, known_as_ours=ours)
        except CacheUnusable as reason:
            self._warn("off", f"going on without an embedding cache: {reason}")
            return False
        except OSError:
            return False
        self._warn("replaced", f"the embedding cache {self.path} was damaged and is started anew")
        return True

    def _rest(self, error: Exception) -> None:
        self._close()
        self._rests_until = time.monotonic() + REST_SECONDS
        self._warn("off", f"going on without the embedding cache {self.path}: {_first_line(error)}")

    def _warn(self, kind: str, message: str) -> None:
        level = logging.DEBUG if kind in self._warned else logging.WARNING
        self._warned.add(kind)
        log.log(level, message)

    def _close(self) -> None:
        if self._closing is not None:
            self._closing()
        self._connection = self._closing = None


_open: weakref.WeakValueDictionary[tuple[int, Path, int], VectorCache] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def open_cache(path: Path, max_bytes: int) -> VectorCache:
    """Return the process's cache of that file and cap; the file is closed when its last user is gone."""
    # A child process must not use a connection of its parent (sqlite.org/howtocorrupt.html).
    key = (os.getpid(), path.absolute(), max_bytes)
    with _opening:
        found = _open.get(key)
        if found is None:
            found = _open[key] = VectorCache(path, max_bytes)
        return found


def _close_quietly(connection: sqlite3.Connection) -> None:
    try:
        connection.close()
    except sqlite3.Error as error:
        log.debug("the embedding cache could not be closed: %s", _first_line(error))


def _read(connection: sqlite3.Connection, keys: Sequence[bytes], dims: int) -> dict[bytes, CachedVector]:
    rows: list[tuple[bytes, bool, bytes]] = []
    for start in range(0, len(keys), PARAMETERS):
        some = keys[start : start + PARAMETERS]
        marks = ",".join("?" * len(some))
        found = connection.execute(f"SELECT key, over_long, crc, vector FROM vectors WHERE key IN ({marks})", some)
        rows += [
            (key, bool(over_long), vector)
            for key, over_long, crc, vector in found
            if isinstance(key, bytes)
            and isinstance(vector, bytes)
            and len(vector) == 4 * dims
            and crc == _crc(key, bool(over_long), vector)
        ]
    vectors = np.frombuffer(b"".join(vector for *_, vector in rows), dtype="<f4").astype(np.float32, copy=False)
    vectors = vectors.reshape(len(rows), dims)
    finite = np.logical_and.reduce(np.isfinite(vectors), axis=1)
    return {key: CachedVector(vectors[i], over_long) for i, (key, over_long, _) in enumerate(rows) if bool(finite[i])}


def _write(connection: sqlite3.Connection, vectors: Mapping[bytes, CachedVector], max_bytes: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for rows in _chunks(vectors, max_bytes):
            before = _used(connection)
            connection.executemany(
                "INSERT OR REPLACE INTO vectors (key, over_long, crc, vector) VALUES (?, ?, ?, ?)", rows
            )
            # A cap that was lowered is reached little by little, so that no write takes seconds.
            size = sum(len(row[-1]) for row in rows)
            _evict(connection, max(int(max_bytes * FILL), before - 4 * size))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    _shrink(connection, max_bytes)


def _chunks(vectors: Mapping[bytes, CachedVector], max_bytes: int) -> Iterator[list[Row]]:
    """Rows in portions of about a twentieth of the cap at most, so that the file stays below it between evictions."""
    rows: list[Row] = []
    size = 0
    # In the order of the keys, the index is walked once through instead of jumped about in.
    for key, cached in sorted(vectors.items(), key=itemgetter(0)):
        data = np.ascontiguousarray(cached.vector, dtype="<f4").tobytes()
        if rows and (size + len(data) > max_bytes / 20 or len(rows) == EVICTED_AT_ONCE):
            yield rows
            rows, size = [], 0
        rows.append((key, cached.over_long, _crc(key, cached.over_long, data), data))
        size += len(data)
    yield rows


def _evict(connection: sqlite3.Connection, goal: int) -> None:
    while _used(connection) > goal:
        oldest = "SELECT id FROM vectors ORDER BY id LIMIT ?"
        deleted = connection.execute(f"DELETE FROM vectors WHERE id IN ({oldest})", (EVICTED_AT_ONCE,))
        if deleted.rowcount <= 0:
            return


def _shrink(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Give free pages back to the disk where the file is over the cap, as after the cap was lowered."""
    pages, free, page_size = _pages(connection)
    surplus = min(free, pages - max_bytes // page_size)
    if surplus > 0:
        # As a script: `execute` would stop at the first page, for which this pragma returns an empty row.
        connection.executescript(f"PRAGMA incremental_vacuum({surplus})")


def _used(connection: sqlite3.Connection) -> int:
    pages, free, page_size = _pages(connection)
    return (pages - free) * page_size


def _pages(connection: sqlite3.Connection) -> tuple[int, int, int]:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, page_size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return pages, free, page_size


def _crc(key: bytes, over_long: bool, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key, int(over_long)))


def _inode(path: Path) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
