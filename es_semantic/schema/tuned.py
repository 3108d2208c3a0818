"""Keep a tuned ranking in the binding, and take it away again."""

from __future__ import annotations

from es_semantic.cluster.steps import Steps
from es_semantic.schema.binding import Bindings
from es_semantic.schema.lookup import find_binding
from es_semantic.schema.ranking import Ranking
from es_semantic.schema.rebound import rebind


def store_ranking(index: str, ranking: Ranking | None, *, name: str) -> Steps[bool]:
    """Put the ranking into the binding of every index behind a name, None for the default; say whether it is new.

    Raises:
        NotAttached: one of the indices has no semantic field of that name.
        Forbidden: the privilege `manage` is missing.
        SchemaError: somebody else has changed ``_meta`` at the same time.
    """
    # Refuses indices that are bound differently.
    yield from find_binding(index, name)
    return (yield from rebind(index, lambda bindings: with_ranking(bindings, name, ranking)))


def with_ranking(bindings: Bindings, name: str, ranking: Ranking | None) -> Bindings:
    """Return the bindings with this ranking for the field that serves under a name, if there is one."""
    place = bindings.place(name)
    if place not in bindings.fields:
        return bindings
    return bindings.with_field(place, bindings.fields[place].model_copy(update={"ranking": ranking}))
