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


def source_text(source: Mapping[str, Any], fields: Sequence[str]) -> str:
    """Return the values of the source fields, in the order of ``fields``, joined by newlines.

    A path is followed through objects, arrays of objects and keys that contain dots, as Elasticsearch does. Strings are
    taken as they are, numbers in plain decimal notation, booleans as ``true`` and ``false``; null, objects and missing
    fields add nothing. A lone surrogate becomes ``?``, because it has no UTF-8 form.
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


def _collect(node: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(node, list):
        for item in node:
            yield from _collect(item, path)
    elif not path:
        yield node
    elif isinstance(node, Mapping):
        for end in range(1, len(path) + 1):
            key = ".".join(path[:end])
            if key in node:
                yield from _collect(node[key], path[end:])


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        # Adding zero turns -0 into 0, as Java's BigDecimal has no negative zero.
        return format(Decimal(repr(value)).normalize() + 0, "f")
    return None
