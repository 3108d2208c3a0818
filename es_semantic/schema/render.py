"""Fill the files under ``mappings/`` and ``pipelines/``: pure functions from values to request bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson

from es_semantic.resources import resource
from es_semantic.schema.binding import Binding, Bindings

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Replace every ``${key}`` in a JSON template.

    A string that is nothing but a placeholder becomes the value itself, of whatever type; inside a longer string, and
    in keys, the value is inserted as text.

    Raises:
        KeyError: the template names a value that was not given.
    """
    if isinstance(template, dict):
        return {fill(key, values): fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    if not isinstance(template, str):
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole:
        return values[whole[1]]
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), template)


def properties(name: str, binding: Binding) -> dict[str, Any]:
    """Return the mapping properties of one semantic field."""
    values = {
        "name": name,
        "dims": binding.fingerprint.dims,
        "similarity": binding.similarity,
        "index_options": binding.index_options,
    }
    filled: dict[str, Any] = fill(_json("mappings/semantic.json"), values)
    if binding.chunking is not None:
        parts = filled[name]["properties"]
        chunks = fill(_json("mappings/semantic-chunks.json"), {"vector": parts.pop("vector")})
        filled[name]["properties"] = {**chunks, **parts}
    return filled


def all_properties(bindings: Bindings) -> dict[str, Any]:
    """Return the mapping properties of all semantic fields of an index."""
    return {key: body for name, binding in bindings.fields.items() for key, body in properties(name, binding).items()}


def analysed(analyzer: str) -> dict[str, Any]:
    """Return the sub-field, by its key, that holds a text field's text as this analyser breaks it into terms."""
    filled: dict[str, Any] = fill(_json("mappings/analysed.json"), {"analyzer": analyzer})
    return filled


def is_foreign(value: Any) -> bool:
    """Say whether a document holds, where a semantic field belongs, something that es-semantic has not put there."""
    known = {*_json("mappings/semantic.json")["${name}"]["properties"], *_json("mappings/semantic-chunks.json")}
    return value is not None and not (isinstance(value, Mapping) and value.keys() <= known)


def pipeline(target: str, bindings: Bindings) -> dict[str, Any]:
    """Return the ingest pipeline of an index: the owner's own final pipeline first, then every semantic field."""
    parts = _json("pipelines/semantic.json")
    processors = []
    if bindings.owner_final_pipeline:
        processors.append(fill(parts["owner"], {"owner_final_pipeline": bindings.owner_final_pipeline}))
    for name, binding in sorted(bindings.fields.items()):
        values = {
            "name": name,
            "model": binding.stamp,
            "holder": binding.holder,
            "paths": [field.split(".") for field in binding.source],
            "painless": _text("pipelines/semantic.painless"),
        }
        processors.append(fill(parts["semantic_field"], values))
    body: dict[str, Any] = fill(parts["pipeline"], {"target": target, "processors": processors})
    return body


def what_it_does(body: Mapping[str, Any]) -> list[Any]:
    """Return what tells one rendered pipeline from another, whichever version of es-semantic has written it."""
    return [each.get("script", {}).get("params", each.get("pipeline")) for each in body["processors"]]


@cache
def _text(relative: str) -> str:
    return resource(relative).read_text(encoding="utf-8")


@cache
def _json(relative: str) -> Any:
    return orjson.loads(_text(relative))
