"""The text that a semantic field embeds, and its hash.

``pipelines/semantic.painless`` computes the same hash inside Elasticsearch; a property test on a real node holds
the two together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

BLANK = "".join(map(chr, range(0x21)))
"""What does not count as text: the control characters and the space, as Java's ``String.trim`` has it."""


_NOT_FINITE = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def source_text(source: Mapping[str, Any], fields: Sequence[str]) -> str:
    """Return the values of the source fields, in the order of ``fields``, joined by newlines.

    A path is followed through objects, arrays of objects and keys that contain dots, as Elasticsearch does. Strings are
    taken as they are, numbers in plain decimal notation, booleans as ``true`` and ``false``; null, objects and missing
    fields add nothing. A lone surrogate becomes ``?``, because it has no UTF-8 form, and a number beyond the range of
    doubles ``Infinity``, because that is what Elasticsearch writes into ``_source``.
    """
    values = (value for field in fields for value in _collect(source, field.split(".")))
    text = "\n".join(part for part in map(_text, values) if part is not None)
    return text.encode("utf-8", "replace").decode("utf-8")


def text_hash(text: str) -> str:
    """Return the SHA-256 of the text's UTF-8 form, 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def is_blank(text: str) -> bool:
    """Say whether there is nothing to embed."""
    return not text.strip(BLANK)


def _collect(source: Any, path: Sequence[str]) -> Iterator[Any]:
    # A stack, not recursion: Elasticsearch takes arrays nested deeper than Python may call itself.
    waiting: list[tuple[Any, Sequence[str]]] = [(source, path)]
    while waiting:
        node, rest = waiting.pop()
        if isinstance(node, list):
            waiting += [(item, rest) for item in reversed(node)]
        elif not rest:
            yield node
        elif isinstance(node, Mapping):
            keys = [(".".join(rest[:end]), rest[end:]) for end in range(len(rest), 0, -1)]
            waiting += [(node[key], after) for key, after in keys if key in node]


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _plain(value) if math.isfinite(value) else _NOT_FINITE[str(value)]
    return None


def _plain(value: float) -> str:
    # Java writes at least two digits, and so gives 4.9E-324 where Python's shortest form is 5e-324.
    two_digits = f"{value:.1e}"
    shortest = Decimal(two_digits if float(two_digits) == value else repr(value))
    digits = format(shortest, "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits
