"""Drive a procedure step by step on a real node, in one thread: to write between its steps, or to end it anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elasticsearch import Elasticsearch

from es_semantic.cluster.steps import Compute, Forget, Join, Pause, Remember, Request, Spawn, Step, Steps, run
from es_semantic.errors import Unreachable


class Killed(BaseException):
    """The process is gone, without a chance to tidy up."""


class Driver:
    """Performs steps at once, spawned procedures too.

    Before each request ``before`` is called, and after it ``after``; each may raise :class:`Killed`, which abandons the
    procedure as ``kill -9`` would, or :class:`Unreachable`, which the procedure is told, as if the answer were lost.
    """

    def __init__(
        self, client: Elasticsearch, before: Callable[[Request], None], after: Callable[[Request], None]
    ) -> None:
        self.client = client
        self.before = before
        self.after = after

    def drive(self, steps: Steps[Any]) -> Any:
        """Return the procedure's result."""
        outcome: Any = None
        error: Exception | None = None
        while True:
            try:
                step = steps.send(outcome) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            outcome, error = None, None
            try:
                outcome = self._perform(step)
            except Exception as raised:
                error = raised

    def _perform(self, step: Step) -> Any:
        match step:
            case Compute():
                return step.function()
            case Pause():
                return None
            case Spawn():
                return _Done(self, step.steps)
            case Join():
                return step.handle.result()
            case Remember():
                return self.drive(step.steps())
            case Forget():
                return None
        self.before(step)
        outcome = run(self.client, _one(step))
        self.after(step)
        return outcome


class _Done:
    """The handle of a spawned procedure, which has ended already."""

    def __init__(self, driver: Driver, steps: Steps[Any]) -> None:
        self._error: Exception | None = None
        try:
            self._result = driver.drive(steps)
        except Exception as error:
            self._error = error

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


def lost() -> Unreachable:
    """The error of a request whose answer did not come."""
    return Unreachable("the answer was lost")


def _one(step: Request) -> Steps[Any]:
    return (yield step)
