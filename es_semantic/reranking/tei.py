"""A model served by text-embeddings-inference (``POST {url}/rerank``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from es_semantic.config import TeiSettings
from es_semantic.reranking.http import HttpReranker
from es_semantic.reranking.scoring import by_index


@dataclass(frozen=True)
class TeiShape:
    """The OpenAPI description of text-embeddings-inference, "/rerank".

    Scores are the sigmoid of the model's own, from 0 to 1, or with ``raw_scores`` these. Without ``truncate`` one
    over-long text would fail the request.
    """

    name: str
    raw_scores: bool

    def request(self, query: str, texts: list[str]) -> dict[str, Any]:
        """Return the body of a request."""
        return {"query": query, "texts": texts, "raw_scores": self.raw_scores, "truncate": True}

    def read(self, answer: Any, count: int) -> list[float]:
        """Return the scores in the order of the texts; the answer holds them in the order of their scores.

        Raises:
            RerankerError: see :func:`~es_semantic.reranking.scoring.by_index`.
        """
        return by_index(answer, "score", count, self.name)


class TeiReranker(HttpReranker):
    """A model behind text-embeddings-inference; its name is the URL, as the server does not ask for one."""

    def __init__(
        self,
        settings: TeiSettings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """See :class:`~es_semantic.reranking.http.HttpReranker`."""
        shape = TeiShape(settings.url, settings.raw_scores)
        super().__init__(settings.url, settings, shape, transport=transport, sleep=sleep)
        self.bounded = not settings.raw_scores
