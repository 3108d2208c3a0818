"""Find a semantic field by the name that queries use, which may be an alias or a data stream of several indices."""

from __future__ import annotations

from functools import partial

from es_semantic.cluster.steps import Remember, Request, Steps, url_path
from es_semantic.errors import FingerprintMismatch, SchemaError
from es_semantic.schema.analysis import common_analysis
from es_semantic.schema.binding import Binding, Bindings, read_bindings
from es_semantic.schema.target import require_one_name

SECONDS = 2.0
"""How long a query may go by a mapping that it has seen."""


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
    bindings: dict[str, Bindings] = yield Remember(("bindings", index), SECONDS, partial(read_now, index))
    return bindings


def read_now(index: str) -> Steps[dict[str, Bindings]]:
    """Return the bindings of every index behind a name, list or pattern, as they are at this moment.

    Raises:
        IndexUnavailable: no such index.
        SchemaError: a binding cannot be read.
    """
    mappings = yield Request("GET", url_path("/{}/_mapping", index))
    return {concrete: read_bindings(body["mappings"], index=concrete) for concrete, body in sorted(mappings.items())}
