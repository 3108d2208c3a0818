"""A blocking call that may take no longer than the caller can wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float | None, function: Callable[[], T]) -> T:
    """Call the function; with a deadline in a thread of its own, left to itself when time is up.

    The process waits for that thread when it ends: a model that is stopped in the middle may take it down.

    Raises:
        TimeoutError: the function has not returned in time.
    """
    if seconds is None:
        return function()
    outcome: Future[T] = Future()

    def call() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=call, name="es-semantic-deadline").start()
    return outcome.result(timeout=seconds)
