"""Models served by Ollama (``POST {url}/api/embed``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np

from es_semantic.config import OllamaModel
from es_semantic.embedding.http import JsonPoster
from es_semantic.embedding.protocol import Vectors
from es_semantic.embedding.remote import RemoteEmbedder
from es_semantic.errors import BadVector


def request_body(settings: OllamaModel, texts: Sequence[str]) -> dict[str, Any]:
    """Return the body of one request (Ollama API documentation, "Generate Embeddings").

    ``truncate`` is off: Ollama would otherwise cut an over-long text without saying so.
    """
    return {"model": settings.name, "input": list(texts), "truncate": False}


def parse_response(answer: dict[str, Any]) -> Vectors:
    """Return the vectors, shape (texts, dims), in the order of the request.

    Raises:
        BadVector: the answer does not have that form.
    """
    try:
        return np.asarray(answer["embeddings"], dtype=np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise BadVector(f"the answer is not that of Ollama's /api/embed: {error}") from error


class OllamaEmbedder(RemoteEmbedder):
    """A model behind Ollama."""

    def __init__(self, settings: OllamaModel, *, transport: httpx.BaseTransport | None = None) -> None:
        """Nothing is sent yet. ``transport`` replaces the network in tests."""
        poster = JsonPoster(
            f"{settings.url}/api/embed",
            headers={},
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            transport=transport,
        )
        super().__init__(settings, lambda texts: parse_response(poster.post(request_body(settings, texts))), None)
