"""Which model, and which reranker, serves a call of the Python interface."""

from __future__ import annotations

from collections.abc import Callable

from es_semantic.config import Config, ModelSettings, SentenceTransformersModel
from es_semantic.embedding import Embedder, Fingerprint
from es_semantic.embedding.cached import caching
from es_semantic.embedding.choose import cached_embedder, embedder_for
from es_semantic.reranking.load import load_reranker
from es_semantic.retrieval.query_vectors import Models
from es_semantic.retrieval.reranked import Rerankers

Model = Embedder | ModelSettings | None
"""An embedder of your own, a model's settings, or None: the default (attach), the bound one (sync, search)."""


def loaded(model: Model) -> Embedder:
    """Load a model by its settings, or take an embedder as it is."""
    if model is None:
        return cached_embedder(SentenceTransformersModel())
    return cached_embedder(model) if isinstance(model, ModelSettings) else model


def models_for(model: Model, config: Config | None, index: str) -> Models:
    """Return where a query's embedders come from: the caller's model, else the configuration."""
    choose = choosing(model, config)

    def named(name: str) -> Embedder | None:
        configured = config.models if config is not None else {}
        return cached_embedder(configured[name]) if name in configured else None

    return Models(lambda binding: choose(binding.fingerprint, index), named)


def rerankers_for(config: Config | None) -> Rerankers:
    """Return where a query's rerankers come from: the configuration."""
    configured = config.rerankers if config is not None else {}
    return Rerankers(configured.__contains__, lambda name: load_reranker(configured[name]))


def choosing(model: Model, config: Config | None) -> Callable[[Fingerprint, str], Embedder]:
    """Return how the embedder of an index is chosen by what the index is bound to: the caller's, else a configured."""

    def choose(fingerprint: Fingerprint, index: str) -> Embedder:
        if model is not None:
            return loaded(model)
        configured = config.models.values() if config else ()
        return embedder_for(fingerprint, configured, index=index)

    return choose


def behind_cache(embedder: Embedder, model: Model, config: Config | None) -> Embedder:
    """Let the embedder of configured models remember vectors; one that the caller brings only within a batch."""
    own = model is not None and not isinstance(model, ModelSettings)
    settings = (config or Config()).embedding_cache
    return caching(embedder, settings.model_copy(update={"max_size": "0"}) if own else settings)
