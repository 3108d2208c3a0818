"""What a server with OpenAI's ``POST /v1/embeddings`` gives for a model, found by asking it; knows no Elasticsearch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx
import numpy as np
from pydantic import SecretStr, TypeAdapter, ValidationError

from es_semantic.config.base import Url
from es_semantic.embedding import PROBE_TEXT
from es_semantic.embedding.batching import checked
from es_semantic.embedding.http import JsonPoster, Refused, TryAgain
from es_semantic.embedding.openai import parse_response
from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import InputRejected, ModelUnavailable, UsageError

WORDS = (250, 150, 100, 60, 40, 20)
"""Sizes of chunks that are tried: Elastic's default first, and what it takes at least last (Elastic docs, "Chunking").

Each leaves room to the next one, because other texts have more tokens a word than ours.
"""

SAME = 1e-4
"""Cosine distance below which two vectors count as one; other last words change a vector a hundred times as much."""

TOO_LONG = frozenset({400, 413, 422})
"""Statuses with which a server refuses a text that is longer than its model's window."""

TIMEOUT = 60.0
TRIES = 2

_PROSE = """
In March 1987 the harbour authority of Bergen published new measurements of the tide, and its engineers, who had
expected nothing unusual, photographed microscopic crystals on the quay walls; 3,482 invoices later, several
subcontractors were reimbursed for equipment that nobody remembered ordering, the underwater cameras included, and the
municipality quietly postponed its celebrations until the following September.
"""
"""Ordinary English: MiniLM has 1.3 tokens a word for it."""

_ENDS = (["an", "old", "wooden", "lighthouse"], ["a", "quiet", "village", "bakery"])


@dataclass(frozen=True, slots=True)
class Offer:
    """What the server gives: vectors of ``dims`` numbers, of ``unit_length`` or not, for up to ``words`` words of text.

    ``alike`` says whether a query gets the vector that a document of the same text gets.
    """

    dims: int
    unit_length: bool
    words: int
    alike: bool


@dataclass(frozen=True)
class Server:
    """Where the server is, the model to ask it for, and the key, None where it needs none."""

    url: str
    model: str
    key: SecretStr | None = field(default=None, repr=False)
    transport: httpx.BaseTransport | None = field(default=None, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        """Check what can be checked without asking.

        Raises:
            UsageError: no URL of a server, no name of a model, or a key that cannot be one.
        """
        try:
            object.__setattr__(self, "url", TypeAdapter(Url).validate_python(self.url))
        except ValidationError as error:
            # Without the value: it may hold a password.
            told = error.errors(include_input=False)[0]["msg"].removeprefix("Value error, ")
            raise UsageError(f"--server: {told}", hint="For example http://search-1.internal:8600") from None
        if not self.model.strip():
            raise UsageError("--model needs a name", hint="GET /v1/models of the server lists them.")
        token = self.key.get_secret_value() if self.key else ""
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise UsageError(
                "ES_SEMANTIC_SERVER_KEY holds a character that no key has: a space, a line break, or one outside ASCII",
                hint="Was the key copied with a line break at its end?",
            )

    @property
    def endpoint(self) -> str:
        """The URL to post to."""
        return f"{self.url}/v1/embeddings"

    def offer(self) -> Offer:
        """Ask for a few short texts and for pairs of longer ones that differ in their last words only.

        A pair whose vectors are the same is longer than the model's window.

        Raises:
            ModelUnavailable: the server does not answer, refuses the key, or is no such server.
            UsageError: it has no such model, or is something else.
            BadVector: it answers with something else than vectors.
        """
        poster = JsonPoster(
            self.endpoint, key=self.key, timeout=TIMEOUT, max_retries=TRIES, transport=self.transport, sleep=self.sleep
        )
        try:
            document = self._ask(poster, [PROBE_TEXT])
            query = self._ask(poster, [PROBE_TEXT], "query")
        except InputRejected as error:
            raise UsageError(
                error.what,
                hint="Give --server the address of `es-semantic serve`; its GET /v1/models lists its models.",
            ) from None
        return Offer(
            dims=document.shape[1],
            unit_length=bool(abs(float(np.linalg.norm(document[0])) - 1) < 1e-3),
            words=next((size for size in WORDS if self._fits(poster, size)), WORDS[-1]),
            alike=distance(document[0], query[0]) < SAME,
        )

    def _fits(self, poster: JsonPoster, words: int) -> bool:
        try:
            first, second = self._ask(poster, pair(words))
        except InputRejected:
            return False
        return distance(first, second) >= SAME

    def _ask(
        self, poster: JsonPoster, texts: Sequence[str], kind: Literal["document", "query"] = "document"
    ) -> Vectors:
        body = {"model": self.model, "input": list(texts), "input_type": kind}
        try:
            answer = poster.ask(body)
        except TryAgain as error:
            raise ModelUnavailable(
                f"{self.endpoint}: {error}", hint="Is `es-semantic serve` up, and is this its address?"
            ) from None
        except Refused as error:
            if error.status in TOO_LONG:
                raise InputRejected(f"{self.endpoint}: {error}") from None
            raise ModelUnavailable(f"{self.endpoint}: {error}", hint=_hint(error.status)) from None
        if not isinstance(answer, dict):
            raise ModelUnavailable(f"{self.endpoint} answers with something that is no JSON object", hint=_hint(404))
        return checked(parse_response(answer), len(texts), None)


def pair(words: int) -> list[str]:
    """Return two texts of so many words that differ in the last four only."""
    prose = _PROSE.split() * words
    return [" ".join(prose[: words - len(end)] + end) for end in _ENDS]


def distance(first: Vectors, second: Vectors) -> float:
    """Return the cosine distance of two vectors, 0 to 2."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    return 1 - float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _hint(status: int | None) -> str:
    if status == 401:
        return "Make a key: es-semantic key create NAME --scope embed; give it as ES_SEMANTIC_SERVER_KEY."
    if status == 403:
        return "The key needs the scope embed: es-semantic key create NAME --scope embed"
    if status is not None and 300 <= status < 400:
        return "Redirects are not followed: give --server the final address."
    return "Give --server the address of `es-semantic serve`, without /v1: http://host:8600"
