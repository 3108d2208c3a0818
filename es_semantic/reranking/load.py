"""From a reranker's settings to a reranker."""

from __future__ import annotations

from functools import lru_cache

from es_semantic.config import CohereSettings, CrossEncoderSettings, RerankerSettings
from es_semantic.reranking.protocol import Reranker


@lru_cache(maxsize=8)
def load_reranker(settings: RerankerSettings) -> Reranker:
    """Return the reranker of these settings, loaded once per process; nothing is sent to a server yet.

    Two threads that ask for the same model before it is loaded both load it; the second copy lives as long as its user.

    Raises:
        MissingExtra: the library of a model in this process is not installed.
        RerankerUnavailable: the model cannot be loaded.
        RerankerError: the model is no reranker, or the key holds what an HTTP header cannot carry.
    """
    if isinstance(settings, CrossEncoderSettings):
        from es_semantic.reranking.cross_encoder import CrossEncoderReranker

        return CrossEncoderReranker(settings)
    if isinstance(settings, CohereSettings):
        from es_semantic.reranking.cohere import CohereReranker

        return CohereReranker(settings)
    from es_semantic.reranking.tei import TeiReranker

    return TeiReranker(settings)
