"""A blocking call that may take no longer than its caller can wait."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

LONGEST = 86_400.0
"""Seconds. What is longer, infinity included, does not fit the timeouts of sockets and locks."""

MOST = 64
"""Calls of one service that may be under way at once; what is left to itself for ever would otherwise add a thread
each time."""

T = TypeVar("T")


class Late(Exception):
    """Time was up before the call had ended; whoever waits says so in words of its own."""


def within(seconds: float, work: Callable[[], T], *, of: str, daemon: bool) -> T:
    """Return what ``work`` returns, or raise what it raises, if it ends in time.

    It runs in a thread, because most of what blocks cannot be interrupted; what has not ended by then is left to
    itself. The process waits for it when it ends, unless it is a ``daemon``. Where :data:`MOST` calls of the same
    service have not ended yet, this one first waits for one of them; ``of`` names the service.

    Raises:
        Late: time is up.
    """
    end = time.monotonic() + seconds
    with _LOCK:
        places = _PLACES.setdefault(of, threading.BoundedSemaphore(MOST))
    if not places.acquire(timeout=seconds):
        raise Late
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            # Raised again where the outcome is asked for.
            outcome.set_exception(error)
        finally:
            places.release()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="es-semantic-deadline", daemon=daemon)
    try:
        thread.start()
    except BaseException:
        places.release()
        raise
    if not wait([outcome], timeout=max(0.0, end - time.monotonic())).done:
        raise Late
    return outcome.result()


def in_milliseconds(seconds: float) -> str:
    """Return seconds as Elasticsearch takes a timeout, at least one millisecond (Elastic docs, "Time units").

    >>> in_milliseconds(0.25)
    '250ms'
    """
    return f"{max(1, round(seconds * 1000))}ms"


_PLACES: dict[str, threading.BoundedSemaphore] = {}
_LOCK = threading.Lock()
