"""The semantic fields that a text is searched in, over all indices of a query: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.errors import NotAttached
from es_semantic.retrieval.tree.nodes import Json, Knn, Vector
from es_semantic.schema.binding import Binding, Bindings, places_of
from es_semantic.schema.vectors import vector_field

MIN_CANDIDATES = 200
MAX_CANDIDATES = 10_000


@dataclass(frozen=True, slots=True)
class Group:
    """Indices whose semantic field has one model and one place: one vector search reaches them all.

    ``name`` is the field's place in the mapping, ``label`` the name that it was asked for by.
    """

    name: str
    label: str
    indices: tuple[str, ...]
    bindings: tuple[Binding, ...]

    @property
    def binding(self) -> Binding:
        """The first one: as to vectors they are alike."""
        return self.bindings[0]

    @property
    def vector_field(self) -> str:
        """Where the vectors are."""
        return vector_field(self.name, self.binding)

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
        if not any(each.place(name) in each.fields for name in names):
            each.one(names[0], index=concrete)
    found: dict[tuple[str, str], dict[str, Binding]] = {}
    labels: dict[str, str] = {}
    for name in names:
        having = places_of(bindings, name)
        if not having:
            raise NotAttached(f"index {index!r} has no semantic field {name!r}", hint="Use --name.")
        for concrete, place in having.items():
            binding = bindings[concrete].fields[place]
            labels.setdefault(place, name)
            found.setdefault((place, binding.stamp), {})[concrete] = binding
    return [
        Group(place, labels[place], tuple(members), tuple(members.values())) for (place, _), members in found.items()
    ]


def leg_names(members: Sequence[Group], leg: str = "knn") -> list[str]:
    """Return what hits call each group's ``leg``: with field and, if need be, model where there are several."""
    if len(members) == 1:
        return [leg]
    labels = Counter(group.label for group in members)
    stamped = Counter((group.label, group.binding.stamp) for group in members)
    names = []
    for group in members:
        alone = stamped[group.label, group.binding.stamp] == 1
        named = f"{leg}:{group.label if alone else group.name}"
        names.append(named if labels[group.label] == 1 else f"{named}:{group.binding.stamp}")
    return names
