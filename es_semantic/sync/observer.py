"""What a sync tells whoever watches it: numbers and states, never a text."""

from __future__ import annotations

from typing import Literal, Protocol

Outcome = Literal["unchanged", "embedded", "empty", "failed", "superseded", "foreign"]
"""What became of a document, as in :class:`~es_semantic.sync.report.SyncReport`; ``foreign`` holds something of its
owner's where the vector belongs."""

Stage = Literal["read", "embed", "write"]


class Observer(Protocol):
    """Called by a sync as it goes, from any thread; must return quickly and not raise.

    ``index`` and ``field`` are names from the cluster. No argument may hold a document's text or a secret.
    """

    def documents(self, index: str, field: str, outcome: str, count: int) -> None:
        """``count`` documents came to this :data:`Outcome`."""

    def batch(self, texts: int) -> None:
        """So many texts go to the embedder together."""

    def embed_seconds(self, seconds: float) -> None:
        """Wall time of embedding one batch."""

    def bulk_seconds(self, seconds: float) -> None:
        """Wall time of one ``_bulk`` request."""

    def queue(self, stage: str, depth: int) -> None:
        """So many documents wait for this :data:`Stage` now."""

    def lag(self, index: str, field: str, documents: int, seconds: float) -> None:
        """So many documents are known to lack a true vector now; the oldest has waited so long."""

    def too_many_requests(self, count: int) -> None:
        """So many requests or bulk items were answered with HTTP 429."""

    def retry(self, what: str) -> None:
        """Something is tried again; ``what`` is one of few fixed words, such as ``bulk``."""

    def cache(self, hits: int, misses: int) -> None:
        """So many more texts were found in the embedding cache, and so many had to be embedded."""

    def healthy(self, ok: bool, reason: str) -> None:
        """A cycle has ended; ``reason`` says in a line what is wrong, "" when ``ok``."""


class Unobserved:
    """Nobody watches."""

    def documents(self, index: str, field: str, outcome: str, count: int) -> None:
        """See :class:`Observer`; so for all below."""

    def batch(self, texts: int) -> None: ...

    def embed_seconds(self, seconds: float) -> None: ...

    def bulk_seconds(self, seconds: float) -> None: ...

    def queue(self, stage: str, depth: int) -> None: ...

    def lag(self, index: str, field: str, documents: int, seconds: float) -> None: ...

    def too_many_requests(self, count: int) -> None: ...

    def retry(self, what: str) -> None: ...

    def cache(self, hits: int, misses: int) -> None: ...

    def healthy(self, ok: bool, reason: str) -> None: ...


SILENT: Observer = Unobserved()
"""The default wherever an observer is taken; it keeps no state."""
