"""Embed many texts without letting one bad text take the others down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from es_semantic.embedding import Embedder
from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import BadVector, InputRejected


@dataclass(frozen=True, slots=True)
class Embedded:
    """One text's outcome: a ``vector`` of shape (dims,), or the ``reason`` why there is none."""

    vector: Vectors | None
    over_long: bool = False
    reason: str = ""


def embed_each(embedder: Embedder, texts: Sequence[str]) -> list[Embedded]:
    """Embed the texts as documents, in order; a batch that fails for its content is halved to find the culprit.

    Raises:
        ModelUnavailable: the provider does not answer; no text is to blame.
    """
    if not texts:
        return []
    try:
        embeddings = embedder.embed_documents(texts)
    except (InputRejected, BadVector) as error:
        if len(texts) == 1:
            return [Embedded(None, reason=error.what)]
        half = len(texts) // 2
        return embed_each(embedder, texts[:half]) + embed_each(embedder, texts[half:])
    over_long = set(embeddings.over_long)
    return [Embedded(vector, over_long=i in over_long) for i, vector in enumerate(embeddings.vectors)]
