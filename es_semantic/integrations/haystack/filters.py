"""Haystack's filter dictionaries to Elasticsearch query clauses, by how the index maps its fields. Pure functions.

A filter says what ``haystack.utils.filters.document_matches_filter`` says of the document, as far as an index can tell:
a field with several values matches where one of them does, a date without a time zone is in UTC, and milliseconds are
all that a ``date`` field knows of a time. What the index cannot tell is a ``FilterError``, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from haystack.errors import FilterError

Json = dict[str, Any]

KEYWORDS = frozenset({"keyword", "constant_keyword", "wildcard"})
DATES = frozenset({"date", "date_nanos"})
NUMBERS = frozenset(
    {"long", "integer", "short", "byte", "unsigned_long", "double", "float", "half_float", "scaled_float"}
)
BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}

OWN_FIELDS = frozenset({"content", "blob", "meta", "score", "embedding", "sparse_embedding"})
"""Fields of a Haystack document that are no metadata and cannot be compared with."""

INEXACT_FROM = 2**53
"""From here on a double does not tell a whole number from the next."""

NONE: Json = {"match_none": {}}


@dataclass(frozen=True, slots=True)
class Fields:
    """How an index maps its fields: ``types`` are the mappings of leaves by path; ``nested`` and ``unindexed`` are the
    objects whose fields a plain query does not reach, or of which some may be kept without being indexed."""

    types: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    nested: set[str] = field(default_factory=set)
    unindexed: set[str] = field(default_factory=set)

    def of(self, path: str) -> dict[str, Mapping[str, Any]]:
        """Return the field at a path and its sub-fields, by their full names; none where the index has no such field.

        Raises:
            FilterError: a query cannot tell what documents have there.
        """
        parents = {path[:end] for end in range(len(path)) if path[end] == "."}
        if parents & self.nested:
            raise FilterError(f"field {path!r} lies in nested objects, which Haystack's filters do not reach")
        found = self.types.get(path)
        if found is None:
            if (parents | {""}) & self.unindexed:
                raise FilterError(f"field {path!r} is not mapped, and the index may keep it without indexing it")
            return {}
        if found.get("type") == "alias":
            return self.of(found["path"])
        return {path: found, **{f"{path}.{name}": body for name, body in found.get("fields", {}).items()}}


def read_fields(mapping: Mapping[str, Any]) -> Fields:
    """Return the fields of an index's mapping."""
    fields = Fields()
    waiting: list[tuple[str, Mapping[str, Any], Any]] = [("", mapping, True)]
    while waiting:
        path, body, above = waiting.pop()
        dynamic = body.get("dynamic", above)
        if body.get("enabled") is False or str(dynamic).lower() == "false":
            fields.unindexed.add(path)
        if body.get("type") == "nested":
            fields.nested.add(path)
        for name, inner in body.get("properties", {}).items():
            full = f"{path}.{name}" if path else name
            if inner.get("type", "object") in ("object", "nested"):
                waiting.append((full, inner, dynamic))
            else:
                fields.types[full] = inner
    fields.types.update(mapping.get("runtime", {}))
    return fields


def clause(filters: Mapping[str, Any], fields: Fields, meta: str | None) -> Json:
    """Return the query clause for a filter; ``meta`` is the object that holds the metadata, None for the document.

    Raises:
        FilterError: the filter is malformed, or the index cannot tell which documents it means.
    """
    if not isinstance(filters, Mapping):
        raise FilterError(f"a filter must be a dictionary, not {type(filters).__name__}")
    if "field" in filters:
        return _comparison(filters, fields, meta)
    operator, conditions = _required(filters, "operator"), _required(filters, "conditions")
    if not isinstance(conditions, list):
        raise FilterError(f"'conditions' must be a list of filters, not {type(conditions).__name__}")
    parts = [clause(condition, fields, meta) for condition in conditions]
    match operator:
        case "AND":
            return {"bool": {"filter": parts}} if parts else {"match_all": {}}
        case "OR":
            return _any(parts)
        case "NOT":
            return _not({"bool": {"filter": parts}}) if parts else NONE
    raise FilterError(f"logical operator {operator!r} does not exist; there are AND, OR and NOT")


def _comparison(filters: Mapping[str, Any], fields: Fields, meta: str | None) -> Json:
    name, operator, value = (_required(filters, key) for key in ("field", "operator", "value"))
    if name == "id":
        equal, bounded = _same_id, None
    else:
        path = _path(name, meta)

        def equal(value: Any) -> Json:
            return _equal(path, value, fields)

        def bounded(bound: str, value: Any) -> Json:
            return _range(path, bound, value, fields)

    match operator:
        case "==":
            return equal(value)
        case "!=":
            return _not(equal(value))
        case "in" | "not in":
            if not isinstance(value, list):
                raise FilterError(f"{name!r}: {operator!r} needs a list, not {type(value).__name__}")
            among = _any([equal(each) for each in value])
            return among if operator == "in" else _not(among)
    if operator not in BOUNDS:
        raise FilterError(f"operator {operator!r} does not exist; there are ==, !=, in, not in, {', '.join(BOUNDS)}")
    if bounded is None:
        raise FilterError("ids are compared by ==, !=, in and not in only")
    return bounded(BOUNDS[operator], value)


def _path(name: Any, meta: str | None) -> str:
    if not isinstance(name, str) or not name:
        raise FilterError(f"a field must be a name, not {name!r}")
    inside = name.removeprefix("meta.")
    if name in OWN_FIELDS or (inside == name and "." in name):
        raise FilterError(f"field {name!r} cannot be filtered by; metadata is meta.NAME")
    return inside if meta is None else f"{meta}.{inside}"


def _equal(path: str, value: Any, fields: Fields) -> Json:
    found = fields.of(path)
    if value is None:
        # Too long for a keyword, or malformed: the document has the value, and the index only knows that.
        return _not(_any([{"exists": {"field": path}}, {"term": {"_ignored": path}}]))
    if not found:
        return NONE
    if isinstance(value, bool):
        return _bool(found, value)
    if isinstance(value, int | float):
        return _number(path, found, value)
    if isinstance(value, str):
        return _text(path, found, value)
    if isinstance(value, datetime):
        return _any(list(_at(found, value)))
    raise FilterError(f"{path!r}: a {type(value).__name__} cannot be compared with; give text, a number, true or false")


def _bool(found: Mapping[str, Mapping[str, Any]], value: bool) -> Json:
    booleans, keywords = _typed(found, {"boolean"}), _typed(found, KEYWORDS)
    name = next(iter([*booleans, *keywords]), None)
    return NONE if name is None else _term(name, value if name in booleans else str(value).lower())


def _number(path: str, found: Mapping[str, Mapping[str, Any]], value: float) -> Json:
    if not math.isfinite(value):
        raise FilterError(f"{path!r}: {value} is no number to compare with")
    numbers, keywords = _typed(found, NUMBERS), _typed(found, KEYWORDS)
    exact = [name for name in keywords if isinstance(value, int) and abs(value) >= INEXACT_FROM]
    name = next(iter([*exact, *numbers, *keywords]), None)
    return NONE if name is None else _term(name, value if name in numbers else str(value))


def _text(path: str, found: Mapping[str, Mapping[str, Any]], value: str) -> Json:
    dates = list(_at(found, moment)) if (moment := _moment(value)) is not None else []
    keywords = _typed(found, KEYWORDS)
    if not keywords:
        if dates or _typed(found, NUMBERS | DATES | {"boolean"}):
            return _any(dates)
        _refuse(path, found, "texts are compared by a keyword field, or one beside it")
    name, body = next(iter(keywords.items()))
    if len(value) > int(body.get("ignore_above", len(value))):
        raise FilterError(f"{path!r}: texts of more than {body['ignore_above']} characters are not indexed there")
    same = _term(name, value)
    numbers = [number for number, each in found.items() if each.get("coerce") is False]
    if numbers and _reads_as_number(value):
        same = {"bool": {"filter": [same], "must_not": [{"exists": {"field": number}} for number in numbers]}}
    return _any([same, *dates])


def _range(path: str, bound: str, value: Any, fields: Fields) -> Json:
    found = fields.of(path)
    moment = _moment(value)
    if moment is None and (isinstance(value, bool) or not isinstance(value, int | float | None)):
        raise FilterError(f"{path!r}: only numbers and ISO dates can be greater or less, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"{path!r}: {value} is no number to compare with")
    if value is None or not found:
        return NONE
    typed = _typed(found, NUMBERS if moment is None else DATES)
    if not typed:
        _refuse(path, found, f"it takes a field of {'numbers' if moment is None else 'dates'} to compare with {value}")
    (name, *_) = typed
    return _within(name, {bound: value}) if moment is None else _dated(name, bound, moment)


def _at(found: Mapping[str, Mapping[str, Any]], moment: datetime) -> Iterator[Json]:
    for name in _typed(found, DATES):
        yield {"bool": {"filter": [_dated(name, "gte", moment), _dated(name, "lte", moment)]}}


def _dated(name: str, bound: str, moment: datetime) -> Json:
    # With all its parts: Elasticsearch would complete a date for gte with 0 o'clock, for lte with its last moment.
    return _within(name, {bound: moment.isoformat(timespec="microseconds"), "format": "strict_date_optional_time"})


def _moment(value: Any) -> datetime | None:
    """Return the time that a full ISO date stands for, with or without a time of day; None for all else."""
    if isinstance(value, datetime):
        return value
    # Haystack reads neither a year alone nor a date without hyphens as a date where values are compared for equality.
    if not isinstance(value, str) or value[4:5] != "-" or value[7:8] != "-":
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _typed(found: Mapping[str, Mapping[str, Any]], types: frozenset[str] | set[str]) -> dict[str, Mapping[str, Any]]:
    return {name: body for name, body in found.items() if body.get("type") in types}


def _refuse(path: str, found: Mapping[str, Mapping[str, Any]], why: str) -> NoReturn:
    raise FilterError(f"field {path!r} is mapped as {found.get(path, {}).get('type')}: {why}")


def _required(filters: Mapping[str, Any], key: str) -> Any:
    if key not in filters:
        raise FilterError(f"{key!r} is missing in a filter with {', '.join(map(repr, filters)) or 'nothing'}")
    return filters[key]


def _same_id(value: Any) -> Json:
    return {"ids": {"values": [value]}} if isinstance(value, str) else NONE


def _term(name: str, value: Any) -> Json:
    return {"term": {name: {"value": value}}}


def _within(name: str, bounds: Json) -> Json:
    return {"range": {name: bounds}}


def _any(parts: list[Json]) -> Json:
    return {"bool": {"should": parts, "minimum_should_match": 1}} if parts else NONE


def _not(part: Json) -> Json:
    return {"bool": {"must_not": [part]}}
