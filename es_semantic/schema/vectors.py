"""Which documents have vectors: as a query, and whether there are any."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.schema.binding import Binding
from es_semantic.schema.lookup import bindings_of


def vector_field(place: str, binding: Binding) -> str:
    """Return where a semantic field of that place in the mapping has its vectors."""
    return f"{place}.vector" if binding.chunking is None else f"{place}.chunks.vector"


def has_vector(name: str, binding: Binding) -> dict[str, Any]:
    """Return the query for documents that have a vector in the semantic field ``name``."""
    exists = {"exists": {"field": vector_field(name, binding)}}
    return exists if binding.chunking is None else {"nested": {"path": f"{name}.chunks", "query": exists}}


def any_vectors(index: str, names: Collection[str]) -> Steps[bool]:
    """Say whether any document behind a name, list or pattern has a vector in one of these semantic fields.

    Raises:
        IndexUnavailable: no such index.
    """
    bindings = yield from bindings_of(index)
    fields = [
        has_vector(place, each.fields[place])
        for each in bindings.values()
        for place in map(each.place, names)
        if place in each.fields
    ]
    if not fields:
        return False
    body = {"size": 0, "terminate_after": 1, "query": {"bool": {"should": fields}}}
    answer = yield Request("POST", url_path("/{}/_search", index), body=body)
    return bool(answer["hits"]["total"]["value"])
