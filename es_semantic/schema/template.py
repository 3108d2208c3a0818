"""The body of an index template with and without a semantic field: pure functions from dict to dict.

Only what the template itself says is touched. What its component templates add stays theirs; but a field of theirs that
gets an analysed sub-field is repeated as a whole, because in a template the last word replaces what was said before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from es_semantic.schema import render, subfields
from es_semantic.schema.binding import Bindings, meta_with
from es_semantic.schema.target import Gives

Body = Mapping[str, Any]


def with_fields(body: Body, bindings: Bindings, gives: Gives) -> dict[str, Any]:
    """Return the body with the semantic fields mapped and bound; ``gives`` is what it makes with its components.

    An index born from it has no documents, so its analysed fields are complete.
    """
    mappings = _mappings(body)
    properties = {**(mappings.get("properties") or {}), **render.all_properties(bindings)}
    properties = subfields.with_added(properties, subfields.additions(gives, bindings, where="the index template"))
    meta = meta_with(mappings, bindings.completed())
    return _replaced(body, mappings={**mappings, "properties": properties, "_meta": meta})


def without_field(
    body: Body, name: str, bindings: Bindings, rest: Bindings, copied: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the body without the field ``name`` of ``bindings``; ``rest`` are those that remain.

    ``copied`` are fields of component templates that were repeated in it.
    """
    mappings = _mappings(body)
    properties = {key: value for key, value in (mappings.get("properties") or {}).items() if key != name}
    properties = subfields.without_unneeded(properties, bindings, rest, copied)
    meta = meta_with(mappings, rest.completed())
    return _replaced(body, mappings={**mappings, "properties": properties, "_meta": meta})


def with_final_pipeline(body: Body, final: str | None) -> dict[str, Any]:
    """Return the body with this ``index.final_pipeline``, or saying nothing about it."""
    settings = (body.get("template") or {}).get("settings") or {}
    index = {key: value for key, value in (settings.get("index") or {}).items() if key != "final_pipeline"}
    if final is not None:
        index["final_pipeline"] = final
    return _replaced(body, settings={**settings, "index": index})


def final_pipeline_of(body: Body | None) -> str | None:
    """Return the final pipeline that the template itself names."""
    settings = ((body or {}).get("template") or {}).get("settings") or {}
    name: str | None = (settings.get("index") or {}).get("final_pipeline")
    return name


def properties_of(body: Body) -> Mapping[str, Any]:
    """Return the properties that the template itself maps."""
    return _mappings(body).get("properties") or {}


def with_properties(body: Body, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with these properties instead of its own."""
    return _replaced(body, mappings={**_mappings(body), "properties": properties})


def _mappings(body: Body) -> Mapping[str, Any]:
    mappings: Mapping[str, Any] = (body.get("template") or {}).get("mappings") or {}
    return mappings


def _replaced(body: Body, **parts: Mapping[str, Any]) -> dict[str, Any]:
    """Replace parts of the template, and drop what became empty by it, as nobody wrote an empty object there."""
    pruned = {part: {key: value for key, value in content.items() if value != {}} for part, content in parts.items()}
    template = {**(body.get("template") or {}), **pruned}
    template = {key: value for key, value in template.items() if key not in parts or value}
    rest = {key: value for key, value in body.items() if key != "template"}
    return {**rest, "template": template} if template else rest
