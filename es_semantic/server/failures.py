"""Errors as HTTP answers: pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from es_semantic.errors import (
    BindingConflict,
    ClusterError,
    ConfigError,
    EsSemanticError,
    FingerprintMismatch,
    Forbidden,
    IndexUnavailable,
    InputRejected,
    InvalidRetriever,
    MissingExtra,
    ModelUnavailable,
    Overloaded,
    RequestFailed,
    RerankerError,
    SchemaError,
    Unreachable,
    UsageError,
)
from es_semantic.server.access import NotAllowed, Unauthorized
from es_semantic.server.admission import WrongHost

UNAUTHORIZED = "is unauthorized for"
"""In Elasticsearch's words of what its own credentials may not do, also of single documents."""

RETRY_AFTER = {"Retry-After": "1"}
"""Seconds, for whoever found the server full."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP status, its headers, and what happened."""

    status: int
    error: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the answer's body."""
        return {"error": self.error, "request_id": request_id}


def failure_of(error: EsSemanticError) -> Failure:
    """Return how an error is answered."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if isinstance(error, RequestFailed):
        status = _PASSED_ON.get(error.status or 0, status)
    if (isinstance(error, Forbidden) and error.status is not None) or UNAUTHORIZED in error.what:
        status = 403
        # Elasticsearch's own words name the server's credentials.
        error = Forbidden(
            "Elasticsearch refuses this to the server's own credentials",
            hint="Whoever runs the server finds why in its log.",
        )
    if isinstance(error, ConfigError):
        error = ConfigError("the server is not set up rightly", hint="Whoever runs it finds why in its log.")
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else RETRY_AFTER if status in (429, 503) else {}
    told = {"type": type(error).__name__, "what": error.what, "hint": error.hint}
    if isinstance(error, InvalidRetriever):
        told["path"] = error.path
    return Failure(status, told, dict(headers))


def plain(status: int, kind: str, what: str, hint: str = "") -> Failure:
    """Return a failure that is no exception of ours."""
    return Failure(status, {"type": kind, "what": what, "hint": hint}, dict(RETRY_AFTER) if status == 429 else {})


_PASSED_ON = {400: 400, 404: 404, 408: 504, 429: 503}
"""Elasticsearch's statuses, and ours: what it cannot read or find was the caller's; that it is busy passes."""

_STATUSES: tuple[tuple[type[EsSemanticError], int], ...] = (
    (Unauthorized, 401),
    (NotAllowed, 403),
    (WrongHost, 400),
    (ConfigError, 500),
    (UsageError, 400),
    (Unreachable, 503),
    (IndexUnavailable, 404),
    # What a key's filter cannot be put into, or what the server's own credentials may not do.
    (Forbidden, 403),
    (RequestFailed, 502),
    (ClusterError, 502),
    (BindingConflict, 409),
    (FingerprintMismatch, 409),
    (SchemaError, 400),
    (Overloaded, 429),
    (MissingExtra, 501),
    (ModelUnavailable, 503),
    (InputRejected, 400),
    (RerankerError, 502),
)
"""The first one that fits counts."""
