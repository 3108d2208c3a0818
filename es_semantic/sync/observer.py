"""What a sync tells whoever watches it: numbers and states, never a text."""

from __future__ import annotations

from typing import Literal, Protocol

Outcome = Literal["unchanged", "embedded", "empty", "failed", "superseded", "foreign"]
"""What became of a document, as in :class:`~es_semantic.sync.report.SyncReport`; ``foreign`` holds something of its
owner's where the vector belongs."""

Stage = Literal["read", "embed", "write"]
"""Of a pass; for ``read`` it is sequence numbers that wait, several of which may have been one document's."""

Retried = Literal["bulk", "pass"]
"""Writes that the cluster has refused for now, or all from reading on."""


class Observer(Protocol):
    """Called by a sync as it goes, from any thread; must return quickly and not raise.

    ``index`` and ``field`` are names from the cluster. No argument may hold a document's text or a secret.
    """

    def documents(self, index: str, field: str, outcome: Outcome, count: int) -> None:
        """``count`` documents came to this :data:`Outcome`."""

    def batch(self, texts: int) -> None:
        """So many texts go to the embedder together."""

    def embed_seconds(self, seconds: float) -> None:
        """Wall time of embedding one batch."""

    def bulk_seconds(self, seconds: float) -> None:
        """Wall time of one ``_bulk`` request."""

    def queue(self, stage: Stage, depth: int) -> None:
        """So many documents wait for this :data:`Stage` now."""

    def lag(self, index: str, field: str, documents: int, seconds: float) -> None:
        """So many writes are known and not dealt with; so long ago there was none. Both are 0 where there is none."""

    def overload(self, items: int) -> None:
        """So many bulk items were refused with HTTP 429 or 503; of a request refused as a whole, all."""

    def retry(self, what: Retried) -> None:
        """Something is tried again."""

    def cache(self, hits: int, misses: int) -> None:
        """So many more texts were found in the embedding cache, and so many had to be embedded."""

    def healthy(self, ok: bool, reason: str) -> None:
        """A cycle has ended; ``reason`` says in a line what is wrong, "" when ``ok``."""


class Unobserved:
    """Nobody watches."""

    def documents(self, index: str, field: str, outcome: Outcome, count: int) -> None:
        """See :class:`Observer`; so for all below."""

    def batch(self, texts: int) -> None: ...

    def embed_seconds(self, seconds: float) -> None: ...

    def bulk_seconds(self, seconds: float) -> None: ...

    def queue(self, stage: Stage, depth: int) -> None: ...

    def lag(self, index: str, field: str, documents: int, seconds: float) -> None: ...

    def overload(self, items: int) -> None: ...

    def retry(self, what: Retried) -> None: ...

    def cache(self, hits: int, misses: int) -> None: ...

    def healthy(self, ok: bool, reason: str) -> None: ...


SILENT: Observer = Unobserved()
"""The default wherever an observer is taken; it keeps no state."""
