"""What is embedded and written together, and how far each shard is once that is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from es_semantic.sync.documents import Document, Verdict
from es_semantic.sync.embed import Embedded
from es_semantic.sync.feed import Page
from es_semantic.sync.shards import Shard

WINDOW = 512
"""Documents to embed: enough for batches of similar length."""

WINDOW_CHARACTERS = 1_000_000
"""Text to embed; a page more at most, so that memory does not grow and a checkpoint is never far."""


@dataclass(frozen=True, slots=True)
class Work:
    """A document that needs something, and the shard in which it lies."""

    shard: Shard
    document: Document


@dataclass(slots=True)
class Window:
    """Whole pages, in the order of the feed."""

    work: list[Work] = field(default_factory=list)
    through: dict[Shard, int] = field(default_factory=dict)
    embedded: Sequence[Embedded] = ()
    """One outcome for each of :attr:`stale`."""

    def add(self, page: Page[Document], wanted: Iterable[Document]) -> None:
        """Take in a page, of whose documents the ``wanted`` need something."""
        self.through[page.shard] = page.through
        self.work += [Work(page.shard, document) for document in wanted]

    def forget_texts(self) -> None:
        """Let go of all texts: once they are embedded only hashes are needed, and texts may be large."""
        self.work = [Work(work.shard, replace(work.document, text="")) for work in self.work]

    @property
    def full(self) -> bool:
        """Whether it should be worked off before another page is taken in."""
        stale = self.stale
        return len(stale) >= WINDOW or sum(len(work.document.text) for work in stale) >= WINDOW_CHARACTERS

    @property
    def stale(self) -> list[Work]:
        """The documents to embed."""
        return self.having(Verdict.STALE)

    def having(self, verdict: Verdict) -> list[Work]:
        """Return the documents of one verdict."""
        return [work for work in self.work if work.document.verdict is verdict]
