"""Any server that speaks Cohere's rerank API (``POST {url}/rerank``): Cohere, Jina, vLLM and others."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from es_semantic.config import CohereSettings
from es_semantic.reranking.http import HttpReranker
from es_semantic.reranking.scoring import by_index


@dataclass(frozen=True)
class CohereShape:
    """Cohere's API reference, "Rerank", v2. Scores are relevances from 0 to 1 with Cohere's and Jina's models."""

    model: str

    def request(self, query: str, texts: list[str]) -> dict[str, Any]:
        """Return the body of a request, as Cohere's own client sends it; without ``top_n`` all texts are scored."""
        return {"model": self.model, "query": query, "documents": texts}

    def read(self, answer: Any, count: int) -> list[float]:
        """Return the scores in the order of the texts; the answer holds them in the order of their scores.

        Raises:
            RerankerError: see :func:`~es_semantic.reranking.scoring.by_index`.
        """
        results = answer.get("results") if isinstance(answer, dict) else None
        return by_index(results, "relevance_score", count, self.model)


class CohereReranker(HttpReranker):
    """A model behind Cohere's rerank API."""

    def __init__(
        self,
        settings: CohereSettings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """See :class:`~es_semantic.reranking.http.HttpReranker`."""
        super().__init__(settings.name, settings, CohereShape(settings.name), transport=transport, sleep=sleep)
        self.bounded = True
