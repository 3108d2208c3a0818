"""Reads JSON objects the way Elasticsearch's object parsers do: same values accepted, same errors, first one first.

Where Elasticsearch wraps an error once for each level ("[rescorer] failed to parse field [retriever]"), the innermost
one is raised, which says what is wrong; where it is, says its path. Measured on Elasticsearch 9.4.3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.plain import (
    ILLEGAL_ARGUMENT,
    PARSING,
    X_CONTENT_PARSE,
    native,
    plain,
    refuse,
    short,
    text,
)

MAX_FLOAT = 3.4028234663852886e38
"""The largest number of single precision, in which Elasticsearch keeps scores and weights."""

_INT = range(-(2**31), 2**31)
_DECIMAL = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)[fd]?\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class At:
    """Where a value stands: the object's name in error texts, its field, the path, and how deep retrievers nest.

    ``type`` is the type of an error in the object's own fields.
    """

    owner: str
    field: str
    path: str
    depth: int = 0
    type: str = X_CONTENT_PARSE

    def failed(self) -> NoReturn:
        """Raise for a value of the right kind that cannot be used."""
        raise InvalidRetriever(self.path, self.type, f"[{self.owner}] failed to parse field [{self.field}]")

    def illegal(self, reason: str) -> NoReturn:
        """Raise an ``illegal_argument_exception``."""
        raise InvalidRetriever(self.path, ILLEGAL_ARGUMENT, reason)

    def malformed(self, reason: str) -> NoReturn:
        """Raise a ``parsing_exception``."""
        raise InvalidRetriever(self.path, PARSING, reason)


class Reader(NamedTuple):
    """How a field is read: which JSON tokens it may start with, and what is made of the value."""

    tokens: frozenset[str]
    read: Callable[[Any, At], Any]


Fields = Mapping[str, Reader]


def read_object(value: Any, at: At, fields: Fields, required: Sequence[str] = ()) -> dict[str, Any]:
    """Return the fields of an object as read; ``at.owner`` is its name in error texts.

    Raises:
        InvalidRetriever: it is no object, has an unknown field or one of another type, or lacks a required one.
    """
    if not isinstance(value, Mapping):
        reason = f"[{at.owner}] Expected START_OBJECT but was: {token(value)}"
        raise InvalidRetriever(at.path, X_CONTENT_PARSE, reason)
    found: dict[str, Any] = {}
    for name, each in value.items():
        here = At(at.owner, short(name), f"{at.path}.{short(name)}", at.depth, at.type)
        reader = fields.get(name) if isinstance(name, str) else None
        if reader is None:
            reason = f"[{at.owner}] unknown field [{here.field}]{suggestion(here.field, fields)}"
            raise InvalidRetriever(here.path, at.type, reason)
        each = native(each, here.path)
        if token(each) not in reader.tokens:
            reason = f"[{at.owner}] {name} doesn't support values of type: {token(each)}"
            raise InvalidRetriever(here.path, at.type, reason)
        found[name] = reader.read(each, here)
    missing = [name for name in required if name not in found]
    if missing:
        type = ILLEGAL_ARGUMENT if at.type == X_CONTENT_PARSE else at.type
        raise InvalidRetriever(at.path, type, f"Required [{', '.join(missing)}]")
    return found


def token(value: Any) -> str:
    """Return the name that Elasticsearch has for what a JSON value starts with."""
    if value is None:
        return "VALUE_NULL"
    for kind, name in _TOKENS:
        if isinstance(value, kind):
            return name
    return "VALUE_EMBEDDED_OBJECT"


def suggestion(unknown: str, known: Iterable[str]) -> str:
    """Return `` did you mean [x]?`` for names that are more than half the same by Levenshtein distance, best first."""
    near = sorted((-_likeness(unknown, name), name) for name in known)
    names = [name for likeness, name in near if likeness < -0.5]
    if not names:
        return ""
    return f" did you mean [{names[0]}]?" if len(names) == 1 else f" did you mean any of [{', '.join(names)}]?"


def whole(value: Any, at: At) -> int:
    """Return an ``int``: numeric strings are numbers, and what follows the decimal point is cut off."""
    if isinstance(value, str):
        number = _decimal(value)
        if number is None:
            at.failed()
        if not _INT[0] <= number <= _INT[-1]:
            at.illegal(f"Value [{short(value)}] is out of range for an integer")
        return int(number)
    if isinstance(value, float) and not math.isfinite(value):
        refuse(at.path, "must be a finite number")
    if not _INT[0] <= value <= _INT[-1]:
        reason = f"Numeric value ({short(value)}) out of range of int ({_INT[0]} - {_INT[-1]})"
        raise InvalidRetriever(at.path, X_CONTENT_PARSE, reason)
    return int(value)


def number(value: Any, at: At) -> float:
    """Return a ``float``, finite in single precision; numeric strings are numbers."""
    found: float | None
    if isinstance(value, str):
        found = _decimal(value)
        if found is None:
            at.failed()
    else:
        found = float(value) if abs(value) <= MAX_FLOAT else math.inf
    if not abs(found) <= MAX_FLOAT:
        refuse(at.path, "must be a finite number of single precision")
    return found


def string(value: Any, at: At) -> str:
    """Return a text."""
    return text(value, at.path)


def strings(value: Any, at: At) -> tuple[str, ...]:
    """Return texts, of one or several; a number or boolean among several is its text."""
    return tuple(_string(each, at) for each in ([value] if isinstance(value, str) else value))


def truth(value: Any, at: At) -> bool:
    """Return a boolean; the texts ``true`` and ``false`` are booleans."""
    if isinstance(value, str):
        if value not in ("true", "false"):
            at.illegal(f"Failed to parse value [{short(value)}] as only [true] or [false] are allowed.")
        return value == "true"
    return bool(value)


def java_float(value: float) -> str:
    """Return a number of single precision as Java prints it, and so Elasticsearch.

    >>> java_float(1.5), java_float(-1e-07), java_float(123_000_000)
    ('1.5', '-1.0E-7', '1.23E8')
    """
    single = np.float32(value)
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return np.format_float_positional(single, trim="0")
    return np.format_float_scientific(single, trim="0", exp_digits=1).replace("e+", "E").replace("e", "E")


def kept(value: Any, at: At) -> Any:
    """Return a copy of what only Elasticsearch reads."""
    return plain(value, at.path)


def each_of(read: Callable[[Any, At], Any]) -> Callable[[Any, At], tuple[Any, ...]]:
    """Return a reader for one value or an array of such values."""

    def several(value: Any, at: At) -> tuple[Any, ...]:
        if isinstance(value, Mapping):
            return (read(value, at),)
        return tuple(read(native(each, at.path), _numbered(at, place, each)) for place, each in enumerate(value))

    return several


def _numbered(at: At, place: int, value: Any) -> At:
    if isinstance(value, list | tuple):
        # Arrays in arrays are refused before they are read.
        at.failed()
    return At(at.owner, at.field, f"{at.path}[{place}]", at.depth, at.type)


def _string(value: Any, at: At) -> str:
    value = native(value, at.path)
    if isinstance(value, str):
        return text(value, at.path)
    if not isinstance(value, int | float):
        at.failed()
    return str(value).lower() if isinstance(value, bool) else str(plain(value, at.path))


def _decimal(value: str) -> float | None:
    found = _DECIMAL.fullmatch(value)
    return float(found[1]) if found else None


def _likeness(some: str, other: str) -> float:
    row = list(range(len(other) + 1))
    for place, letter in enumerate(some, start=1):
        above, row[0] = row[0], place
        for column, against in enumerate(other, start=1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (letter != against))
    return 1.0 - row[-1] / max(len(some), len(other), 1)


_TOKENS: tuple[tuple[Any, str], ...] = (
    (bool, "VALUE_BOOLEAN"),
    (int | float, "VALUE_NUMBER"),
    (str, "VALUE_STRING"),
    (list | tuple, "START_ARRAY"),
    (Mapping, "START_OBJECT"),
)
_OBJECT, _ARRAY = frozenset(["START_OBJECT"]), frozenset(["START_ARRAY"])
_STRING, _NUMBER = frozenset(["VALUE_STRING"]), frozenset(["VALUE_NUMBER"])

WHOLE = Reader(_NUMBER | _STRING, whole)
NUMBER = Reader(_NUMBER | _STRING, number)
STRING = Reader(_STRING, string)
STRINGS = Reader(_ARRAY | _STRING, strings)
TRUTH = Reader(frozenset(["VALUE_BOOLEAN"]) | _STRING, truth)
KEPT = Reader(_OBJECT, kept)


def an_object(read: Callable[[Any, At], Any]) -> Reader:
    """Return the reader of a field that must be an object."""
    return Reader(_OBJECT, read)


def objects(read: Callable[[Any, At], Any]) -> Reader:
    """Return the reader of a field that is one object or an array."""
    return Reader(_OBJECT | _ARRAY, read)


def anything_but_null(read: Callable[[Any, At], Any]) -> Reader:
    """Return the reader of a field that may be an object, an array, a text or a number."""
    return Reader(_OBJECT | _ARRAY | _STRING | _NUMBER, read)
