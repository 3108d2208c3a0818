"""API keys: made by the command line, kept as hashes in one file, read anew when the file changes."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from es_semantic.errors import ConfigError, UsageError
from es_semantic.retrieval.query import filter_clauses

Scope = Literal["search", "embed", "ingest", "admin"]
SCOPES: tuple[Scope, ...] = ("search", "embed", "ingest", "admin")

PREFIX = "ess"
SECRET_BYTES = 32


class ApiKey(BaseModel):
    """A key as it is kept; the secret itself is not.

    ``indices`` are names or patterns, which match indices and aliases. ``filter`` are query clauses that everything it
    finds must match. With ``raw`` its searches may hold scripts, ``query_string`` and lookups.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str
    name: str
    hash: str = Field(repr=False)
    scopes: frozenset[Scope]
    indices: tuple[str, ...]
    filter: tuple[dict[str, Any], ...] = ()
    raw: bool = False
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    keys: tuple[ApiKey, ...] = ()


class Keys:
    """The file of keys. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._known: dict[str, ApiKey] = {}
        self._used = False
        self._lock = threading.Lock()

    def all(self) -> tuple[ApiKey, ...]:
        """Return the keys, oldest first; none where there is no file.

        Raises:
            ConfigError: the file cannot be read.
        """
        return tuple(self._current().values())

    def in_use(self) -> bool:
        """Return whether there are keys, or were: a file that goes astray must open nothing.

        Raises:
            ConfigError: the file cannot be read.
        """
        self._used = self._used or bool(self._current())
        return self._used

    def find(self, token: str) -> ApiKey | None:
        """Return the valid key of a token; None where there is none.

        Raises:
            ConfigError: the file cannot be read.
        """
        prefix, _, rest = token.partition("_")
        id, _, secret = rest.partition("_")
        key = self._current().get(id) if prefix == PREFIX else None
        # Compared in any case, so that the time it takes does not tell whether there is such a key.
        right = hmac.compare_digest(_hash(secret), key.hash if key is not None else _hash(""))
        return key if key is not None and right and key.valid(datetime.now(UTC)) else None

    def create(
        self,
        name: str,
        *,
        scopes: Iterable[str],
        indices: Sequence[str],
        filters: Sequence[dict[str, Any]] = (),
        raw: bool = False,
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Add a key, and return it with its token, which is not kept and cannot be shown again.

        Raises:
            UsageError: no such scope, no indices, or a filter that is no query clause or goes together with ``raw``.
            ConfigError: the file cannot be read or written.
        """
        secret = secrets.token_urlsafe(SECRET_BYTES)
        key = ApiKey(
            id=secrets.token_hex(6),
            name=_required(name),
            hash=_hash(secret),
            scopes=frozenset(_scopes(scopes)),
            indices=_indices(indices),
            filter=tuple(filter_clauses(filters)),
            raw=raw,
            created_at=datetime.now(UTC),
            expires_at=expires_at,
        )
        if raw and (key.filter or key.indices != ("*",)):
            raise UsageError(
                "a raw key can have no filter and must have all indices: a lookup sees beyond both",
                hint="Make it with --index '*', or without --raw.",
            )
        with self._writing() as keys:
            keys.append(key)
        return key, f"{PREFIX}_{key.id}_{secret}"

    def revoke(self, id: str) -> ApiKey:
        """Revoke a key by its id; one that is revoked already stays as it is.

        Raises:
            UsageError: there is no key of that id.
        """
        with self._writing() as keys:
            for place, key in enumerate(keys):
                if key.id == id:
                    if key.revoked_at is None:
                        keys[place] = key.model_copy(update={"revoked_at": datetime.now(UTC)})
                    return keys[place]
        raise UsageError(f"there is no key {id!r}", hint="`es-semantic key list` shows the ids.")

    def _current(self) -> dict[str, ApiKey]:
        with self._lock:
            seen = _stamp(self.path)
            if seen is None or seen != self._seen:
                self._known = {} if seen is None else {key.id: key for key in _read(self.path)}
                self._seen = seen
            return self._known

    def _writing(self) -> _Writing:
        return _Writing(self.path)


class _Writing:
    """The keys of a file, written back where nothing was raised; one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(f"{path}.lock")
        self._keys: list[ApiKey] = []

    def __enter__(self) -> list[ApiKey]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise _unusable(self._path, error) from error
        self._keys = list(_read(self._path)) if self._path.exists() else []
        return self._keys

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                _write(self._path, self._keys)
        finally:
            self._lock.release()


def _read(path: Path) -> tuple[ApiKey, ...]:
    try:
        return _File.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise _unusable(path, error) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"{path}: {where}: {first['msg']}", hint="Restore it from a copy, or move it away and make new keys."
        ) from None


def _write(path: Path, keys: Sequence[ApiKey]) -> None:
    beside = path.with_name(f"{path.name}.new")
    try:
        # Nobody but the owner may read it, from its first byte on.
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(_File(keys=tuple(keys)).model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: {error.strerror or error}", hint="Choose another file with serve.keys.")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _hash(secret: str) -> str:
    """SHA-256 is enough for 32 random bytes: there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _required(name: str) -> str:
    if not name.strip():
        raise UsageError("a key needs a name", hint="Say who uses it.")
    return name


def _scopes(scopes: Iterable[str]) -> list[Scope]:
    given = list(scopes)
    for scope in given:
        if scope not in SCOPES:
            raise UsageError(f"there is no scope {scope!r}", hint=f"Scopes are {', '.join(SCOPES)}.")
    if not given:
        raise UsageError("a key needs a scope", hint=f"Scopes are {', '.join(SCOPES)}.")
    return [scope for scope in SCOPES if scope in given]


def _indices(indices: Sequence[str]) -> tuple[str, ...]:
    for pattern in indices:
        if not pattern or any(sign in pattern for sign in ',<>:/\\?"|[] #') or pattern.startswith(("-", "_", "+")):
            raise UsageError(
                f"{pattern!r} is no index name or pattern", hint="For example: articles, or articles-* for several."
            )
    return tuple(dict.fromkeys(indices))
