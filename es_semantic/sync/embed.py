"""Embed many texts without letting one bad text take the others down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from es_semantic.embedding import Embedder
from es_semantic.embedding.probe import probe_vector
from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import BadVector, InputRejected, ModelUnavailable


@dataclass(frozen=True, slots=True)
class Embedded:
    """One text's outcome: a ``vector`` of shape (dims,), or the ``reason`` why there is none."""

    vector: Vectors | None
    over_long: bool = False
    reason: str = ""


def embed_each(embedder: Embedder, texts: Sequence[str]) -> list[Embedded]:
    """Embed the texts as documents, in order; a batch that fails is halved to find the culprit.

    A failure that the probe sentence shares is the model's and is raised. Any other is the texts', even one that the
    provider reports as its own: many answer HTTP 500 to a text that they cannot take, and would stop every pass there.

    Raises:
        ModelUnavailable: the provider does not answer, or fails for every text; no text is to blame.
    """
    if not texts:
        return []
    try:
        embeddings = embedder.embed_documents(texts)
    except (InputRejected, BadVector, ModelUnavailable) as error:
        _require_working(embedder, error)
        if len(texts) == 1:
            return [Embedded(None, reason=error.what)]
        half = len(texts) // 2
        return embed_each(embedder, texts[:half]) + embed_each(embedder, texts[half:])
    over_long = set(embeddings.over_long)
    return [Embedded(vector, over_long=i in over_long) for i, vector in enumerate(embeddings.vectors)]


def _require_working(embedder: Embedder, failure: InputRejected | BadVector | ModelUnavailable) -> None:
    try:
        probe_vector(embedder.embed_documents, embedder.profile.fingerprint.model)
    except ModelUnavailable:
        if isinstance(failure, ModelUnavailable):
            raise failure from None
        raise
