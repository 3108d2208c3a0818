"""All queries embedded at once, so that searches afterwards are timed without the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from es_semantic.embedding import Embedder, Embeddings, ModelProfile
from es_semantic.embedding.protocol import Vectors


class PreparedQueries:
    """An embedder that has embedded these queries already; any other text goes to the model."""

    def __init__(self, embedder: Embedder, queries: Iterable[str]) -> None:
        """Embed each distinct query once; raises as :meth:`~es_semantic.embedding.Embedder.embed_queries`."""
        texts = list(dict.fromkeys(queries))
        self._embedder = embedder
        self._known: dict[str, Vectors] = {}
        if texts:
            self._known = dict(zip(texts, embedder.embed_queries(texts).vectors, strict=True))
        self.profile: ModelProfile = embedder.profile

    def vector(self, text: str) -> Vectors:
        """Return the vector of one query, shape (dims,), float32."""
        found: Vectors = self.embed_queries([text]).vectors[0]
        return found

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`."""
        if all(text in self._known for text in texts):
            return Embeddings(np.stack([self._known[text] for text in texts]))
        return self._embedder.embed_queries(texts)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`."""
        return self._embedder.embed_documents(texts)
