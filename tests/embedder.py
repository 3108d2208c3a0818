"""A tiny deterministic embedder, for speed and property tests only; quality is tested with the real model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from es_semantic.embedding import PROBE_TEXT, Embeddings, Fingerprint, ModelProfile
from es_semantic.embedding.fingerprint import probe_of

DIMS = 64


class TinyEmbedder:
    """A bag of hashed words: texts that share words are similar. Counts its calls and texts."""

    def __init__(self, name: str = "tiny", dims: int = DIMS) -> None:
        self.name = name
        self.dims = dims
        self.calls = 0
        self.texts: list[str] = []

    @property
    def profile(self) -> ModelProfile:
        probe = probe_of(self.vector(PROBE_TEXT))
        fingerprint = Fingerprint(provider="tests", model=self.name, dims=self.dims, normalized=True, probe=probe)
        return ModelProfile(fingerprint, "cosine", None)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        self.calls += 1
        self.texts += texts
        return Embeddings(np.stack([self.vector(text) for text in texts]))

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        return Embeddings(np.stack([self.vector(text) for text in texts]))

    def vector(self, text: str) -> NDArray[np.float32]:
        """The unit vector of a text, shape (dims,), float32."""
        words = Counter(text.lower().split() or [text])
        total = sum((count * self._word(word) for word, count in words.items()), np.zeros(self.dims))
        unit: NDArray[np.float32] = (total / np.linalg.norm(total)).astype(np.float32)
        return unit

    def _word(self, word: str) -> NDArray[np.float64]:
        seed = hashlib.sha256(f"{self.name} {word}".encode("utf-8", "replace")).digest()
        return np.random.default_rng(int.from_bytes(seed[:8], "big")).standard_normal(self.dims)
