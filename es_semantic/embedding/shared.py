"""An embedder that many callers share: what they ask for at the same time runs through the model together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from es_semantic.embedding.dynamic_batching import PATIENCE, DynamicBatcher
from es_semantic.embedding.protocol import Embedder, Embeddings
from es_semantic.embedding.wrapped import WrappedEmbedder
from es_semantic.errors import BadVector, InputRejected

MOST_WAITING = 2_048
"""Texts that may wait; more are refused, because whoever asked would have gone before they were embedded."""


class SharedEmbedder(WrappedEmbedder):
    """Runs what several threads ask for together: one forward pass for many short texts costs little more than for one.

    Documents and queries are apart, because they may have different prompts. Texts that the model refuses fail only
    their caller. See :class:`~es_semantic.embedding.dynamic_batching.DynamicBatcher`.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        patience: float = PATIENCE,
        most_waiting: int = MOST_WAITING,
        ran: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start nothing yet; ``ran`` is told the texts of each batch."""

        def batcher(embed: Callable[[Sequence[str]], Embeddings]) -> DynamicBatcher[str, Embeddings]:
            return DynamicBatcher(
                embed,
                part=_part,
                size=len,
                refusals=(InputRejected, BadVector),
                patience=patience,
                most_waiting=most_waiting,
                ran=ran,
            )

        super().__init__(embedder)
        self._documents = batcher(embedder.embed_documents)
        self._queries = batcher(embedder.embed_queries)

    @property
    def waiting(self) -> int:
        """Texts that wait for the model."""
        return self._documents.waiting + self._queries.waiting

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`.

        Raises:
            Overloaded: too many texts wait already.
        """
        return self._documents.ask(texts).result()

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """See :meth:`embed_documents`."""
        return self._queries.ask(texts).result()

    def ask_documents(self, texts: Sequence[str]) -> Future[Embeddings]:
        """Ask without waiting; a future that is cancelled before its batch runs costs nothing."""
        return self._documents.ask(texts)

    def ask_queries(self, texts: Sequence[str]) -> Future[Embeddings]:
        """See :meth:`ask_documents`."""
        return self._queries.ask(texts)

    def close(self) -> None:
        """Let no batch begin any more; what waits fails."""
        self._documents.close()
        self._queries.close()


def _part(embeddings: Embeddings, start: int, end: int) -> Embeddings:
    over_long = tuple(place - start for place in embeddings.over_long if start <= place < end)
    return Embeddings(embeddings.vectors[start:end], over_long)
