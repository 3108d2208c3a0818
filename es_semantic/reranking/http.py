"""What the rerankers behind HTTP share: batches, the deadline, and errors that quote neither key nor text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

import httpx

from es_semantic.config import CohereSettings, TeiSettings
from es_semantic.embedding.http import REJECTED_STATUSES, RETRIED_STATUSES, JsonPoster, Refused, TryAgain
from es_semantic.errors import ModelUnavailable, RerankerError, RerankerUnavailable
from es_semantic.masking import MASK
from es_semantic.reranking.deadline import Deadline, within
from es_semantic.reranking.scoring import scored

QUOTED = 12
"""Characters. As many of a query or text in a row are masked where a server repeats them."""

SHORTEST = 3
"""Characters. Masking a text of one letter would leave nothing to read."""


class Shape(Protocol):
    """One way to ask and to answer over HTTP."""

    def request(self, query: str, texts: list[str]) -> dict[str, Any]:
        """Return the body of a request."""
        ...

    def read(self, answer: Any, count: int) -> list[float]:
        """Return the scores of ``count`` texts, in their order, from the JSON of an answer.

        Raises:
            RerankerError: the answer holds something else.
        """
        ...


class HttpReranker:
    """A reranker whose model runs behind ``POST {url}/rerank``; safe to use from several threads.

    Texts go in requests of ``batch_size``, one after the other. Scores of several requests can be compared where the
    model judges each text alone, as cross-encoders do; for one that reads all texts at once, set ``batch_size`` so that
    they fit one request.
    """

    def __init__(
        self,
        name: str,
        settings: CohereSettings | TeiSettings,
        shape: Shape,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is sent yet. ``transport`` replaces the network in tests; ``sleep`` waits between tries.

        Raises:
            RerankerError: the key holds what an HTTP header cannot carry.
        """
        self.name = name
        self._url = f"{settings.url}/rerank"
        self._timeout = settings.timeout
        self._batch_size = settings.batch_size
        self._shape = shape
        try:
            self._poster = JsonPoster(
                self._url,
                key=settings.api_key,
                timeout=settings.timeout,
                max_retries=settings.max_retries,
                section="rerankers",
                transport=transport,
                sleep=sleep,
            )
        except ModelUnavailable as error:
            raise RerankerError(error.what, hint=error.hint) from None

    def scores(self, query: str, texts: Sequence[str], *, deadline: float | None = None) -> list[float]:
        """See :class:`~es_semantic.reranking.Reranker`."""
        clock = Deadline(self._timeout if deadline is None else deadline, self.name)
        return within(clock, lambda: scored(query, texts, lambda query, texts: self._in_batches(query, texts, clock)))

    def _in_batches(self, query: str, texts: list[str], clock: Deadline) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(texts), self._batch_size):
            batch = texts[start : start + self._batch_size]
            scores += self._shape.read(self._ask(query, batch, clock), len(batch))
        return scores

    def _ask(self, query: str, batch: list[str], clock: Deadline) -> Any:
        try:
            return self._poster.ask(self._shape.request(query, batch), left=clock.left)
        except TryAgain as error:
            raise RerankerUnavailable(
                f"{self._url}: {unquoted(str(error), [query, *batch])}", hint="Is the reranker up?"
            ) from None
        except Refused as error:
            raise self._refusal(error, [query, *batch]) from None

    def _refusal(self, error: Refused, sent: list[str]) -> RerankerError:
        said, status = unquoted(str(error), sent), error.status or 0
        if status in RETRIED_STATUSES or status >= 500:
            return RerankerUnavailable(f"{self._url}: {said}", hint=error.hint)
        if status in REJECTED_STATUSES:
            return RerankerError(
                f"{self._url} refuses the request: {said}",
                hint="Check rerankers.*.name, and that rerankers.*.batch_size is not more than the server takes.",
            )
        return RerankerError(f"{self._url}: {said}", hint=error.hint)


def unquoted(said: str, sent: Sequence[str]) -> str:
    """Return what a server said with every run of :data:`QUOTED` characters of the texts that were sent masked.

    Servers quote what they refuse. Blanks count as one, as in a server's words that became one line. A text that is
    shorter than such a run, but not than :data:`SHORTEST`, is masked where the whole of it stands there.
    """
    texts = [" ".join(text.split()) for text in sent]
    everything = "\n".join(texts)
    spans = [(at, at + QUOTED) for at in range(len(said) - QUOTED + 1) if said[at : at + QUOTED] in everything]
    short = {text for text in texts if SHORTEST <= len(text) < QUOTED}
    spans += [(at, at + len(text)) for text in short for at in range(len(said)) if said.startswith(text, at)]
    hidden = [False] * len(said)
    for start, end in spans:
        hidden[start:end] = [True] * (end - start)
    runs = groupby(zip(said, hidden, strict=True), key=itemgetter(1))
    return "".join(MASK if hide else "".join(character for character, _ in run) for hide, run in runs)
