"""Find a semantic field by the name that queries use, which may be an alias or a data stream of several indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from es_semantic.cluster.steps import Remember, Request, Steps, url_path
from es_semantic.errors import FingerprintMismatch, SchemaError
from es_semantic.schema.analysis import common_analysis
from es_semantic.schema.binding import Binding, Bindings, read_bindings
from es_semantic.schema.target import require_one_name

VECTORS = frozenset(["dense_vector", "rank_vectors", "sparse_vector"])

SECONDS = 2.0
"""How long a query may go by a mapping that it has seen."""


@dataclass(frozen=True)
class Mapped:
    """What the ``mapping`` of one index says; it is looked through when somebody asks, once."""

    index: str
    mapping: Mapping[str, Any]

    @cached_property
    def bindings(self) -> Bindings:
        """Its semantic fields.

        Raises:
            SchemaError: they cannot be read.
        """
        return read_bindings(self.mapping, index=self.index)

    @cached_property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """The options of each field, its type among them, by path; also of sub-fields and aliases."""
        return dict(_fields(self.mapping, ""))

    @cached_property
    def vectors(self) -> frozenset[str]:
        """The paths of the fields that hold vectors, and of aliases of such fields."""
        paths = {path for path, options in self.fields.items() if options["type"] in VECTORS}
        aliases = (path for path, options in self.fields.items() if options["type"] == "alias")
        return frozenset(paths | {path for path in aliases if self.fields[path]["path"] in paths})


def find_binding(index: str, name: str) -> Steps[tuple[Binding, list[str]]]:
    """Return the binding that all indices behind ``index`` share, and the names of all semantic fields there.

    Where they are analysed by different languages, the binding has the analysed fields of all.

    Raises:
        UsageError: the name is a pattern or a list.
        IndexUnavailable: no such index.
        NotAttached: one of the indices has no semantic field of that name.
        FingerprintMismatch: they are bound to different models.
        SchemaError: they are bound to different source fields.
    """
    require_one_name(index)
    bindings = yield from read_now(index)
    found = {concrete: each.one(name, index=concrete) for concrete, each in bindings.items()}
    first, *others = found.items()
    for concrete, binding in others:
        if binding.stamp != first[1].stamp:
            raise FingerprintMismatch(
                f"{index!r} mixes models: {first[0]} has {first[1].stamp}, {concrete} has {binding.stamp}",
                hint="Search these indices one by one, or bring them to one model.",
            )
        if binding.source != first[1].source:
            raise SchemaError(
                f"{index!r} mixes source fields: {first[0]} has {', '.join(first[1].source)}, {concrete} has "
                f"{', '.join(binding.source)}",
                hint="Search these indices one by one.",
            )
    analysis = common_analysis(binding.analysis for binding in found.values())
    names = sorted({field for each in bindings.values() for field in each.served()})
    return first[1].model_copy(update={"analysis": analysis}), names


def bindings_of(index: str) -> Steps[dict[str, Bindings]]:
    """Return the bindings of every index behind a name, list or pattern, by index; seen at most two seconds ago.

    Raises:
        IndexUnavailable: no such index.
        SchemaError: a binding cannot be read.
    """
    return {concrete: each.bindings for concrete, each in (yield from mapped(index)).items()}


def mapped(index: str) -> Steps[dict[str, Mapped]]:
    """Return the mapping of every index behind a name, list or pattern, by index; seen at most two seconds ago.

    Raises:
        IndexUnavailable: no such index.
    """
    found: dict[str, Mapped] = yield Remember(("mapped", index), SECONDS, partial(_read, index))
    return found


def read_now(index: str) -> Steps[dict[str, Bindings]]:
    """Return the bindings of every index behind a name, list or pattern, as they are at this moment.

    Raises:
        IndexUnavailable: no such index.
        SchemaError: a binding cannot be read.
    """
    return {concrete: each.bindings for concrete, each in (yield from _read(index)).items()}


def _read(index: str) -> Steps[dict[str, Mapped]]:
    mappings = yield Request("GET", url_path("/{}/_mapping", index))
    return {concrete: Mapped(concrete, body["mappings"]) for concrete, body in sorted(mappings.items())}


def _fields(mapping: Mapping[str, Any], at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, body in {**mapping.get("properties", {}), **mapping.get("fields", {})}.items():
        path = f"{at}{name}"
        if "type" in body:
            yield path, body
        yield from _fields(body, f"{path}.")
