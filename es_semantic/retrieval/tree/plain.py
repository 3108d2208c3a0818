"""What Elasticsearch itself reads becomes plain JSON values: copied, bounded, and sure to be sent as it was meant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from elasticsearch.serializer import JsonSerializer

from es_semantic.errors import InvalidRetriever

MAX_JSON_DEPTH = 100
"""Levels of objects and arrays in one query, filter or sort. Elasticsearch allows 30 nested queries
(``indices.query.bool.max_nested_depth``), each of which is up to three levels of JSON."""

MAX_JSON_VALUES = 300_000
"""Values in one query, filter or sort, so that Python lists which hold each other many times over come to an end."""

ILLEGAL_ARGUMENT = "illegal_argument_exception"
PARSING = "parsing_exception"
X_CONTENT_PARSE = "x_content_parse_exception"

Trail = tuple[str | int, Any] | None
"""The way down to a value, last step first: ``(0, ("filter", ("bool", None)))``."""

_JSON = (str, int, float, list, tuple, Mapping)
_QUOTED = 50
_LONGEST_NUMBER = 10**30
_INT_64 = range(-(2**63), 2**64)
_SERIALIZER = JsonSerializer()


def plain(value: Any, path: str) -> Any:
    """Return a copy of a JSON value as dicts, lists, strings, finite numbers, booleans and None.

    What elasticsearch-py sends as text or numbers (dates, decimals, UUIDs, NumPy) becomes just that.

    Raises:
        InvalidRetriever: it is nested more than 100 levels deep, has more than 300,000 values, or holds what is not
            JSON: NaN, bytes, a key that is no string, half a surrogate pair, an integer of more than 64 bits.
    """
    return _Copy(path).of(value)


def native(value: Any, path: str, trail: Trail = None) -> Any:
    """Return the value as JSON knows it, containers as they are.

    Raises:
        InvalidRetriever: elasticsearch-py would not send it either.
    """
    if value is None or isinstance(value, _JSON):
        return value
    try:
        sent = _SERIALIZER.default(value)
    except TypeError:
        sent = value
    if not isinstance(sent, _JSON):
        refuse(way(path, trail), f"is a Python {short(type(value).__name__)}, which is not JSON")
    return sent


def text(value: str, path: str, trail: Trail = None) -> str:
    """Return the text.

    Raises:
        InvalidRetriever: it holds half a surrogate pair and so cannot be sent.
    """
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            refuse(way(path, trail), "holds half a surrogate pair, which cannot be sent")
    return value


def short(value: object) -> str:
    """Return a value for an error text, cut off where it is long."""
    if isinstance(value, int) and abs(value) > _LONGEST_NUMBER:
        return "…"
    quoted = str(value).encode("utf-8", "replace").decode()
    return quoted if len(quoted) <= _QUOTED else f"{quoted[:_QUOTED]}…"


def refuse(path: str, what: str) -> NoReturn:
    """Raise for a value that Elasticsearch has no words for; ``what`` goes on after the name at the end of the path."""
    raise InvalidRetriever(path, ILLEGAL_ARGUMENT, f"[{path.rpartition('.')[2]}] {what}")


def way(path: str, trail: Trail) -> str:
    """Return the path that leads on from ``path`` along the trail: ``standard.query.bool.filter[0]``."""
    steps = []
    while trail is not None:
        step, trail = trail
        steps.append(f"[{step}]" if isinstance(step, int) else f".{short(step)}")
    return path + "".join(reversed(steps))


class _Copy:
    """One copy being made, without recursion: containers wait in ``pending`` until their turn comes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.count = 0
        self.pending: list[tuple[Any, Any, int, Trail]] = []

    def of(self, value: Any) -> Any:
        copy = self.one(value, 0, None)
        while self.pending:
            source, below, depth, trail = self.pending.pop()
            self.count += len(source)
            if self.count > MAX_JSON_VALUES:
                refuse(self.path, f"has more than [{MAX_JSON_VALUES}] values")
            if isinstance(source, Mapping):
                for key, each in source.items():
                    below[self.key(key, trail)] = self.one(each, depth, (key, trail))
            elif _all_finite_floats(source):
                below.extend(source)
            else:
                below.extend([self.one(each, depth, (place, trail)) for place, each in enumerate(source)])
        return copy

    def one(self, value: Any, depth: int, trail: Trail) -> Any:
        value = native(value, self.path, trail)
        if isinstance(value, str):
            return text(value, self.path, trail)
        if isinstance(value, Mapping | list | tuple):
            if depth >= MAX_JSON_DEPTH:
                refuse(self.path, f"is nested more than [{MAX_JSON_DEPTH}] levels deep")
            below: Any = {} if isinstance(value, Mapping) else []
            self.pending.append((value, below, depth + 1, trail))
            return below
        if isinstance(value, float):
            if not math.isfinite(value):
                refuse(way(self.path, trail), "must be a finite number")
            return float(value)
        if isinstance(value, int) and value not in _INT_64:
            refuse(way(self.path, trail), "must be an integer of at most 64 bits")
        return value

    def key(self, key: Any, trail: Trail) -> str:
        if not isinstance(key, str):
            refuse(way(self.path, trail), "has a key that is not a string")
        return text(key, self.path, trail)


def _all_finite_floats(values: Sequence[Any]) -> bool:
    """Whether these are finite floats and nothing else, as in a query vector: found without a loop in Python."""
    return set(map(type, values)) == {float} and all(map(math.isfinite, values))
