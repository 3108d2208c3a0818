"""Ctrl-C where nothing is left in disorder: after a request, not in the middle of it."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Let SIGINT and SIGTERM take effect when the block has ended; the second one takes effect at once.

    Python runs the handler of a signal between any two steps of the main thread. If it raises, as it does for Ctrl-C, a
    lock that was just taken may never be given back: so the connections of a client that is interrupted in the middle
    of a request may be of no use for tidying up. Other threads are never interrupted, and there nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: deque[tuple[int, FrameType | None]] = deque()
    handlers = {int(number): handler for number in SIGNALS if callable(handler := signal.getsignal(number))}

    def deliver() -> None:
        while came:
            number, frame = came.popleft()
            handlers[number](number, frame)

    def hold(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        if len(came) > 1:
            deliver()

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        deliver()
