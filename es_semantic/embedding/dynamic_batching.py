"""Dynamic batching: calls that come at the same time run through a model together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from es_semantic.errors import ModelUnavailable, Overloaded

Item = TypeVar("Item")
Answer = TypeVar("Answer")

PATIENCE = 0.02
"""Seconds that a batch waits at most to become as large as the one before it. Whoever is alone waits for nobody."""

IDLE = 600.0
"""Seconds after which a thread without work ends. Models keep memory for each thread that has run them."""

MOST_CHARACTERS = 32_768
"""Of a batch: about 8,192 tokens, two of the batches that the models here plan. A call that is longer runs alone."""


class DynamicBatcher(Generic[Item, Answer]):
    """One queue, and one thread that empties it, until nothing comes any more.

    While a batch runs, the next one fills, and waits up to ``patience`` seconds until it has as many calls.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Answer],
        *,
        part: Callable[[Answer, int, int], Answer],
        size: Callable[[Item], int],
        refusals: tuple[type[Exception], ...],
        patience: float = PATIENCE,
        most_waiting: int | None = None,
        ran: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start nothing yet.

        Args:
            run: what is done with the items of all calls of a batch.
            part: cuts the answer for items from a place to another, exclusive, out of that of a batch.
            size: an item's characters.
            refusals: errors that one item may cause; a batch that fails so is run again, each call alone.
            patience: see the class.
            most_waiting: items that may wait, without limit by default.
            ran: is told the items of each batch.
        """
        self._run_items = run
        self._part = part
        self._size = size
        self._refusals = refusals
        self._patience = patience
        self._most_waiting = most_waiting
        self._ran = ran
        self._queue: deque[_Asked[Item, Answer]] = deque()
        self._turn = threading.Condition()
        self._running = False
        self._last = 1
        self._closed = False
        self.waiting = 0

    def ask(self, items: Sequence[Item]) -> Future[Answer]:
        """Ask without waiting; a future that is cancelled before its batch runs costs nothing.

        Raises:
            Overloaded: too many items wait already.
            ModelUnavailable: after :meth:`close`.
        """
        asked: _Asked[Item, Answer] = _Asked(tuple(items), sum(map(self._size, items)), Future())
        with self._turn:
            if self._closed:
                raise ModelUnavailable("the model is being shut down")
            # One call may be larger than the queue: it is for the caller's limits to say how large.
            if self.waiting and self._most_waiting is not None and self.waiting + len(items) > self._most_waiting:
                raise Overloaded(
                    f"{self.waiting:,} texts wait for the model already", hint="Try again in a second, with fewer."
                )
            self._queue.append(asked)
            self.waiting += len(items)
            if self._running:
                self._turn.notify()
            else:
                self._running = True
                threading.Thread(target=self._run, name="es-semantic-model", daemon=True).start()
        return asked.outcome

    def close(self) -> None:
        """Let no batch begin any more; what waits fails."""
        with self._turn:
            self._closed = True
            left, self.waiting = list(self._queue), 0
            self._queue.clear()
            self._turn.notify()
        for asked in left:
            if asked.outcome.set_running_or_notify_cancel():
                asked.outcome.set_exception(ModelUnavailable("the model is being shut down"))

    def _run(self) -> None:
        while batch := self._next():
            items = [item for asked in batch for item in asked.items]
            try:
                self._ran(len(items))
                answers = self._parts(self._run_items(items), batch)
            except self._refusals as error:
                if len(batch) == 1:
                    batch[0].outcome.set_exception(error)
                else:
                    self._one_by_one(batch)
            except BaseException as error:
                # Whoever asked is told, whatever it is; this thread serves others, too.
                for asked in batch:
                    asked.outcome.set_exception(error)
            else:
                for asked, answer in zip(batch, answers, strict=True):
                    asked.outcome.set_result(answer)

    def _one_by_one(self, batch: list[_Asked[Item, Answer]]) -> None:
        for asked in batch:
            try:
                asked.outcome.set_result(self._run_items(asked.items))
            except BaseException as error:
                asked.outcome.set_exception(error)

    def _parts(self, answer: Answer, batch: list[_Asked[Item, Answer]]) -> list[Answer]:
        parts, start = [], 0
        for asked in batch:
            end = start + len(asked.items)
            parts.append(self._part(answer, start, end))
            start = end
        return parts

    def _next(self) -> list[_Asked[Item, Answer]]:
        """Return the calls to run together; none where nothing came for long, and then this thread ends."""
        with self._turn:
            while not self._queue:
                if self._closed or not self._turn.wait(IDLE):
                    self._running = bool(self._queue)
                    if not self._running:
                        return []
            end = time.monotonic() + self._patience
            while len(self._queue) < self._last and sum(each.size for each in self._queue) < MOST_CHARACTERS:
                left = end - time.monotonic()
                if left <= 0 or not self._turn.wait(left):
                    break
            return self._taken()

    def _taken(self) -> list[_Asked[Item, Answer]]:
        batch: list[_Asked[Item, Answer]] = []
        size = 0
        while self._queue and (not batch or size + self._queue[0].size <= MOST_CHARACTERS):
            asked = self._queue.popleft()
            self.waiting -= len(asked.items)
            if asked.outcome.set_running_or_notify_cancel():
                batch.append(asked)
                size += asked.size
        self._last = len(batch)
        return batch or self._next()


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Item, Answer]):
    items: tuple[Item, ...]
    size: int
    outcome: Future[Answer]
