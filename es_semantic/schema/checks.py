"""Reasons to refuse an attach, found before anything is changed: pure functions over mapping and settings."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from es_semantic.errors import IndexUnavailable, SchemaError, UsageError
from es_semantic.schema.target import Gives, Target

TEXT_TYPES = frozenset({"text", "match_only_text", "annotated_text", "search_as_you_type"})
STATE = ("vector", "chunks", "status", "hash", "model", "queued_at", "embedded_at", "error")
SHAPES = {"vector": "one vector a document", "chunks": "one vector a chunk"}
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")


def require_usable_name(name: str) -> None:
    """Refuse a name that could not be a top-level object field.

    Raises:
        UsageError: the name has dots, starts with an underscore, or is empty.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a semantic field", hint="Use letters, digits, _ and -, a letter first, 64 at most."
        )


def require_writable(target: Target) -> None:
    """Refuse a target under a block.

    Raises:
        IndexUnavailable: with the blocks named.
    """
    blocks = Gives(target.mapping, target.settings).blocks
    if blocks:
        raise IndexUnavailable(
            f"{target.kind} {target.name!r} is read-only: {', '.join(blocks)}", hint="Lift the block and try again."
        )


def require_text_fields(target: Target, fields: Sequence[str], *, name: str) -> None:
    """Check that every source field exists, is text, and is kept in ``_source``.

    Raises:
        UsageError: no fields, or one twice.
        SchemaError: a field is missing, of another type, not a field of its own, or not in ``_source``.
    """
    if not fields or len(set(fields)) != len(fields):
        raise UsageError("name at least one source field, and none twice", hint="For example: --fields title,body")
    _require_source(target, fields, name)
    known = dict(text_fields(target.mapping))
    for field in fields:
        if field == name or field.startswith(f"{name}."):
            raise SchemaError(f"{field!r} lies inside the semantic field {name!r}", hint="Choose another --name.")
        if field in known:
            continue
        kind = type_of(target.mapping, field)
        usable = ", ".join(sorted(known)) or "none"
        what = f"no field {field!r}" if kind is None else f"field {field!r} is {kind}, not text,"
        raise SchemaError(f"{what} in {target.kind} {target.name!r}", hint=f"Text fields there: {usable}.")


def require_place(target: Target, name: str, properties: Mapping[str, Any]) -> None:
    """Check that the semantic field can be added, or is there already and fits.

    ``properties`` are its own and those of whatever else is added with it.

    Raises:
        SchemaError: a field of that name has another type or other vectors, or the owner forbids undeclared fields.
    """
    if str(target.mapping.get("subobjects", True)).lower() == "false":
        raise SchemaError(
            f"{target.kind} {target.name!r} has `subobjects: false`, and a semantic field is an object",
            hint="Re-index into an index whose mapping allows objects.",
        )
    existing = target.mapping.get("properties", {}).get(name)
    if existing is not None:
        _require_same(target, name, existing, properties[name])
        return
    if str(target.mapping.get("dynamic", "true")) == "strict":
        raise SchemaError(
            f"{target.kind} {target.name!r} has `dynamic: strict`: only its owner declares fields there",
            hint="If you are the owner, declare the semantic field, then attach again:\n"
            + declaration(target, properties),
        )


def declaration(target: Target, properties: Mapping[str, Any]) -> str:
    """Return what the owner has to send, or to put into the template, to have these properties mapped."""
    body = json.dumps({"properties": dict(properties)}, indent=2)
    if target.template is None:
        return f"PUT /{target.name}/_mapping\n{body}"
    request = f"in the mappings of index template {target.template_name!r}:\n{body}"
    if target.kind == "data stream":
        request += f"\nand in the indices that are there: PUT /{target.name}/_mapping with the same body"
    return request


def is_semantic_field(mapping: Mapping[str, Any], name: str) -> bool:
    """Say whether a field is mapped as attach maps one; it remains so after detaching."""
    field = mapping.get("properties", {}).get(name, {})
    types = {sub: body.get("type") for sub, body in field.get("properties", {}).items()}
    marks = all(types.get(sub) == "keyword" for sub in ("status", "hash"))
    return marks and shape_of(field) is not None


def shape_of(field: Mapping[str, Any]) -> str | None:
    """Return what holds the vectors of a field mapped so: ``vector``, the nested ``chunks``, or None for neither."""
    parts = field.get("properties", {})
    chunks = parts.get("chunks", {})
    if chunks.get("type") == "nested" and chunks.get("properties", {}).get("vector", {}).get("type") == "dense_vector":
        return "chunks"
    return "vector" if parts.get("vector", {}).get("type") == "dense_vector" else None


def text_fields(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, type) of every text field that documents carry themselves; not those inside ``nested``."""
    for name, field in mapping.get("properties", {}).items():
        if field.get("type", "object") == "object":
            yield from text_fields(field, f"{prefix}{name}.")
        elif field["type"] in TEXT_TYPES:
            yield f"{prefix}{name}", field["type"]


def copies_into(mapping: Mapping[str, Any], fields: Sequence[str], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (from, into) for every field that is copied into one of ``fields``: such copies are not in ``_source``."""
    for name, field in mapping.get("properties", {}).items():
        into = field.get("copy_to", [])
        yield from ((f"{prefix}{name}", path) for path in ([into] if isinstance(into, str) else into) if path in fields)
        yield from copies_into(field, fields, f"{prefix}{name}.")


def type_of(mapping: Mapping[str, Any], path: str) -> str | None:
    """Return how a field that is no plain text field is mapped, in words; None where there is no such field."""
    node: Mapping[str, Any] = mapping
    parts = path.split(".")
    for position, part in enumerate(parts):
        children = node.get("properties", {})
        if part not in children:
            if part in node.get("fields", {}) and position == len(parts) - 1:
                return f"a sub-field of {'.'.join(parts[:-1])!r} (name that field instead)"
            return None
        node = children[part]
        if node.get("type") == "nested":
            return f"inside the nested field {'.'.join(parts[: position + 1])!r}"
    return str(node.get("type", "object"))


def _require_source(target: Target, fields: Sequence[str], name: str) -> None:
    source = target.mapping.get("_source", {})
    mode = target.settings.get("index.mapping.source.mode", source.get("mode"))
    if str(source.get("enabled", True)).lower() == "false" or mode == "disabled":
        raise SchemaError(
            f"{target.kind} {target.name!r} keeps no _source, so there is no text to embed",
            hint="Re-index the original documents into an index that keeps _source.",
        )
    for field in [*fields, *(f"{name}.{state}" for state in STATE)]:
        included = not source.get("includes") or _matches(field, source["includes"])
        if not included or _matches(field, source.get("excludes", [])):
            raise SchemaError(
                f"field {field!r} of {target.kind} {target.name!r} is not kept in _source",
                hint=f"Choose fields, and a --name, that the mapping's _source keeps: {json.dumps(dict(source))}",
            )


def _matches(field: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(field, p) or field.startswith(f"{p}.") for p in patterns)


def _require_same(target: Target, name: str, existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    hint = "Choose another name with --name; Elasticsearch cannot change or remove a mapped field."
    there, want = shape_of(existing), shape_of(wanted)
    if existing.get("type", "object") != "object":
        differences = [f"it is of type {existing['type']!r}"]
    elif there not in (want, None):
        differences = [f"it is mapped for {SHAPES[str(there)]}, wanted {SHAPES[str(want)]}"]
        hint = f"Attach with --chunk {'never' if there == 'vector' else 'always'}, or choose another name with --name."
    else:
        differences = list(_differences(existing.get("properties", {}), wanted["properties"]))
    if differences:
        raise SchemaError(
            f"{target.kind} {target.name!r} already has a field {name!r} that cannot hold these vectors: "
            + "; ".join(differences),
            hint=hint,
        )


def _differences(existing: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield in words what is mapped otherwise; what is missing may be added, but for what holds the vectors."""
    for sub, field in wanted.items():
        holds = sub in SHAPES
        there = existing.get(sub, {} if holds else field)
        keys = ("type", "dims", "similarity") if sub == "vector" else ("type",)
        for key in keys:
            if there.get(key) != field[key]:
                what = f"{prefix}{sub}" + (f".{key}" if sub == "vector" else "")
                yield f"{what}: there {there.get(key)!r}, wanted {field[key]!r}"
        if "properties" in field and there.get("type") == field["type"]:
            yield from _differences(there.get("properties", {}), field["properties"], f"{prefix}{sub}.")
