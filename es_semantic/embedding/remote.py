"""What the HTTP providers share: prompts, batches and the profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from es_semantic.config import OllamaModel, OpenAIModel
from es_semantic.embedding.batching import embed_in_batches, plan_batches
from es_semantic.embedding.fingerprint import Fingerprint, probe_of
from es_semantic.embedding.probe import probe_vector
from es_semantic.embedding.protocol import Embeddings, ModelProfile
from es_semantic.embedding.unicode import encodable

CHARACTERS_PER_TOKEN = 4
"""Only sizes batches: the tokenizer is the server's. Servers refuse an over-long text; none is cut here."""

TOKENS_PER_REQUEST = 100_000
"""Below the 300,000 tokens that OpenAI takes in one request (API reference, "Create embeddings")."""


class RemoteEmbedder:
    """An embedder whose model runs behind HTTP; ``post`` sends one batch and returns its vectors, unchecked.

    Safe to use from several threads: the HTTP client is, and at worst two first uses both send the probe text.
    """

    def __init__(self, settings: OpenAIModel | OllamaModel, post: Callable[[list[str]], Any], dims: int | None) -> None:
        self._settings = settings
        self._post = post
        self._dims = dims

    @cached_property
    def profile(self) -> ModelProfile:
        """See :class:`~es_semantic.embedding.Embedder`; the first use sends the probe text."""
        probe = probe_vector(self.embed_documents, self._settings.name)
        fingerprint = Fingerprint(
            provider=self._settings.provider,
            model=self._settings.name,
            dims=probe.shape[0],
            document_prompt=self._settings.document_prompt,
            query_prompt=self._settings.query_prompt,
            probe=probe_of(probe),
        )
        self._dims = probe.shape[0]
        return ModelProfile(fingerprint, "cosine", None)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`."""
        return self._embed(texts, self._settings.document_prompt)

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`."""
        return self._embed(texts, self._settings.query_prompt)

    def _embed(self, texts: Sequence[str], prompt: str) -> Embeddings:
        prompted = encodable(prompt + text for text in texts)
        batches = plan_batches(
            [len(text) // CHARACTERS_PER_TOKEN + 1 for text in prompted],
            budget=TOKENS_PER_REQUEST,
            max_texts=self._settings.batch_size,
        )
        return Embeddings(embed_in_batches(prompted, batches, self._post, dims=self._dims))
