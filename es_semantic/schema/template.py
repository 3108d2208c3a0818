"""The body of an index template with and without a semantic field: pure functions from dict to dict.

Only what the template itself says is touched. What its component templates add stays theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_semantic.schema import render
from es_semantic.schema.binding import Bindings, meta_with

Body = Mapping[str, Any]


def with_fields(body: Body, bindings: Bindings) -> dict[str, Any]:
    """Return the body with the semantic fields mapped and bound."""
    mappings = _mappings(body)
    properties = {**(mappings.get("properties") or {}), **render.all_properties(bindings)}
    return _replaced(body, mappings={**mappings, "properties": properties, "_meta": meta_with(mappings, bindings)})


def without_field(body: Body, name: str, rest: Bindings) -> dict[str, Any]:
    """Return the body without the field ``name``; ``rest`` are the bindings that remain."""
    mappings = _mappings(body)
    properties = {key: value for key, value in (mappings.get("properties") or {}).items() if key != name}
    return _replaced(body, mappings={**mappings, "properties": properties, "_meta": meta_with(mappings, rest)})


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
