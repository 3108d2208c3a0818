"""An embedder that many callers share: what they ask for at the same time runs through the model together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from es_semantic.embedding.protocol import Embedder, Embeddings, ModelProfile
from es_semantic.errors import BadVector, InputRejected, ModelUnavailable, Overloaded

PATIENCE = 0.02
"""Seconds that a batch waits at most to become as large as the one before it. Whoever is alone waits for nobody."""

IDLE = 60.0
"""Seconds after which a thread without work ends. Models keep memory for each thread that has run them."""

MOST_CHARACTERS = 32_768
"""Of a batch: about 8,192 tokens, two of the batches that the models here plan. A call that is longer runs alone."""

MOST_WAITING = 2_048
"""Texts that may wait; more are refused, because whoever asked would have gone before they were embedded."""


class SharedEmbedder:
    """Runs what several threads ask for together: one forward pass for many short texts costs little more than for one.

    Documents and queries are apart, because they may have different prompts. While a batch runs, the next one fills,
    and waits up to :data:`PATIENCE` until it has as many calls. Texts that the model refuses fail only their caller.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        patience: float = PATIENCE,
        most_waiting: int = MOST_WAITING,
        ran: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start nothing yet; ``ran`` is told the texts of each batch."""
        self._embedder = embedder
        self._documents = _Lane(embedder.embed_documents, patience, most_waiting, ran)
        self._queries = _Lane(embedder.embed_queries, patience, most_waiting, ran)

    @property
    def profile(self) -> ModelProfile:
        """The shared embedder's."""
        return self._embedder.profile

    @property
    def precision(self) -> str:
        """The shared embedder's, "" where it has none; it keeps caches apart."""
        return str(getattr(self._embedder, "precision", ""))

    @property
    def document_tokenizer(self) -> object:
        """The shared embedder's, None where it has none; by it long texts are cut."""
        return getattr(self._embedder, "document_tokenizer", None)

    @property
    def waiting(self) -> int:
        """Texts that wait for the model."""
        return self._documents.waiting + self._queries.waiting

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`.

        Raises:
            Overloaded: too many texts wait already.
        """
        return self._documents.ask(texts).result()

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """See :meth:`embed_documents`."""
        return self._queries.ask(texts).result()

    def ask_documents(self, texts: Sequence[str]) -> Future[Embeddings]:
        """Ask without waiting; a future that is cancelled before its batch runs costs nothing."""
        return self._documents.ask(texts)

    def ask_queries(self, texts: Sequence[str]) -> Future[Embeddings]:
        """See :meth:`ask_documents`."""
        return self._queries.ask(texts)

    def close(self) -> None:
        """Let no batch begin any more; what waits fails."""
        self._documents.close()
        self._queries.close()


@dataclass(frozen=True, slots=True)
class _Asked:
    texts: tuple[str, ...]
    outcome: Future[Embeddings]

    @property
    def characters(self) -> int:
        return sum(map(len, self.texts))


class _Lane:
    """One queue, and one thread that empties it, until nothing comes any more."""

    def __init__(
        self,
        embed: Callable[[Sequence[str]], Embeddings],
        patience: float,
        most_waiting: int,
        ran: Callable[[int], None],
    ) -> None:
        self._embed = embed
        self._patience = patience
        self._most_waiting = most_waiting
        self._ran = ran
        self._queue: deque[_Asked] = deque()
        self._turn = threading.Condition()
        self._running = False
        self._last = 1
        self._closed = False
        self.waiting = 0

    def ask(self, texts: Sequence[str]) -> Future[Embeddings]:
        asked = _Asked(tuple(texts), Future())
        with self._turn:
            if self._closed:
                raise ModelUnavailable("the model is being shut down")
            # One call may be larger than the queue: it is for the caller's limits to say how large.
            if self.waiting and self.waiting + len(asked.texts) > self._most_waiting:
                raise Overloaded(
                    f"{self.waiting:,} texts wait for the model already", hint="Try again in a second, with fewer."
                )
            self._queue.append(asked)
            self.waiting += len(asked.texts)
            if self._running:
                self._turn.notify()
            else:
                self._running = True
                threading.Thread(target=self._run, name="es-semantic-embed", daemon=True).start()
        return asked.outcome

    def close(self) -> None:
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
            texts = [text for asked in batch for text in asked.texts]
            try:
                self._ran(len(texts))
                answers = _parts(self._embed(texts), batch)
            except (InputRejected, BadVector) as error:
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

    def _one_by_one(self, batch: list[_Asked]) -> None:
        for asked in batch:
            try:
                asked.outcome.set_result(self._embed(asked.texts))
            except BaseException as error:
                asked.outcome.set_exception(error)

    def _next(self) -> list[_Asked]:
        """Return the calls to run together; none where nothing came for long, and then this thread ends."""
        with self._turn:
            while not self._queue:
                if self._closed or not self._turn.wait(IDLE):
                    self._running = bool(self._queue)
                    if not self._running:
                        return []
            end = time.monotonic() + self._patience
            while len(self._queue) < self._last and self._characters() < MOST_CHARACTERS:
                left = end - time.monotonic()
                if left <= 0 or not self._turn.wait(left):
                    break
            return self._taken()

    def _taken(self) -> list[_Asked]:
        batch: list[_Asked] = []
        size = 0
        while self._queue and (not batch or size + self._queue[0].characters <= MOST_CHARACTERS):
            asked = self._queue.popleft()
            self.waiting -= len(asked.texts)
            if asked.outcome.set_running_or_notify_cancel():
                batch.append(asked)
                size += asked.characters
        self._last = len(batch)
        return batch or self._next()

    def _characters(self) -> int:
        return sum(asked.characters for asked in self._queue)


def _parts(embeddings: Embeddings, batch: list[_Asked]) -> list[Embeddings]:
    """Return each call's own part of what was embedded together."""
    parts, start = [], 0
    for asked in batch:
        end = start + len(asked.texts)
        over_long = tuple(place - start for place in embeddings.over_long if start <= place < end)
        parts.append(Embeddings(embeddings.vectors[start:end], over_long))
        start = end
    return parts
