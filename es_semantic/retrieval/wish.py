"""How a text is to be searched: the arguments of a search, checked. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.deadline import LONGEST
from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.passages import require_passages
from es_semantic.retrieval.query import (
    DEFAULT_SIZE,
    MIN_RANK_WINDOW,
    Filters,
    Mode,
    filter_clauses,
    require_mode,
    require_page,
    require_whole,
)
from es_semantic.retrieval.tree.nodes import Json
from es_semantic.schema.ranking import Ranking


@dataclass(frozen=True, slots=True)
class Wish:
    """How a text is to be searched, beyond the text itself; see :func:`es_semantic.search`."""

    mode: Mode = "hybrid"
    size: int = DEFAULT_SIZE
    start: int = 0
    window: int = MIN_RANK_WINDOW
    filters: tuple[Json, ...] = ()
    fields: tuple[str, ...] | None = None
    names: tuple[str, ...] = (DEFAULT_FIELD_NAME,)
    ranking: Ranking | None = None
    rerank: str | None = None
    highlight: bool = False
    passages: int = 0
    source: bool = True
    deadline: float | None = None
    allow_degraded: bool = False

    @property
    def vector_leg(self) -> str:
        """What hits call the vector leg."""
        return "exact" if self.mode == "exact" else "knn"


def read_wish(
    *,
    mode: str,
    size: int,
    from_: int,
    rank_window_size: int | None,
    filters: Filters,
    fields: str | Sequence[str] | None,
    name: str | Sequence[str],
    ranking: Ranking | None = None,
    rerank: str | None = None,
    passages: int = 0,
    deadline: float | None = None,
    **others: bool,
) -> Wish:
    """Return the checked wish.

    Raises:
        InvalidQuery: an argument that cannot be used.
    """
    checked = require_mode(mode)
    require_passages(passages)
    for what, number in (("size", size), ("from_", from_), ("rank_window_size", rank_window_size)):
        if number is not None:
            require_whole(what, number)
    if ranking is not None and not isinstance(ranking, Ranking):
        raise InvalidQuery(
            f"ranking must be a Ranking, not {type(ranking).__name__}", hint="Ranking(method='rrf'), say."
        )
    if rerank is not None and (not isinstance(rerank, str) or not rerank):
        raise InvalidQuery("rerank must be the name of a reranker", hint="One of `rerankers` in es-semantic.yml.")
    return Wish(
        mode=checked,
        size=size,
        start=from_,
        window=require_page(size, from_, rank_window_size),
        filters=require_filters(filters),
        fields=None if fields is None else require_names("fields", fields),
        names=require_names("name", name),
        ranking=ranking,
        rerank=rerank,
        passages=passages,
        deadline=require_deadline(deadline),
        **others,
    )


def require_index(index: str | Sequence[str]) -> str:
    """Return the name, list or pattern to search in, as one text.

    Raises:
        InvalidQuery: it is empty, or no text.
    """
    names = [index] if isinstance(index, str) else list(index) if isinstance(index, list | tuple) else []
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise InvalidQuery(f"index must be a name, a list or a pattern, not {index!r}")
    return ",".join(names)


def require_names(what: str, names: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names, each once.

    Raises:
        InvalidQuery: there are none, or one is empty or no text.
    """
    given = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Sequence) else ()
    if not given or not all(isinstance(name, str) and name for name in given):
        raise InvalidQuery(f"{what} must be one name or several", hint="Leave it out for the default.")
    return tuple(dict.fromkeys(given))


def require_deadline(seconds: float | None) -> float | None:
    """Return the deadline in seconds; None for none.

    Raises:
        InvalidQuery: it is not above 0, or more than a day.
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST:
        raise InvalidQuery(f"deadline must be above 0 and at most {LONGEST:,.0f} seconds, not {seconds!r}")
    return float(seconds)


def require_filters(filters: Filters) -> tuple[Json, ...]:
    """Return the filters as query clauses.

    Raises:
        InvalidQuery: one is not a query clause, or cannot be written as JSON.
    """
    clauses = tuple(dict(clause) for clause in filter_clauses(filters))
    try:
        orjson.dumps(clauses)
    except TypeError as error:
        raise InvalidQuery(f"the filters cannot be written as JSON: {error}") from error
    return clauses
