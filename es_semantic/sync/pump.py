"""Read, embed and write, one beside the other, and finish in the order of reading."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from es_semantic.cluster.steps import Handle, Join, Spawn, Steps
from es_semantic.errors import EsSemanticError

P = TypeVar("P")
W = TypeVar("W")
R = TypeVar("R")

MAX_WRITING = 3
"""Windows that are being written while the next is embedded."""


class Stages(Protocol[P, W, R]):
    """What a pump does with its pages (P): they fill windows (W), and writing a window has a result (R)."""

    def next_page(self) -> Steps[P | None]:
        """Return the next page, None at the end; it runs beside everything else and waits for Elasticsearch only."""

    def new_window(self) -> W:
        """Return an empty window."""

    def take_in(self, page: P, window: W) -> bool:
        """Put a page into the window, and say whether to read another."""

    def is_full(self, window: W) -> bool:
        """Say whether the window should be worked off before another page is taken in."""

    def embed(self, window: W) -> Steps[None]:
        """Embed what the window needs embedded."""

    def write(self, window: W) -> Steps[R]:
        """Write the window; it runs beside everything else and waits for Elasticsearch only."""

    def writing(self, windows: list[W]) -> None:
        """These windows are being written now, one of them since this moment."""

    def finish(self, window: W, result: R) -> Steps[None]:
        """Count what became of the window; called in the order of reading, and not for one that could not be written
        or any after it."""


@dataclass(slots=True)
class Pump(Generic[P, W, R]):
    """While one window is embedded, the page after it is read and the three before it are written."""

    stages: Stages[P, W, R]
    _writing: deque[tuple[W, Handle]] = field(default_factory=deque)

    def run(self) -> Steps[None]:
        """Go on until there is no page left, or ``take_in`` wants no other."""
        window = self.stages.new_window()
        reading: Handle | None = yield Spawn(self.stages.next_page())
        while reading is not None:
            page: P | None = yield Join(reading)
            go_on = page is not None and self.stages.take_in(page, window)
            reading = (yield Spawn(self.stages.next_page())) if go_on else None
            if reading is None or self.stages.is_full(window):
                yield from self._work_off(window)
                window = self.stages.new_window()
        while self._writing:
            yield from self._finish_oldest()

    def finish_if_possible(self) -> Steps[None]:
        """After a failure, wait for what is being written, so that it is counted and not embedded again.

        A window that could not be written stays the oldest, so that no later one is finished.
        """
        while self._writing:
            try:
                yield from self._finish_oldest()
            except EsSemanticError:
                return

    def _work_off(self, window: W) -> Steps[None]:
        yield from self.stages.embed(window)
        while len(self._writing) >= MAX_WRITING or (self._writing and self._writing[0][1].done()):
            yield from self._finish_oldest()
        self._writing.append((window, (yield Spawn(self.stages.write(window)))))
        self.stages.writing([waiting for waiting, _ in self._writing])

    def _finish_oldest(self) -> Steps[None]:
        window, handle = self._writing[0]
        result: R = yield Join(handle)
        self._writing.popleft()
        yield from self.stages.finish(window, result)
