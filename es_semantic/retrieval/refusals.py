"""What Elasticsearch refuses in a query: pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from es_semantic.cluster.failures import failure, reason_of
from es_semantic.errors import ClusterError, EsSemanticError, InvalidRetriever, RequestFailed

CALLERS_FAULT = (400, 401, 403, 404)
"""Statuses that a degraded answer would hide: what was asked fails however often it is tried."""

_REASON = re.compile(r"_m?search: (.*) \(HTTP \d+\)$", re.DOTALL)


def refused(error: ClusterError, path: str) -> EsSemanticError:
    """Return the error of a search for the retriever at ``path``: what is wrong with the query is wrong there."""
    if not isinstance(error, RequestFailed) or error.status != 400:
        return error
    found = _REASON.search(error.what)
    return InvalidRetriever(path, error.error_type, found[1] if found else error.what, hint=error.hint)


def refused_search(response: Mapping[str, Any], path: str, about: str) -> EsSemanticError:
    """Return :func:`refused` for one search of an ``_msearch`` that has failed."""
    error = failure(int(response.get("status", 500)), response, about)
    if not isinstance(error, RequestFailed) or error.status != 400:
        return error
    return InvalidRetriever(path, *reason_of(response), hint=error.hint)


def out_of_time(error: EsSemanticError) -> bool:
    """Return whether a search that was to answer from all its shards did not do so in time (measured on 9.4.3)."""
    return isinstance(error, RequestFailed) and error.status == 429 and "Time exceeded" in error.what
