"""What may be searched for, checked before anything is sent: pure functions."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from es_semantic.errors import InvalidQuery

Mode = Literal["hybrid", "knn", "bm25", "exact"]

MAX_QUERY_CHARACTERS = 10_000
MAX_SIZE = 10_000
"""Elasticsearch's own ``index.max_result_window`` and the limit of a kNN search's ``k``."""

DEFAULT_SIZE = 10
MIN_RANK_WINDOW = 100

Filters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


def require_query(text: str) -> str:
    """Return the text to search for: control characters become spaces, the ends are trimmed.

    Raises:
        InvalidQuery: nothing printable is left, or it is longer than 10,000 characters.
    """
    if not isinstance(text, str):
        raise InvalidQuery(f"the query must be text, not {type(text).__name__}")
    if len(text) > MAX_QUERY_CHARACTERS:
        raise InvalidQuery(
            f"the query has {len(text):,} characters; at most {MAX_QUERY_CHARACTERS:,} are allowed",
            hint="Search for a passage, not for a whole document.",
        )
    readable = text.encode("utf-8", "replace").decode("utf-8")
    cleaned = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in readable).strip()
    if not any(unicodedata.category(c)[0] not in ("C", "Z", "M") for c in cleaned):
        raise InvalidQuery("the query is empty", hint="Give at least one letter, digit or sign to search for.")
    return cleaned


def require_mode(mode: str) -> Mode:
    """Return the mode.

    Raises:
        InvalidQuery: it is none of hybrid, knn, bm25, exact.
    """
    if mode not in get_args(Mode):
        raise InvalidQuery(f"mode {mode!r} does not exist", hint=f"Use one of: {', '.join(get_args(Mode))}.")
    return mode  # type: ignore[return-value]


def require_whole(what: str, number: int) -> int:
    """Return the number.

    Raises:
        InvalidQuery: it is no whole number.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidQuery(f"{what} must be a whole number, not {number!r}")
    return number


def require_page(size: int, start: int, window: int | None) -> int:
    """Return how many documents each leg must find so that this page is right: ``window``, or 100, or ``size``.

    Raises:
        InvalidQuery: ``size`` is not between 1 and 10,000, ``start`` is negative, or the page ends beyond the window.
    """
    if not 1 <= size <= MAX_SIZE:
        raise InvalidQuery(f"size must be between 1 and {MAX_SIZE:,}, not {size}")
    if start < 0:
        raise InvalidQuery(f"from_ must be 0 or more, not {start}")
    if window is not None and not 1 <= window <= MAX_SIZE:
        raise InvalidQuery(f"rank_window_size must be between 1 and {MAX_SIZE:,}, not {window}")
    chosen = max(size, MIN_RANK_WINDOW) if window is None else window
    if start + size > chosen:
        raise InvalidQuery(
            f"from_ {start} and size {size} reach beyond the {chosen:,} documents that are ranked",
            hint="Give all pages of one search the same larger rank_window_size.",
        )
    return chosen


def filter_clauses(filters: Filters) -> list[Mapping[str, Any]]:
    """Return the filters as a list of Elasticsearch query clauses, all of which must match.

    Raises:
        InvalidQuery: a filter is not one query clause, ``{"term": {"field": "value"}}`` for instance.
    """
    if filters is None:
        return []
    clauses = (
        [filters] if isinstance(filters, Mapping) else list(filters) if isinstance(filters, Sequence) else [filters]
    )
    for clause in clauses:
        if not isinstance(clause, Mapping) or len(clause) != 1:
            raise InvalidQuery(
                f"a filter must be one Elasticsearch query clause, not {clause!r}",
                hint='For example: {"term": {"kind": "function"}}',
            )
    return clauses
