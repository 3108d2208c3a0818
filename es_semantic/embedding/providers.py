"""From a model's settings to an embedder."""

from __future__ import annotations

from es_semantic.config import ModelSettings, OllamaModel, SentenceTransformersModel
from es_semantic.embedding.protocol import Embedder


def load_embedder(settings: ModelSettings | None = None) -> Embedder:
    """Load the model; without settings the default, all-MiniLM-L6-v2 in this process.

    Raises:
        MissingExtra: the model's library is not installed.
        ModelUnavailable: the model cannot be loaded, or its provider does not answer.
    """
    settings = settings or SentenceTransformersModel()
    if isinstance(settings, SentenceTransformersModel):
        from es_semantic.embedding.sentence_transformers import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(settings)
    if isinstance(settings, OllamaModel):
        from es_semantic.embedding.ollama import OllamaEmbedder

        return OllamaEmbedder(settings)
    from es_semantic.embedding.openai import OpenAIEmbedder

    return OpenAIEmbedder(settings)
