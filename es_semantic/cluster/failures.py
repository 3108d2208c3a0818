"""Turn the client library's exceptions into ours: what happened, to which request, what to do next."""

from __future__ import annotations

import re
from typing import Any

from elastic_transport import ConnectionError as TransportConnectionError
from elastic_transport import ConnectionTimeout, SerializationError, TlsError, TransportError
from elasticsearch import ApiError, UnsupportedProductError

from es_semantic.errors import (
    ClusterError,
    Forbidden,
    IndexUnavailable,
    NotElasticsearch,
    RequestFailed,
    Unreachable,
)
from es_semantic.masking import masked, masked_reason

_WRITES = re.compile(r"/_(?:bulk|create|doc|update|update_by_query|reindex)\b")
"""Paths of requests that Elasticsearch may refuse because of a document."""

_BLOCKED = "cluster_block_exception"
_UNAVAILABLE = {"index_not_found_exception", "index_closed_exception", "no_shard_available_action_exception"}
LICENCE = "current license is non-compliant"
"""In the reason of what a licence does not allow."""


def translate(error: ApiError | TransportError | UnsupportedProductError, request: str) -> ClusterError:
    """Return our exception for a client exception raised by ``request`` (method and path)."""
    if isinstance(error, UnsupportedProductError):
        return _not_elasticsearch(request)
    if isinstance(error, ApiError):
        return _refused(error, request)
    if isinstance(error, SerializationError):
        return _not_elasticsearch(request)
    return _unanswered(error, request)


def failure(status: int, body: Any, request: str) -> ClusterError:
    """Return our exception for an error body of Elasticsearch: of a request, or of one search of an ``_msearch``."""
    kind, reason = (document_reason_of if _WRITES.search(request) else reason_of)(body)
    said = f"{request}: {reason or kind or 'no reason given'} (HTTP {status})"
    category, hint = _category(status, kind, reason)
    return category(said, status=status, error_type=kind, hint=hint)


def reason_of(body: Any) -> tuple[str, str]:
    """Return ``(type, reason)`` of an Elasticsearch error body or of one item's ``error``; empty when there is none."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return "", str(error or "")
    kind, reason = str(error.get("type", "")), str(error.get("reason", ""))
    shards = error.get("failed_shards") or []
    cause = shards[0].get("reason") if shards else error.get("caused_by")
    while isinstance(cause, dict):
        if cause.get("reason") and str(cause["reason"]) not in reason:
            reason = f"{reason}: {cause['reason']}"
        cause = cause.get("caused_by")
    return kind, reason


def document_reason_of(body: Any) -> tuple[str, str]:
    """Return :func:`reason_of` the refusal of a document, without what Elasticsearch quotes of the document."""
    kind, reason = reason_of(body)
    return kind, masked_reason(f"{kind}: {reason}").removeprefix(f"{kind}: ") if kind else masked(reason)


def _refused(error: ApiError, request: str) -> ClusterError:
    status = error.meta.status
    kind, _ = reason_of(error.body)
    if not kind and "x-elastic-product" not in error.meta.headers and status not in (401, 403, 413, 429, 502, 503, 504):
        return _not_elasticsearch(request)
    return failure(status, error.body, request)


def _category(status: int, kind: str, reason: str) -> tuple[type[ClusterError], str]:
    if kind == _BLOCKED:
        return IndexUnavailable, "The index or cluster is read-only or not ready; lift the block and try again."
    if kind in _UNAVAILABLE:
        return IndexUnavailable, "Check the name, and that the index exists and is open."
    if "Result window is too large" in reason:
        return RequestFailed, "Ask for fewer hits, or raise index.max_result_window (hybrid needs 100 at least)."
    if status == 401:
        return Forbidden, "Check the credentials."
    if status == 403 and LICENCE not in reason:
        return Forbidden, "These credentials lack the privilege named above."
    return RequestFailed, ""


def _unanswered(error: TransportError, request: str) -> ClusterError:
    if isinstance(error, ConnectionTimeout):
        return Unreachable(
            f"{request}: Elasticsearch did not answer in time",
            hint="Raise connection.request_timeout, or see whether the cluster is overloaded.",
        )
    if isinstance(error, TlsError):
        return Unreachable(
            f"{request}: TLS failed: {error.message}",
            hint="Give the cluster's CA as connection.ca_certs, or use the scheme that the cluster speaks.",
        )
    if isinstance(error, TransportConnectionError):
        return Unreachable(
            f"{request}: no Elasticsearch answers: {error.message}",
            hint="Start one with `es-semantic up`, or set ES_SEMANTIC_URL (or connection.url) to yours.",
        )
    return Unreachable(f"{request}: {error.message}")


def _not_elasticsearch(request: str) -> ClusterError:
    return NotElasticsearch(
        f"{request}: something answers there, but it is not Elasticsearch",
        hint="Check connection.url (ES_SEMANTIC_URL): scheme, host and port. OpenSearch is not supported.",
    )
