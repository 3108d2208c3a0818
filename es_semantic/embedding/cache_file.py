"""The embedding cache's file: open it or make it, tell ours from others', remove a damaged one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from filelock import FileLock

APPLICATION_ID = 0x65735663
"""Says in the header whose file it is (sqlite.org/fileformat2.html, "Application ID", bytes 68 to 71)."""

LAYOUT = 1
"""Version of the table below; a file with another one is started anew."""

BUSY_SECONDS = 5.0
"""How long to wait while another process writes."""

PAGE_SIZE = 8192
"""Bytes. Five vectors of 384 dimensions to a page; SQLite's 4096 holds two and leaves a quarter empty."""

LOG_LIMIT = 16 * 1024 * 1024
"""Bytes to which the write-ahead log is cut once its content is in the file."""

_TABLE = """
CREATE TABLE vectors (
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL UNIQUE,
  over_long INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  vector BLOB NOT NULL
)
"""


class CacheUnusable(sqlite3.DatabaseError):
    """What is at the path is not an embedding cache and must not be touched."""


class _OtherLayout(sqlite3.DatabaseError):
    """The file is ours, of another version."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the cache file, readable by its owner only; make it, and its folder, where there is none.

    Raises:
        CacheUnusable: a database of something else is there.
        sqlite3.Error: it is damaged, locked, or cannot be written; :func:`is_damage` tells which.
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        _create_private(path)
        # No automatic transactions; its user takes care that one thread at a time uses it.
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def is_damage(error: Exception) -> bool:
    """Whether a new file would help."""
    # SQLite quotes a damaged table definition in its error, which then is no UTF-8.
    if isinstance(error, _OtherLayout | UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # Plain SQLITE_ERROR is what a statement gets that is right but for a table of another shape.
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def remove_damaged(path: Path, inode: int | None, *, known_as_ours: bool) -> None:
    """Remove the file with its logs, unless another process has done so since the file ``inode`` was opened.

    Raises:
        CacheUnusable: nothing shows that the file is ours.
        OSError: it cannot be removed.
    """
    with _alone(path):
        if not path.exists() or path.stat().st_ino != inode:
            return
        if not (known_as_ours or _has_our_header(path)):
            raise _not_ours(path)
        for part in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            part.unlink(missing_ok=True)


def _alone(path: Path) -> FileLock:
    return FileLock(f"{path}.lock", timeout=BUSY_SECONDS)


def _create_private(path: Path) -> None:
    # Only ever a new file: closing a descriptor of an open database would drop SQLite's locks on it.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.text_factory = bytes
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if owner == APPLICATION_ID:
        if connection.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            raise _OtherLayout("made by another version of es-semantic")
        _tune(connection)
    elif owner or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise _not_ours(path)
    else:
        _create(connection)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _tune(connection)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_TABLE)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {LAYOUT}")
    connection.execute("COMMIT")


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # Waits for no disk: three times faster, and harmless to whoever kills this process. A machine that loses power may
    # leave a damaged file (sqlite.org/pragma.html), which the checksums tell and a new file replaces.
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")


def _has_our_header(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(100)
    # A machine that loses power may leave a new file full of zeros.
    ours = header.startswith(b"SQLite format 3\0") and header[68:72] == APPLICATION_ID.to_bytes(4, "big")
    return ours or not header.strip(b"\0")


def _not_ours(path: Path) -> CacheUnusable:
    return CacheUnusable(f"{path} is not an embedding cache; remove it, or set embedding_cache.path to another file")
