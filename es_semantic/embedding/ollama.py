"""Models served by Ollama (``POST {url}/api/embed``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from es_semantic.config import OllamaModel
from es_semantic.embedding.http import JsonPoster
from es_semantic.embedding.remote import RemoteEmbedder
from es_semantic.errors import BadVector


def request_body(settings: OllamaModel, texts: Sequence[str]) -> dict[str, Any]:
    """Return the body of one request (Ollama API documentation, "Generate Embeddings").

    ``truncate`` is off: Ollama would otherwise cut an over-long text without saying so.
    """
    return {"model": settings.name, "input": list(texts), "truncate": False}


def parse_response(answer: dict[str, Any]) -> list[Any]:
    """Return the vectors in the order of the request, unchecked.

    Raises:
        BadVector: the answer does not have that form.
    """
    vectors = answer.get("embeddings")
    if not isinstance(vectors, list):
        raise BadVector("the answer is not that of Ollama's /api/embed: it has no list of embeddings")
    return vectors


class OllamaEmbedder(RemoteEmbedder):
    """A model behind Ollama."""

    def __init__(self, settings: OllamaModel, *, transport: httpx.BaseTransport | None = None) -> None:
        """Nothing is sent yet. ``transport`` replaces the network in tests."""
        poster = JsonPoster(
            f"{settings.url}/api/embed",
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            transport=transport,
        )
        super().__init__(settings, lambda texts: parse_response(poster.post(request_body(settings, texts))), None)
