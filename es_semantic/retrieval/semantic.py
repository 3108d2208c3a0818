"""The semantic fields that a text is searched in, over all indices of a query: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.errors import NotAttached
from es_semantic.retrieval.tree.nodes import Json, Knn, Vector
from es_semantic.schema.binding import Binding, Bindings

MIN_CANDIDATES = 200
MAX_CANDIDATES = 10_000


@dataclass(frozen=True, slots=True)
class Group:
    """Indices whose semantic field ``name`` has one model: one vector search reaches them all."""

    name: str
    indices: tuple[str, ...]
    bindings: tuple[Binding, ...]

    @property
    def binding(self) -> Binding:
        """The first one: as to vectors they are alike."""
        return self.bindings[0]

    @property
    def vector_field(self) -> str:
        """Where the vectors are."""
        return f"{self.name}.vector" if self.binding.chunking is None else f"{self.name}.chunks.vector"

    def knn(self, leg: str, vector: Vector, filters: Sequence[Json], *, k: int) -> Knn:
        """Return the vector leg: the ``k`` nearest documents, by vectors of the bound model alone.

        Filters apply while the graph is searched, so ``k`` are found where there are as many (Elastic docs, "kNN search
        in Elasticsearch"). Of a document's chunks the nearest counts.
        """
        stamp: dict[str, Any] = {"term": {f"{self.name}.model": self.binding.stamp}}
        return Knn(
            field=self.vector_field,
            query_vector=vector,
            k=k,
            num_candidates=min(MAX_CANDIDATES, max(MIN_CANDIDATES, 2 * k)),
            filter=(stamp, *filters),
            name=leg,
        )


def groups(bindings: Mapping[str, Bindings], names: Sequence[str], *, index: str) -> list[Group]:
    """Return the groups of every named semantic field, fields in the order of ``names``.

    Of several names an index need not have every one, but it must have one of them.

    Raises:
        NotAttached: an index has none of these semantic fields, or no index has one of them.
    """
    for concrete, each in bindings.items():
        if not any(name in each.fields for name in names):
            each.one(names[0], index=concrete)
    found: dict[tuple[str, str], list[tuple[str, Binding]]] = {}
    for name in names:
        having = {concrete: each.fields[name] for concrete, each in bindings.items() if name in each.fields}
        if not having:
            raise NotAttached(f"index {index!r} has no semantic field {name!r}", hint="Use --name.")
        for concrete, binding in having.items():
            found.setdefault((name, binding.stamp), []).append((concrete, binding))
    return [
        Group(name, tuple(index for index, _ in members), tuple(binding for _, binding in members))
        for (name, _), members in found.items()
    ]


def leg_names(members: Sequence[Group], leg: str = "knn") -> list[str]:
    """Return what hits call each group's ``leg``: with field and, if need be, model where there are several."""
    if len(members) == 1:
        return [leg]
    names = [group.name for group in members]
    return [
        f"{leg}:{group.name}" if names.count(group.name) == 1 else f"{leg}:{group.name}:{group.binding.stamp}"
        for group in members
    ]
