"""Analysed sub-fields of the owner's text fields: which there are, and what a mapping needs to have them. Pure.

``PUT _mapping`` takes a new sub-field only together with the whole field that it belongs to, as that is mapped; so what
is added repeats what ``GET _mapping`` has told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from es_semantic.errors import SchemaError
from es_semantic.schema.analysis import Analysis
from es_semantic.schema.binding import Bindings
from es_semantic.schema.render import analysed
from es_semantic.schema.target import Gives

Properties = Mapping[str, Any]
Keys = tuple[str, ...]
"""The keys under which a field stands in nested ``properties``; a key may hold dots itself."""

Additions = dict[Keys, dict[str, Any]]
"""Definitions of fields, each with what it gets."""


def analysed_fields(states: Sequence[Gives], source: Sequence[str], analyzer: str) -> list[str]:
    """Return for each source field the field that is, or shall be, analysed so.

    The source field itself where its own analyser is that one; else a sub-field of the owner that has it; else ours.
    Indices and a template must agree, so ``states`` are all of them.
    """
    return [_analysed_field(states, field, analyzer) for field in source]


def additions(gives: Gives, bindings: Bindings, *, where: str) -> Additions:
    """Return the fields of this mapping that need sub-fields of the bindings, with these; empty where all are there.

    A source field that is not mapped there has no documents there either, and is left out.

    Raises:
        SchemaError: a sub-field of that name has another type or analyser; ``where`` says in which index or template.
    """
    properties, added = gives.mapping.get("properties", {}), Additions()
    for field, analysis in _sub_fields(bindings):
        keys = find(properties, field)
        if keys is None:
            continue
        body = added.get(keys) or field_at(properties, keys)
        ((sub, definition),) = analysed(analysis.analyzer).items()
        there = body.get("fields", {}).get(sub)
        if there is None:
            added[keys] = {**body, "fields": {**body.get("fields", {}), sub: definition}}
        elif there != definition:
            raise SchemaError(
                f"field {field!r} of {where} has a sub-field {sub!r} already, which is mapped otherwise: {there}",
                hint="Elasticsearch cannot change or remove a mapped field: attach without --language, or re-index.",
            )
    return added


def with_added(properties: Properties, added: Additions) -> dict[str, Any]:
    """Return the properties with these fields in the place of their own, or beside them."""
    result = dict(properties)
    for keys, body in added.items():
        result = placed(result, find(result, ".".join(keys)) or keys, body)
    return result


def without_unneeded(
    properties: Properties, bindings: Bindings, rest: Bindings, copied: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a template's own properties without the sub-fields that only ``bindings`` need, not ``rest``.

    Of the fields ``copied`` nothing stays: component templates declare them, and they were repeated for a sub-field.
    """
    left = dict(properties)
    for field, sub in unneeded(bindings, rest):
        keys = find(left, field)
        if keys is not None:
            bare = without_sub_field(field_at(left, keys), sub)
            left = removed(left, keys) if field in copied else placed(left, keys, bare)
    return left


def unneeded(bindings: Bindings, rest: Bindings) -> list[tuple[str, str]]:
    """Return (source field, key of its sub-field) for our sub-fields that ``bindings`` use and ``rest`` do not."""
    kept = {(field, analysis.analyzer) for field, analysis in _sub_fields(rest)}
    gone = dict.fromkeys((field, analysis.analyzer) for field, analysis in _sub_fields(bindings))
    return [(field, key) for field, analyzer in gone if (field, analyzer) not in kept for key in analysed(analyzer)]


def without_sub_field(body: Properties, sub: str) -> dict[str, Any]:
    """Return a field's definition without one of its sub-fields."""
    subs = {key: value for key, value in body.get("fields", {}).items() if key != sub}
    rest = {key: value for key, value in body.items() if key != "fields"}
    return {**rest, "fields": subs} if subs else rest


def find(properties: Properties, path: str) -> Keys | None:
    """Return the keys of a field by its path, through objects; None where it is not mapped."""
    for key, body in properties.items():
        if key == path:
            return (key,)
        if path.startswith(f"{key}.") and "properties" in body:
            inner = find(body["properties"], path[len(key) + 1 :])
            if inner is not None:
                return (key, *inner)
    return None


def field_at(properties: Properties, keys: Keys) -> dict[str, Any]:
    """Return the definition of the field under these keys, which must be there."""
    body: dict[str, Any] = properties[keys[0]]
    return field_at(body["properties"], keys[1:]) if keys[1:] else body


def placed(properties: Properties, keys: Keys, body: Properties) -> dict[str, Any]:
    """Return the properties with this definition under these keys."""
    key, inner = keys[0], keys[1:]
    if not inner:
        return {**properties, key: dict(body)}
    there = properties.get(key, {})
    return {**properties, key: {**there, "properties": placed(there.get("properties", {}), inner, body)}}


def removed(properties: Properties, keys: Keys) -> dict[str, Any]:
    """Return the properties without the field under these keys, and without objects that held nothing else."""
    key, inner = keys[0], keys[1:]
    others = {name: body for name, body in properties.items() if name != key}
    if not inner:
        return others
    body = dict(properties[key])
    body["properties"] = removed(body["properties"], inner)
    if not body["properties"]:
        del body["properties"]
    return {**properties, key: body} if body else others


def dynamic_at(mapping: Mapping[str, Any], keys: Keys) -> str:
    """Return the ``dynamic`` in force where the field under these keys stands: its object's, or the one inherited."""
    here = str(mapping.get("dynamic", "true")).lower()
    if len(keys) == 1:
        return here
    return dynamic_at({"dynamic": here, **mapping.get("properties", {}).get(keys[0], {})}, keys[1:])


def _analysed_field(states: Sequence[Gives], field: str, analyzer: str) -> str:
    (sub,) = analysed(analyzer)
    ours = f"{field}.{sub}"
    mapped = [state for state in states if find(state.mapping.get("properties", {}), field) is not None]
    common = set.intersection(*(set(_analysed_by(state, field, analyzer)) for state in mapped)) if mapped else set()
    return field if field in common else next(iter(sorted(common - {ours})), ours)


def _analysed_by(gives: Gives, field: str, analyzer: str) -> Iterator[str]:
    """Yield the field, and its sub-fields, where they are text that this analyser breaks into terms."""
    properties = gives.mapping.get("properties", {})
    keys = find(properties, field)
    body = field_at(properties, keys) if keys else {}
    for path, definition in [(field, body), *((f"{field}.{key}", sub) for key, sub in body.get("fields", {}).items())]:
        named = str(definition.get("analyzer", "default"))
        # An index may have analysers of its own, one of the type `english` with other stop words for instance.
        kind = gives.settings.get(f"index.analysis.analyzer.{named}.type", named)
        indexed = str(definition.get("index", True)).lower() == "true"
        if definition.get("type") == "text" and indexed and kind == analyzer:
            yield path


def _sub_fields(bindings: Bindings) -> Iterator[tuple[str, Analysis]]:
    """Yield each source field that has a sub-field of ours, with its analysis."""
    for _, binding in sorted(bindings.fields.items()):
        if binding.analysis is not None:
            (sub,) = analysed(binding.analysis.analyzer)
            pairs = zip(binding.source, binding.analysis.fields, strict=True)
            yield from ((field, binding.analysis) for field, path in pairs if path == f"{field}.{sub}")
