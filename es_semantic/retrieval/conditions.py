"""Conditions on metadata, as RAGFlow and Dify say them, become Elasticsearch query clauses: pure functions.

Operators are those of Dify's documentation ("External Knowledge API") and of RAGFlow's HTTP API ("Retrieve chunks"). A
field of several values meets a condition where one of them does. What is negated is met by documents without the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.tree.nodes import Json

Value = str | int | float | bool | list[Any] | None

MAX_CONDITIONS = 100
MAX_VALUES = 1_000

NUMERIC = frozenset(
    ["long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float", "unsigned_long"]
)
_TEXTUAL = frozenset(["keyword", "text", "wildcard", "constant_keyword", "flattened", "match_only_text"])


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison: the name of a piece of metadata, an operator, and what to compare with.

    Of several names it is enough if one compares so; with a negated operator, none may.
    """

    name: str | tuple[str, ...]
    operator: str
    value: Value = None


def conditions_clause(
    conditions: Sequence[Condition], logic: Literal["and", "or"], *, below: str, types: Mapping[str, str]
) -> Json | None:
    """Return the clause that all (``and``) or one (``or``) of the conditions make; None where there are none.

    Metadata is looked for below the field ``below``; ``types`` are the mapping's types by full path. Text is compared
    by a keyword field, numbers by a numeric one: the field itself, or its sub-fields ``keyword`` and ``number``.

    Raises:
        InvalidQuery: an operator is not known, or its value is missing, not comparable or too long.
    """
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidQuery(f"there are {len(conditions)} conditions; at most {MAX_CONDITIONS} are allowed")
    clauses = [_clause(each, below, types) for each in conditions]
    if not clauses:
        return None
    if logic == "or":
        return {"bool": {"should": clauses, "minimum_should_match": 1}}
    return {"bool": {"filter": clauses}}


def _clause(condition: Condition, below: str, types: Mapping[str, str]) -> Json:
    operator = _ALIASES.get(condition.operator.strip().lower(), condition.operator.strip().lower())
    if operator not in _OPERATORS and operator not in _NEGATED:
        known = ", ".join(sorted({*_OPERATORS, *_NEGATED}))
        raise InvalidQuery(f"unknown operator {condition.operator!r} for {condition.name!r}", hint=f"Known: {known}.")
    names = (condition.name,) if isinstance(condition.name, str) else condition.name
    if not names or not all(name and "*" not in name for name in names):
        raise InvalidQuery(f"{condition.name!r} is no name of metadata")
    positive = _NEGATED.get(operator, operator)
    clauses = [_OPERATORS[positive](_Field(f"{below}.{name}", types), condition) for name in names]
    if positive != operator:
        return {"bool": {"must_not": clauses}}
    return clauses[0] if len(clauses) == 1 else {"bool": {"should": clauses, "minimum_should_match": 1}}


@dataclass(frozen=True, slots=True)
class _Field:
    path: str
    types: Mapping[str, str]

    @property
    def keyword(self) -> str:
        sub = f"{self.path}.keyword"
        return sub if self.types.get(self.path) == "text" and sub in self.types else self.path

    @property
    def number(self) -> str | None:
        """Where numbers are compared as numbers; None where there is no such field."""
        paths = (self.path, f"{self.path}.number")
        return next((path for path in paths if self.types.get(path) in NUMERIC), None)

    @property
    def textual(self) -> bool:
        return self.types.get(self.path, "keyword") in _TEXTUAL


def _is(field: _Field, condition: Condition) -> Json:
    return _one_of(field, [_scalar(condition)])


def _in(field: _Field, condition: Condition) -> Json:
    value = condition.value
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list) or not value or len(value) > MAX_VALUES:
        raise InvalidQuery(
            f"{condition.operator!r} for {condition.name!r} needs a list of 1 to {MAX_VALUES:,} values",
            hint='For example ["a", "b"], or "a,b".',
        )
    return _one_of(field, [_checked(each, condition) for each in value])


def _one_of(field: _Field, values: Sequence[str | int | float | bool]) -> Json:
    if not field.textual:
        return {"terms": {field.path: [_text(each) for each in values if _fits(field, each)]}}
    clauses: list[Json] = [{"terms": {field.keyword: [_text(each) for each in values]}}]
    numbers = [number for each in values if (number := _number(each)) is not None]
    if numbers and field.number is not None:
        clauses.append({"terms": {field.number: numbers}})
    return clauses[0] if len(clauses) == 1 else {"bool": {"should": clauses, "minimum_should_match": 1}}


def _fits(field: _Field, value: str | int | float | bool) -> bool:
    """Whether the field could hold it; Elasticsearch refuses a number that is none."""
    return field.types.get(field.path) not in NUMERIC or _number(value) is not None


def _contains(field: _Field, condition: Condition) -> Json:
    return _like(field, f"*{_quoted(_text(_scalar(condition)))}*")


def _start_with(field: _Field, condition: Condition) -> Json:
    return _like(field, f"{_quoted(_text(_scalar(condition)))}*")


def _end_with(field: _Field, condition: Condition) -> Json:
    return _like(field, f"*{_quoted(_text(_scalar(condition)))}")


def _like(field: _Field, pattern: str) -> Json:
    if not field.textual:
        raise InvalidQuery(
            f"{field.path!r} is of type {field.types[field.path]}, not text", hint="Compare it with =, < or >."
        )
    return {"wildcard": {field.keyword: {"value": pattern, "case_insensitive": True}}}


def _not_empty(field: _Field, _: Condition) -> Json:
    # At least one character.
    return {"wildcard": {field.keyword: {"value": "?*"}}} if field.textual else {"exists": {"field": field.path}}


def _range(comparison: str) -> Callable[[_Field, Condition], Json]:
    def clause(field: _Field, condition: Condition) -> Json:
        value = _scalar(condition)
        number = _number(value)
        if field.number is not None and number is not None:
            return {"range": {field.number: {comparison: number}}}
        if field.types.get(field.path) in NUMERIC:
            raise InvalidQuery(f"{condition.name!r} is a number, and {condition.operator!r} is compared with text")
        # Dates as text are in the order of time where they begin with the year.
        return {"range": {field.keyword: {comparison: _text(value)}}}

    return clause


def _scalar(condition: Condition) -> str | int | float | bool:
    value = condition.value
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _checked(value, condition)


def _checked(value: Any, condition: Condition) -> str | int | float | bool:
    if not isinstance(value, str | int | float):
        raise InvalidQuery(
            f"{condition.operator!r} for {condition.name!r} needs a value: text, a number, true or false"
        )
    if isinstance(value, int) and abs(value) >= 2**63:
        raise InvalidQuery(f"the number for {condition.name!r} has more than 64 bits")
    if isinstance(value, str) and value != value.encode("utf-8", "replace").decode("utf-8"):
        raise InvalidQuery(f"the value for {condition.name!r} holds half a surrogate pair")
    if len(str(value)) > MAX_VALUES:
        raise InvalidQuery(f"the value for {condition.name!r} is longer than {MAX_VALUES:,} characters")
    return value


def _number(value: str | int | float | bool) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "*?\\" else sign for sign in text)


_OPERATORS: Mapping[str, Callable[[_Field, Condition], Json]] = {
    "is": _is,
    "in": _in,
    "contains": _contains,
    "start with": _start_with,
    "end with": _end_with,
    "not empty": _not_empty,
    ">": _range("gt"),
    "<": _range("lt"),
    "≥": _range("gte"),
    "≤": _range("lte"),
}

_NEGATED: Mapping[str, str] = {
    "is not": "is",
    "not in": "in",
    "not contains": "contains",
    "empty": "not empty",
}

_ALIASES: Mapping[str, str] = {
    "=": "is",
    "==": "is",
    "≠": "is not",
    "!=": "is not",
    "not is": "is not",
    ">=": "≥",
    "<=": "≤",
    "before": "<",
    "after": ">",
    "starts with": "start with",
    "ends with": "end with",
}
"""Other words for the same, as RAGFlow and Dify have them."""
