"""What a client remembers for seconds, so that not every query asks the cluster for the same mapping."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Protocol

MAX_REMEMBERED = 1_000

UNKNOWN = object()
"""Nothing is remembered, or not any more."""


class Remembered(Protocol):
    """What is looked up: its key, and for how many seconds it holds."""

    @property
    def key(self) -> Hashable: ...

    @property
    def seconds(self) -> float: ...


class Memory:
    """Results by key, each with the time until which it holds; then it leaves, and of too many the oldest first.

    Threads may share it. ``clock`` tells seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._lock = threading.Lock()
        self.age = 0
        """How often everything has been forgotten."""

    def recall(self, what: Remembered) -> Any:
        """Return what was kept under the key, while it holds, else ``UNKNOWN``."""
        kept = self._kept.get(what.key)
        if kept is None or self._clock() > kept[0]:
            return UNKNOWN
        return kept[1]

    def keep(self, what: Remembered, result: Any, age: int) -> Any:
        """Keep the result and return it; what was asked for at another ``age`` may be out of date and is not kept."""
        with self._lock:
            if age != self.age:
                return result
            now = self._clock()
            # Mappings can be large.
            self._kept = {key: kept for key, kept in self._kept.items() if kept[0] >= now and key != what.key}
            self._kept[what.key] = (now + what.seconds, result)
            while len(self._kept) > MAX_REMEMBERED:
                self._kept.pop(next(iter(self._kept)))
        return result

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self.age += 1


def memory_of(client: object) -> Memory:
    """Return the memory of this client and of all that share its connections, as those that ``options`` makes."""
    with _LOCK:
        return _MEMORIES.setdefault(getattr(client, "transport", client), Memory())


_MEMORIES: weakref.WeakKeyDictionary[object, Memory] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()
