"""Any server that speaks OpenAI's embeddings API (``POST {url}/embeddings``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pybase64

from es_semantic.config import OpenAIModel
from es_semantic.embedding.http import JsonPoster
from es_semantic.embedding.protocol import Vectors
from es_semantic.embedding.remote import RemoteEmbedder
from es_semantic.errors import BadVector


def request_body(settings: OpenAIModel, texts: Sequence[str]) -> dict[str, Any]:
    """Return the body of one request (OpenAI API reference, "Create embeddings"); vectors are asked for as base64."""
    body: dict[str, Any] = {"model": settings.name, "input": list(texts), "encoding_format": "base64"}
    if settings.dimensions is not None:
        body["dimensions"] = settings.dimensions
    return body


def parse_response(answer: dict[str, Any]) -> Vectors:
    """Return the vectors, shape (texts, dims), in the order of the request.

    Servers that ignore ``encoding_format`` answer with lists of numbers; both forms are read. OpenAI's base64 is
    little-endian float32.

    Raises:
        BadVector: the answer does not have that form.
    """
    try:
        rows = sorted(answer["data"], key=lambda row: row["index"])
        if [row["index"] for row in rows] != list(range(len(rows))):
            raise BadVector("the embedding server's answer skips or repeats an index")
        return np.stack([_vector(row["embedding"]) for row in rows])
    except (KeyError, TypeError, ValueError) as error:
        raise BadVector(f"the embedding server's answer is not OpenAI's format: {error}") from error


def _vector(value: str | list[float]) -> Vectors:
    if isinstance(value, str):
        return np.frombuffer(pybase64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
    return np.asarray(value, dtype=np.float32)


class OpenAIEmbedder(RemoteEmbedder):
    """A model behind OpenAI's embeddings API."""

    def __init__(self, settings: OpenAIModel, *, transport: httpx.BaseTransport | None = None) -> None:
        """Nothing is sent yet. ``transport`` replaces the network in tests."""
        key = settings.api_key.get_secret_value() if settings.api_key else None
        poster = JsonPoster(
            f"{settings.url}/embeddings",
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            transport=transport,
        )
        super().__init__(
            settings, lambda texts: parse_response(poster.post(request_body(settings, texts))), settings.dimensions
        )
