"""Signatures as text, with nothing in them of the machine or the run that read them."""

from __future__ import annotations

import enum
import inspect
import os
from typing import Any

_LONGEST = 40


def signature_of(thing: Any) -> str | None:
    """``"(a, b=None, *, key=...)"``, or None for what has no signature, as many builtins.

    A default value is shown only where it is the same everywhere: the repr of an arbitrary object may hold an
    address, a path, or (``os.environ`` in ``cgi``) every secret of the environment.
    """
    try:
        signature = inspect.signature(thing)
        # repr is called on annotations and defaults of any kind, and may fail in any way.
        return str(signature.replace(parameters=[_shown(p) for p in signature.parameters.values()]))
    except Exception:
        return None


class _Literal:
    """Something whose repr is the given text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.default is inspect.Parameter.empty:
        return parameter
    return parameter.replace(default=_Literal(_show(parameter.default)))


def _show(value: object) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if value is None or value is ... or isinstance(value, bool | int | float | complex | bytes):
        return _short(repr(value))
    if isinstance(value, str):
        return "..." if len(value) > 1 and os.path.isabs(value) else _short(repr(value))
    if isinstance(value, tuple | list | dict) and not value:
        return repr(value)
    if isinstance(value, tuple):
        return _short(f"({', '.join(map(_show, value))}{',' if len(value) == 1 else ''})")
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) and callable(value) else "..."


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else "..."
