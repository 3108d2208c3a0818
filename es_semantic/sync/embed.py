"""Embed the texts of many documents without letting one bad text take the others down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from es_semantic.embedding import Embedder
from es_semantic.embedding.cached import CachingEmbedder
from es_semantic.embedding.chunking import Chunking, room, split, tokenizer_of
from es_semantic.embedding.probe import probe_vector
from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import BadVector, InputRejected, ModelUnavailable
from es_semantic.sync.observer import Observer
from es_semantic.sync.tracing import record_span

Span = tuple[int, int]
"""Start and end in a text, in Unicode code points."""

Split = Callable[[str], Sequence[Span]]
"""Cuts a text into what is embedded on its own; raises :class:`InputRejected` for a text that cannot be cut."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """One text's outcome: ``vectors`` of shape (spans, dims), or the ``reason`` why there are none."""

    vectors: Vectors | None
    spans: Sequence[Span] = ()
    over_long: bool = False
    reason: str = ""


def whole(text: str) -> list[Span]:
    """One vector for the whole text."""
    return [(0, len(text))]


def splitter(embedder: Embedder, chunking: Chunking | None) -> Split:
    """Return how the texts of a binding are cut: by the model's own tokenizer where the embedder gives one.

    Raises:
        UsageError: the model's prompt leaves no room in a chunk.
    """
    if chunking is None:
        return whole
    tokenizer = tokenizer_of(embedder)
    room(chunking, tokenizer)
    return lambda text: [(chunk.start, chunk.end) for chunk in split(text, chunking, tokenizer)]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Embeds the texts of a window as documents, cut by ``split``, and tells the observer about it."""

    embedder: Embedder
    split: Split
    observer: Observer

    def __call__(self, texts: Sequence[str]) -> list[Embedded]:
        """Return one outcome for each text, in order.

        Raises:
            ModelUnavailable: as :func:`embed_each`.
        """
        started = time.monotonic()
        self.observer.batch(len(texts))
        before = self._cache_counts()
        embedded = embed_documents(self.embedder, texts, self.split)
        seconds = time.monotonic() - started
        self.observer.embed_seconds(seconds)
        record_span("embed", seconds, texts=len(texts))
        hits, misses = self._cache_counts()
        self.observer.cache(hits - before[0], misses - before[1])
        return embedded

    def _cache_counts(self) -> tuple[int, int]:
        if isinstance(self.embedder, CachingEmbedder):
            return self.embedder.hits, self.embedder.misses
        return 0, 0


def embed_documents(embedder: Embedder, texts: Sequence[str], split: Split) -> list[Embedded]:
    """Embed every text, cut by ``split``, in order; where one piece of a text fails, the whole text does.

    Raises:
        ModelUnavailable: as :func:`embed_each`.
    """
    cut = [_cut(text, split) for text in texts]
    pieces = [text[start:end] for text, spans in zip(texts, cut, strict=True) for start, end in spans.spans]
    embedded = iter(embed_each(embedder, pieces))
    return [_together(spans, [next(embedded) for _ in spans.spans]) for spans in cut]


def embed_each(embedder: Embedder, texts: Sequence[str]) -> list[Embedded]:
    """Embed the texts as documents, in order, each as a whole; a batch that fails is halved to find the culprit.

    A failure that the probe sentence shares is the model's and is raised. Any other is the texts', even one that the
    provider reports as its own: many answer HTTP 500 to a text that they cannot take, and would stop every pass there.

    Raises:
        ModelUnavailable: the provider does not answer, or fails for every text; no text is to blame.
    """
    if not texts:
        return []
    try:
        embeddings = embedder.embed_documents(texts)
    except (InputRejected, BadVector, ModelUnavailable) as error:
        _require_working(embedder, error)
        if len(texts) == 1:
            return [Embedded(None, reason=error.what)]
        half = len(texts) // 2
        return embed_each(embedder, texts[:half]) + embed_each(embedder, texts[half:])
    over_long = set(embeddings.over_long)
    return [
        Embedded(embeddings.vectors[i : i + 1], whole(text), over_long=i in over_long) for i, text in enumerate(texts)
    ]


def _cut(text: str, split: Split) -> Embedded:
    try:
        return Embedded(None, split(text))
    except InputRejected as error:
        return Embedded(None, reason=error.what)


def _together(cut: Embedded, pieces: Sequence[Embedded]) -> Embedded:
    failed = next((piece for piece in pieces if piece.vectors is None), None if pieces else cut)
    if failed is not None:
        return failed
    vectors = np.concatenate([piece.vectors for piece in pieces if piece.vectors is not None])
    return Embedded(vectors, cut.spans, over_long=any(piece.over_long for piece in pieces))


def _require_working(embedder: Embedder, failure: InputRejected | BadVector | ModelUnavailable) -> None:
    try:
        probe_vector(embedder.embed_documents, embedder.profile.fingerprint.model)
    except ModelUnavailable:
        if isinstance(failure, ModelUnavailable):
            raise failure from None
        raise
