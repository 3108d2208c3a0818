"""Who watches long work."""

from __future__ import annotations

from collections.abc import Callable

Watch = Callable[[str, int, int], None]
"""Called with what is going on, how much is done and how much there is; it may be called from another thread."""


def unwatched(what: str, done: int, total: int) -> None:
    """Watch nothing."""
