"""Vectors are not for callers: an answer without them. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def without_vectors(value: Any, paths: Collection[str]) -> Any:
    """Return an answer of Elasticsearch in which no hit, at whatever depth, holds values of these fields."""
    if isinstance(value, list):
        return [without_vectors(each, paths) for each in value]
    if not isinstance(value, Mapping):
        return value
    kept = {name: without_vectors(each, paths) for name, each in value.items()}
    if "_index" in kept or "_id" in kept:
        if isinstance(kept.get("_source"), Mapping):
            kept["_source"] = _without(kept["_source"], paths, _nested_path(kept.get("_nested")))
        if isinstance(kept.get("fields"), Mapping):
            kept["fields"] = {
                name: _without(each, paths, name)
                for name, each in kept["fields"].items()
                if not _is_vector(name, paths)
            }
    return kept


def _nested_path(nested: Any) -> str:
    """Return where the source of a nested hit stands in its document."""
    steps = []
    while isinstance(nested, Mapping):
        steps.append(str(nested.get("field", "")))
        nested = nested.get("_nested")
    return ".".join(steps)


def _without(value: Any, paths: Collection[str], at: str) -> Any:
    if isinstance(value, list):
        return [_without(each, paths, at) for each in value]
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for name, each in value.items():
        path = f"{at}.{name}" if at else name
        if not _is_vector(path, paths):
            kept[name] = _without(each, paths, path)
    return kept


def _is_vector(path: str, paths: Collection[str]) -> bool:
    # Values of a field's own sub-fields come under longer names.
    return path in paths or any(path.startswith(f"{vector}.") for vector in paths)
