"""What an embedder around another one has of it."""

from __future__ import annotations

from es_semantic.embedding.protocol import Embedder, ModelProfile


class WrappedEmbedder:
    """The properties of the embedder inside, for those that change only how it is called."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def profile(self) -> ModelProfile:
        """The wrapped embedder's."""
        return self._embedder.profile

    @property
    def precision(self) -> str:
        """The wrapped embedder's, "" where it has none; it keeps caches apart."""
        return str(getattr(self._embedder, "precision", ""))

    @property
    def document_tokenizer(self) -> object:
        """The wrapped embedder's, None where it has none; by it long texts are cut."""
        return getattr(self._embedder, "document_tokenizer", None)
