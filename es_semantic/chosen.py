"""Which model, which reranker and which semantic field serve a call of the Python interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from es_semantic.cluster.capabilities import Version, server_version
from es_semantic.cluster.steps import Compute, Steps
from es_semantic.config import Config, ModelSettings, SentenceTransformersModel
from es_semantic.embedding import Embedder, Fingerprint
from es_semantic.embedding.cached import caching
from es_semantic.embedding.choose import cached_embedder, embedder_for
from es_semantic.errors import UsageError
from es_semantic.reranking.load import load_reranker
from es_semantic.retrieval.query_vectors import Models
from es_semantic.retrieval.reranked import Rerankers
from es_semantic.schema.binding import Binding, Bindings, read_bindings
from es_semantic.schema.target import Target, resolve
from es_semantic.sync.worker import Options, Worker, start

DEFAULT_NAME = "default"
"""The model of whoever names none."""


@runtime_checkable
class Source(Protocol):
    """Where embedders come from, for whoever keeps them loaded: a server, say."""

    def bound(self, fingerprint: Fingerprint, index: str) -> Embedder:
        """Return the embedder of an index that is bound to a fingerprint.

        Raises:
            ModelUnavailable: there is none.
        """
        ...

    def named(self, name: str) -> Embedder | None:
        """Return the embedder of a configured model; None where none is configured by that name."""
        ...


Model = Embedder | ModelSettings | Source | None
"""An embedder of your own, a model's settings, a source of embedders, or None: the default (attach), the bound one
(sync, search)."""


def loaded(model: Model) -> Embedder:
    """Load a model by its settings, or take an embedder as it is; of a source the default one.

    Raises:
        UsageError: the source has no default.
    """
    if isinstance(model, Source):
        default = model.named(DEFAULT_NAME)
        if default is None:
            raise UsageError("there is no default model", hint="Name one, or give an embedder.")
        return default
    if model is None:
        return cached_embedder(SentenceTransformersModel())
    return cached_embedder(model) if isinstance(model, ModelSettings) else model


def models_for(model: Model, config: Config | None, index: str) -> Models:
    """Return where a query's embedders come from: the caller's model, else the configuration."""
    choose = choosing(model, config)

    def named(name: str) -> Embedder | None:
        if isinstance(model, Source):
            return model.named(name)
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
        if isinstance(model, Source):
            return model.bound(fingerprint, index)
        if model is not None:
            return loaded(model)
        configured = config.models.values() if config else ()
        return embedder_for(fingerprint, configured, index=index)

    return choose


def behind_cache(embedder: Embedder, model: Model, config: Config | None) -> Embedder:
    """Let the embedder of configured models remember vectors; one that the caller brings only within a batch."""
    own = model is not None and not isinstance(model, ModelSettings | Source)
    settings = (config or Config()).embedding_cache
    return caching(embedder, settings.model_copy(update={"max_size": "0"}) if own else settings)


@dataclass(frozen=True, slots=True)
class Bound:
    """The semantic field that serves under a name: its ``place`` in the mapping of ``target``; ``version`` is the
    server's, None where these credentials may not know it."""

    version: Version | None
    target: Target
    bindings: Bindings
    place: str

    @property
    def binding(self) -> Binding:
        """How it is bound."""
        return self.bindings.fields[self.place]


def bound(index: str, name: str) -> Steps[Bound]:
    """Look up the field that serves under a name.

    The version comes first, because on a server that is too old nothing can be attached.

    Raises:
        NotAttached: there is no semantic field of that name.
    """
    version = yield from server_version()
    target = yield from resolve(index)
    bindings = read_bindings(target.mapping, index=target.name)
    bindings.one(name, index=target.name)
    return Bound(version, target, bindings, bindings.place(name))


def worker_for(index: str, name: str, model: Model, config: Config | None, options: Options) -> Steps[Worker]:
    """Return a worker for the field that serves under a name, with the caller's model or the bound one.

    Raises:
        NotAttached: there is no semantic field of that name.
        FingerprintMismatch: the caller's model is not the bound one.
        ModelError: the model cannot be loaded.
    """
    of = yield from bound(index, name)
    choose = choosing(model, config)
    embedder = yield Compute(lambda: behind_cache(choose(of.binding.fingerprint, of.target.name), model, config))
    worker = yield from start(of.target, of.binding, embedder, of.version, name=of.place, options=options)
    # Who asks for one of two fields by its own place, or brings a model, wants that one alone.
    alone = of.bindings.name_of(of.place) != name or not (model is None or isinstance(model, Source))
    worker.beside = () if alone else tuple(of.bindings.beside(of.place))
    return worker
