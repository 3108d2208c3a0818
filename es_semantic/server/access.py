"""Who is calling, and what they may do: pure functions, but for the look at the key file."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from es_semantic.errors import EsSemanticError, IndexUnavailable
from es_semantic.retrieval.tree.nodes import Json
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.server.keys import SCOPES, ApiKey, Keys, Scope


class Unauthorized(EsSemanticError):
    """There is no key, or none that is valid."""


class MalformedAuthorization(Unauthorized):
    """There is an Authorization header, and it is not of the form Bearer <key>; or there is none."""


class NotAllowed(EsSemanticError):
    """The key may not do this, or not there."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may do. ``admin`` includes the other scopes; ``filters`` go into every search."""

    caller: str
    scopes: frozenset[Scope]
    indices: tuple[str, ...]
    filters: tuple[Json, ...] = field(default=(), repr=False)
    raw: bool = False

    @property
    def admin(self) -> bool:
        """Whether the caller may do everything."""
        return "admin" in self.scopes

    def require(self, scope: Scope) -> None:
        """Make sure that the caller may do it.

        Raises:
            NotAllowed: it needs another scope.
        """
        if scope not in self.scopes and not self.admin:
            raise NotAllowed(f"this key may not {_VERBS[scope]}", hint=f"It needs the scope {scope!r}.")

    def require_names(self, index: str) -> list[str]:
        """Return the names in an index expression, each of which the caller may ask for.

        A pattern is allowed where the very same one is; what indices it leads to is for :meth:`reach`.

        Raises:
            NotAllowed: a name is not, or the expression is of a kind that only an unlimited key may use.
        """
        names = [name for name in index.split(",") if name]
        if not names:
            raise NotAllowed("no index is named", hint="Name one, or several with commas.")
        for name in names:
            if name.startswith(CONTROL_INDEX) or not self._may_name(name):
                raise NotAllowed(f"this key may not search {name!r}", hint=_may(self.indices))
        return names

    def reach(self, names: Sequence[str], behind: Mapping[str, Collection[str]]) -> str:
        """Return where to search for these names, given the concrete indices that each leads to.

        Whoever was given an alias by its name may follow it wherever it leads. A pattern covers only indices whose own
        names match it, and is searched by these, so that nobody widens it by a new alias.

        Raises:
            NotAllowed: a name leads to an index that the key does not cover.
        """
        found: list[str] = []
        for name in names:
            hidden = [concrete for concrete in behind[name] if not self.may_see(name, concrete)]
            if hidden and "*" not in name:
                raise NotAllowed(f"{name!r} leads beyond what this key may search", hint=_may(self.indices))
            if hidden and not self.unlimited:
                raise NotAllowed(f"{name!r} covers more than this key may search", hint=_may(self.indices))
            # Names that the key has, and patterns that may find everything, stay what they are.
            whole = not hidden and (name in self._exact or self.unlimited)
            found += [name] if whole else [concrete for concrete in behind[name] if concrete not in hidden]
        if not found:
            raise IndexUnavailable(f"there is no index {','.join(names)!r}", hint=_may(self.indices))
        return ",".join(dict.fromkeys(found))

    def may_see(self, name: str, concrete: str) -> bool:
        """Return whether the caller may search an index that this name leads to."""
        if concrete.startswith(CONTROL_INDEX):
            return False
        return name in self._exact or self._covers(concrete) or (self.unlimited and self.admin)

    @property
    def unlimited(self) -> bool:
        """Whether every index may be searched."""
        return "*" in self.indices

    @property
    def _exact(self) -> frozenset[str]:
        return frozenset(name for name in self.indices if "*" not in name)

    def _may_name(self, name: str) -> bool:
        if any(sign in name for sign in "<>:/\\") or name.startswith(("-", "_", ".")):
            return self.admin and self.unlimited and not name.startswith("_")
        return name in self.indices or self._covers(name)

    def _covers(self, name: str) -> bool:
        # Backing indices of a data stream have hidden names of their own.
        shown = name.removeprefix(".ds-")
        return not shown.startswith((".", CONTROL_INDEX)) and any(
            fnmatchcase(shown, pattern) for pattern in self.indices
        )


EVERYTHING = Access("anonymous", frozenset(SCOPES), ("*",), raw=True)
"""For a server without keys, which listens on this machine only."""


def access_of(key: ApiKey) -> Access:
    """Return what a key allows."""
    return Access(key.id, key.scopes, key.indices, key.filter, key.raw)


def authenticate(keys: Keys, authorization: str | None, *, open_without_keys: bool) -> Access:
    """Return what a request with this ``Authorization`` header may do; where there are no keys at all, everything.

    The latter only with ``open_without_keys``: a file of keys that goes astray must open nothing to other machines.

    Raises:
        Unauthorized: a key is needed, and there is no valid one.
        ConfigError: the file of keys cannot be read.
    """
    if open_without_keys and not keys.in_use():
        return EVERYTHING
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() not in ("bearer", "apikey") or not token.strip():
        raise MalformedAuthorization("an API key is needed", hint="Send the header: Authorization: Bearer <key>")
    key = keys.find(token.strip())
    if key is None:
        raise Unauthorized("the API key is not valid", hint="It may have expired, or been revoked.")
    return access_of(key)


def is_loopback(host: str) -> bool:
    """Return whether a host to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_VERBS: Mapping[Scope, str] = {
    "search": "search",
    "embed": "embed or rerank texts",
    "ingest": "add documents",
    "admin": "administer this server",
}


def _may(indices: Sequence[str]) -> str:
    return f"It may search: {', '.join(indices) or 'nothing'}."
