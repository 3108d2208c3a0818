"""LlamaIndex's metadata filters as Elasticsearch query clauses.

What a filter compares with depends on how the index maps the field, which :func:`types_steps` asks. All else is pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import InvalidQuery

Json = dict[str, Any]
Types = Mapping[str, frozenset[str]]
"""The types of fields by their full names, several where indices differ."""

KEYWORDS = {"keyword", "constant_keyword", "wildcard"}
TEXTS = {"text", "match_only_text", "search_as_you_type"}

BOUNDS = {FilterOperator.GT: "gt", FilterOperator.GTE: "gte", FilterOperator.LT: "lt", FilterOperator.LTE: "lte"}
LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)


def types_steps(index: str, filters: MetadataFilters | None) -> Steps[Types]:
    """Return the types of the fields that filters look at, with their sub-fields and the objects they lie in."""
    keys = {one.key for one in _each(filters)} if filters is not None else set()
    if not keys:
        return {}
    patterns = keys | {f"{key}.*" for key in keys} | {parent for key in keys for parent in _parents(key)}
    answer = yield Request("POST", url_path("/{}/_field_caps", index), body={"fields": sorted(patterns)})
    return {name: frozenset(types) for name, types in answer["fields"].items()}


def clause(filters: MetadataFilters | None, types: Types) -> Json | None:
    """Return the query clause of filters, None where there are none.

    A field with several values matches where one of them does. One that is missing matches ``!=``, ``nin`` and
    ``is_empty`` alone. ``text_match`` and ``text_match_insensitive`` look for a part of a keyword, and for a phrase in
    a text field, whose analyser alone says what counts as the same there.

    Raises:
        InvalidQuery: a filter cannot be expressed for the field as it is mapped; the text names both.
    """
    if filters is None or not filters.filters:
        return None
    parts = [clause(one, types) if isinstance(one, MetadataFilters) else _one(one, types) for one in filters.filters]
    clauses = [part for part in parts if part is not None]
    match filters.condition or FilterCondition.AND:
        case FilterCondition.AND:
            return {"bool": {"filter": clauses}}
        case FilterCondition.OR:
            return _any(clauses)
        case FilterCondition.NOT:
            return _none(clauses)
    raise InvalidQuery(f"metadata filters cannot be combined by {filters.condition!r}", hint="Use and, or, not.")


def _one(one: MetadataFilter, types: Types) -> Json:
    key, value, operator = one.key, one.value, one.operator
    nested = next((parent for parent in _parents(key) if "nested" in types.get(parent, ())), None)
    if nested is not None:
        raise InvalidQuery(f"metadata filter {key!r}: {nested!r} is nested, and filters do not reach into it")
    if operator is FilterOperator.IS_EMPTY:
        return _empty(key, types)
    _require_value(one)
    if operator in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE):
        return _part(key, value, types, insensitive=operator is FilterOperator.TEXT_MATCH_INSENSITIVE)
    field = _exact(key, types, operator)
    if operator in BOUNDS:
        return {"range": {field: {BOUNDS[operator]: value}}}
    match operator:
        case FilterOperator.EQ | FilterOperator.CONTAINS:
            return _term(field, value)
        case FilterOperator.NE:
            return _none([_term(field, value)])
        case FilterOperator.IN | FilterOperator.ANY:
            return {"terms": {field: value}}
        case FilterOperator.NIN:
            return _none([{"terms": {field: value}}])
        case FilterOperator.ALL:
            return {"bool": {"filter": [_term(field, each) for each in value]}}
    raise InvalidQuery(f"metadata filter {key!r}: operator {operator.value!r} is not supported")


def _require_value(one: MetadataFilter) -> None:
    wanted = "a list" if one.operator in LISTS else "one value"
    if one.value is None or isinstance(one.value, list) is not (one.operator in LISTS):
        raise InvalidQuery(
            f"metadata filter {one.key!r}: operator {one.operator.value!r} takes {wanted}",
            hint="For a field without a value use is_empty.",
        )


def _exact(key: str, types: Types, operator: FilterOperator) -> str:
    """Return the field in which whole values can be compared: the key's own, else a keyword below it."""
    if not types.get(key, frozenset()) & TEXTS:
        return key
    below = sorted(name for name, found in types.items() if name.startswith(f"{key}.") and found <= KEYWORDS)
    if not below:
        raise InvalidQuery(
            f"metadata filter {key!r}: the field is analysed text, so operator {operator.value!r} has no whole values "
            "to compare with",
            hint="Use text_match, or give the field a keyword sub-field in the index's mapping.",
        )
    return below[0]


def _part(key: str, value: Any, types: Types, *, insensitive: bool) -> Json:
    found = types.get(key, frozenset())
    if not isinstance(value, str) or not found <= KEYWORDS | TEXTS:
        raise InvalidQuery(f"metadata filter {key!r}: text can be looked for in keyword and text fields only")
    if found & TEXTS:
        return {"match_phrase": {key: value}}
    escaped = "".join(f"\\{character}" if character in "*?\\" else character for character in value)
    return {"wildcard": {key: {"value": f"*{escaped}*", "case_insensitive": insensitive}}}


def _empty(key: str, types: Types) -> Json:
    missing = _none([{"exists": {"field": key}}])
    return _any([missing, _term(key, "")]) if types.get(key, frozenset()) & KEYWORDS else missing


def _each(filters: MetadataFilters) -> Iterator[MetadataFilter]:
    for one in filters.filters:
        if isinstance(one, MetadataFilters):
            yield from _each(one)
        else:
            yield one


def _parents(key: str) -> list[str]:
    return [key[:end] for end, character in enumerate(key) if character == "."]


def _term(field: str, value: Any) -> Json:
    return {"term": {field: {"value": value}}}


def _any(clauses: list[Json]) -> Json:
    return {"bool": {"should": clauses, "minimum_should_match": 1}}


def _none(clauses: list[Json]) -> Json:
    return {"bool": {"must_not": clauses}}
