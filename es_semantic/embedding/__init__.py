"""Texts to float32 vectors: providers, batching, checks and the fingerprint of a model's output."""

from es_semantic.embedding.fingerprint import PROBE_TEXT, Fingerprint, is_same_model, require_same_model
from es_semantic.embedding.protocol import Embedder, Embeddings, ModelProfile
from es_semantic.embedding.providers import load_embedder

__all__ = [
    "PROBE_TEXT",
    "Embedder",
    "Embeddings",
    "Fingerprint",
    "ModelProfile",
    "is_same_model",
    "load_embedder",
    "require_same_model",
]
