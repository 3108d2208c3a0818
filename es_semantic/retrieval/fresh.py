"""Ask again where the semantic field of an index changed its model under a query.

A query goes by a binding that may be two seconds old, and it takes a few requests. If meanwhile an alias was switched
to another index, or the field to another model, then its vectors are of no use there: a vector search, which looks only
at vectors of its own model, finds none, or is refused for other dims. So whoever finds nothing, is refused, or is
answered from an index that was not known, looks at the bindings once more, and asks again if they are others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from es_semantic.cluster.steps import Forget, Steps
from es_semantic.errors import ClusterError, FingerprintMismatch, InvalidQuery
from es_semantic.schema.binding import Bindings
from es_semantic.schema.lookup import bindings_of, read_now

T = TypeVar("T")

TRIES = 3
"""A query may meet a second switch, but hardly a third."""


def with_fresh_bindings(
    index: str, attempt: Callable[[Mapping[str, Bindings]], Steps[T]], indices: Callable[[T], Collection[str]]
) -> Steps[T]:
    """Run a query by the bindings, and again if they have changed meanwhile; ``indices`` are those of its hits.

    Raises:
        EsSemanticError: whatever the last attempt raises.
    """
    for _ in range(TRIES - 1):
        known = yield from bindings_of(index)
        try:
            result = yield from attempt(known)
        except (ClusterError, InvalidQuery, FingerprintMismatch):
            if (yield from read_now(index)) == known:
                raise
        else:
            seen = set(indices(result))
            if seen and seen <= known.keys():
                return result
            if (yield from read_now(index)) == known:
                return result
        yield Forget()
    return (yield from attempt((yield from bindings_of(index))))
