"""Any server that speaks OpenAI's embeddings API (``POST {url}/embeddings``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pybase64

from es_semantic.config import OpenAIModel
from es_semantic.embedding.http import JsonPoster
from es_semantic.embedding.remote import RemoteEmbedder
from es_semantic.errors import BadVector


def request_body(settings: OpenAIModel, texts: Sequence[str]) -> dict[str, Any]:
    """Return the body of one request (OpenAI API reference, "Create embeddings"); vectors are asked for as base64."""
    body: dict[str, Any] = {"model": settings.name, "input": list(texts), "encoding_format": "base64"}
    if settings.dimensions is not None:
        body["dimensions"] = settings.dimensions
    return body


def parse_response(answer: dict[str, Any]) -> list[Any]:
    """Return the vectors in the order of the request, unchecked.

    Servers that ignore ``encoding_format`` answer with lists of numbers; both forms are read. OpenAI's base64 is
    little-endian float32.

    Raises:
        BadVector: the answer does not have that form.
    """
    rows = answer.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "embedding" in row for row in rows):
        raise BadVector("the embedding server's answer is not OpenAI's format: it has no list of embeddings")
    # True is the number 1 to Python, and 1.0 equals it.
    by_index = {row["index"]: row["embedding"] for row in rows if type(row.get("index")) is int}
    if len(by_index) != len(rows) or set(by_index) != set(range(len(rows))):
        raise BadVector("the embedding server's answer lacks, skips or repeats an index")
    return [_vector(by_index[i]) for i in range(len(rows))]


def _vector(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return np.frombuffer(pybase64.b64decode(value, validate=True), dtype="<f4")
    except ValueError as error:
        raise BadVector("the embedding server's answer holds a string that is not base64 of float32") from error


class OpenAIEmbedder(RemoteEmbedder):
    """A model behind OpenAI's embeddings API."""

    def __init__(self, settings: OpenAIModel, *, transport: httpx.BaseTransport | None = None) -> None:
        """Nothing is sent yet. ``transport`` replaces the network in tests.

        Raises:
            ModelUnavailable: the key holds what an HTTP header cannot carry.
        """
        poster = JsonPoster(
            f"{settings.url}/embeddings",
            key=settings.api_key,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            transport=transport,
        )
        super().__init__(
            settings, lambda texts: parse_response(poster.post(request_body(settings, texts))), settings.dimensions
        )
