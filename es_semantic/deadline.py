"""A blocking call that may take no longer than its caller can wait."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

LONGEST = 86_400.0
"""Seconds. What is longer, infinity included, does not fit the timeouts of sockets and locks."""

T = TypeVar("T")


class Late(Exception):
    """Time was up before the call had ended; whoever waits says so in words of its own."""


def within(seconds: float, work: Callable[[], T], *, daemon: bool) -> T:
    """Return what ``work`` returns, or raise what it raises, if it ends in time.

    It runs in a thread, because most of what blocks cannot be interrupted; what has not ended by then is left to
    itself. The process waits for it when it ends, unless it is a ``daemon``.

    Raises:
        Late: time is up.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            # Raised again where the outcome is asked for.
            outcome.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="es-semantic-deadline", daemon=daemon).start()
    if not wait([outcome], timeout=seconds).done:
        raise Late
    return outcome.result()


def in_milliseconds(seconds: float) -> str:
    """Return seconds as Elasticsearch takes a timeout, at least one millisecond (Elastic docs, "Time units").

    >>> in_milliseconds(0.25)
    '250ms'
    """
    return f"{max(1, round(seconds * 1000))}ms"
