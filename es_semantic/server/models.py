"""The models that the server keeps loaded, each shared by all requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from es_semantic.chosen import DEFAULT_NAME, Source
from es_semantic.config import Config
from es_semantic.embedding import PROBE_TEXT, Embedder, Fingerprint
from es_semantic.embedding.choose import cached_embedder, embedder_for
from es_semantic.embedding.engines.bulk import BULK
from es_semantic.embedding.shared import SharedEmbedder
from es_semantic.errors import EsSemanticError

log = logging.getLogger("es_semantic.server")


class ConfiguredModels:
    """The models of a configuration, and the default one: a :class:`~es_semantic.chosen.Source`."""

    def __init__(self, config: Config) -> None:
        """Nothing is loaded yet."""
        self._config = config

    def bound(self, fingerprint: Fingerprint, index: str) -> Embedder:
        """See :class:`~es_semantic.chosen.Source`."""
        return embedder_for(fingerprint, self._config.models.values(), index=index)

    def named(self, name: str) -> Embedder | None:
        """See :class:`~es_semantic.chosen.Source`."""
        return cached_embedder(self._config.model(name)) if name in {DEFAULT_NAME, *self._config.models} else None


class SharedModels:
    """A :class:`~es_semantic.chosen.Source` whose embedders run together what many requests ask for.

    ``names`` are those by which requests may ask for a model. ``ran`` is told the texts of each batch.
    """

    def __init__(self, source: Source, config: Config, ran: Callable[[int], None] = lambda _: None) -> None:
        """Nothing is loaded yet."""
        self._source = source
        self._ran = ran
        self._first = list(config.models) or [DEFAULT_NAME]
        self.names = sorted({DEFAULT_NAME, *config.models})
        self._shared: dict[int, SharedEmbedder] = {}
        self._known: dict[str, SharedEmbedder] = {}
        self._lock = threading.Lock()

    def bound(self, fingerprint: Fingerprint, index: str) -> SharedEmbedder:
        """See :class:`~es_semantic.chosen.Source`."""
        return self._share(self._source.bound(fingerprint, index))

    def named(self, name: str) -> SharedEmbedder | None:
        """See :class:`~es_semantic.chosen.Source`."""
        embedder = self._source.named(name)
        if embedder is None:
            return None
        shared = self._share(embedder)
        # What a model is costs a run of it, once.
        assert shared.profile.dims
        self._known[name] = shared
        return shared

    def known(self, name: str) -> SharedEmbedder | None:
        """Return the model of this name if it has been asked for before: it is loaded then."""
        return self._known.get(name)

    @property
    def waiting(self) -> int:
        """Texts that wait for a model."""
        with self._lock:
            return sum(each.waiting for each in self._shared.values())

    def warm_up(self) -> None:
        """Load the models that requests may ask for, and the engines that run many texts, before somebody waits.

        What cannot be loaded is told in the log; whoever asks for it is told why.
        """
        for name in self._first:
            try:
                embedder = self._source.named(name)
                if embedder is not None and embedder.profile.fingerprint.provider == "sentence-transformers":
                    embedder.embed_queries([PROBE_TEXT])
                    embedder.embed_documents([PROBE_TEXT] * BULK)
            except EsSemanticError as error:
                log.warning("model %s is not ready: %s", name, error.what)

    def close(self) -> None:
        """Let no text wait any longer."""
        with self._lock:
            for each in self._shared.values():
                each.close()

    def _share(self, embedder: Embedder) -> SharedEmbedder:
        with self._lock:
            # Embedders are kept for the life of the process, so that what is shared is told by which one it is.
            if id(embedder) not in self._shared:
                self._shared[id(embedder)] = SharedEmbedder(embedder, ran=self._ran)
            return self._shared[id(embedder)]
