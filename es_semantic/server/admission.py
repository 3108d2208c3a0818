"""Who is let in, by the head of a request alone: nothing of its body is read for anybody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from es_semantic.config import ServeSettings
from es_semantic.errors import EsSemanticError
from es_semantic.server.access import Access, NotAllowed, authenticate, is_loopback
from es_semantic.server.keys import Keys

OPEN = frozenset(["/", "/docs", "/docs/oauth2-redirect", "/openapi.json", "/healthz", "/readyz"])
OPEN_BELOW = "/static-offline-docs/"
"""Pages without data, for which no key is needed."""


class WrongHost(EsSemanticError):
    """The request names another host than this machine."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules of one server; ``open_without_keys`` says whether somebody may do everything where there are none."""

    settings: ServeSettings
    keys: Keys
    open_without_keys: bool

    def admit(self, path: str, headers: Mapping[bytes, str]) -> Access | None:
        """Return what the request may do; None for pages that are open to all.

        A server that listens on this machine only answers requests that name this machine as their host and do not come
        from a page of another one: else any web page could reach it, by a name of its own (DNS rebinding) or blindly.

        Raises:
            WrongHost: it names another host.
            NotAllowed: it comes from a web page of another origin.
            Unauthorized: it needs a key, and has no valid one.
            ConfigError: the file of keys cannot be read.
        """
        if is_loopback(self.settings.host):
            if not is_loopback(_name(headers.get(b"host", ""))):
                raise WrongHost("the request names another host", hint="Use http://localhost.")
            if not self._from_here(headers):
                raise NotAllowed("web pages of other origins may not call this server", hint="See serve.cors_origins.")
        if path in OPEN or path.startswith(OPEN_BELOW):
            return None
        return authenticate(self.keys, headers.get(b"authorization"), open_without_keys=self.open_without_keys)

    def _from_here(self, headers: Mapping[bytes, str]) -> bool:
        origin = headers.get(b"origin")
        if origin is None:
            return headers.get(b"sec-fetch-site", "none") != "cross-site"
        return origin in self.settings.cors_origins or is_loopback(_host_of(origin))


def _host_of(origin: str) -> str:
    try:
        return (urlsplit(origin).hostname or "").lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name.strip("[]").lower()
