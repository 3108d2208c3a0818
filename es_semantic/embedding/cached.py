"""An embedder that asks the embedding cache first."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import orjson

from es_semantic.config.settings import EmbeddingCacheSettings
from es_semantic.embedding.batching import checked
from es_semantic.embedding.cache import CachedVector, VectorCache, open_cache
from es_semantic.embedding.fingerprint import PROBE_TEXT
from es_semantic.embedding.protocol import Embedder, Embeddings
from es_semantic.embedding.wrapped import WrappedEmbedder


def caching(embedder: Embedder, settings: EmbeddingCacheSettings) -> CachingEmbedder:
    """Return the embedder behind the configured cache; with the cache off, duplicates still are embedded once."""
    return CachingEmbedder(embedder, open_cache(settings.file, settings.max_bytes))


class CachingEmbedder(WrappedEmbedder):
    """Embeds each distinct document text that the cache does not know once, and no other.

    ``hits`` counts the texts that needed no run of the model (known ones and repetitions within a call), ``misses``
    those that did; texts of a call that failed are in neither. An embedder whose number format or engine changes its
    vectors says so in an attribute ``precision`` (such as "int8", default ""), which keeps these vectors apart. Safe
    to use from several threads if the wrapped embedder is.
    """

    def __init__(self, embedder: Embedder, cache: VectorCache) -> None:
        super().__init__(embedder)
        self._cache = cache
        self._counting = threading.Lock()
        self.hits = 0
        self.misses = 0

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`; the wrapped embedder's errors pass unchanged."""
        if not texts:
            return self._embedder.embed_documents(texts)
        keys, distinct = self._keyed(texts)
        known = self._known(distinct)
        fresh = self._embed([key for key in distinct if key not in known], distinct)
        found = known | fresh
        with self._counting:
            self.hits += len(texts) - len(fresh)
            self.misses += len(fresh)
        vectors = np.stack([found[key].vector for key in keys])
        return Embeddings(vectors, tuple(i for i, key in enumerate(keys) if found[key].over_long))

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`; queries are not cached."""
        return self._embedder.embed_queries(texts)

    def _keyed(self, texts: Sequence[str]) -> tuple[list[bytes], dict[bytes, str]]:
        """Return each text's key, and each distinct key's text as the model sees it."""
        keys: list[bytes] = []
        distinct: dict[bytes, str] = {}
        for text in texts:
            # Lone surrogates become "?", as in :func:`~es_semantic.embedding.unicode.encodable`.
            data = text.encode("utf-8", "replace")
            key = hashlib.sha256(self._space + data).digest()
            keys.append(key)
            if key not in distinct:
                distinct[key] = data.decode("utf-8")
        return keys, distinct

    def _known(self, distinct: dict[bytes, str]) -> dict[bytes, CachedVector]:
        # The probe sentence is how callers ask whether the model works at all: only the model can answer that.
        asked = [key for key, text in distinct.items() if text != PROBE_TEXT]
        return self._cache.get_many(asked, dims=self.profile.dims)

    def _embed(self, unknown: list[bytes], distinct: dict[bytes, str]) -> dict[bytes, CachedVector]:
        if not unknown:
            return {}
        embeddings = self._embedder.embed_documents([distinct[key] for key in unknown])
        # What is kept would be believed for a long time.
        vectors = checked(embeddings.vectors, len(unknown), self.profile.dims)
        over_long = set(embeddings.over_long)
        fresh = {key: CachedVector(vectors[i], i in over_long) for i, key in enumerate(unknown)}
        self._cache.put_many(fresh)
        return fresh

    @cached_property
    def _space(self) -> bytes:
        """32 bytes that change whenever the same text would get another vector or another ``over_long``."""
        profile = self.profile
        identity = {
            "fingerprint": profile.fingerprint.model_dump(),
            "max_tokens": profile.max_tokens,
            "precision": self.precision,
        }
        return hashlib.sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).digest()
