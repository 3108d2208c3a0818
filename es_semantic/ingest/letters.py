"""Dead letters of documents that could not become chunks, beside those of documents without vectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from es_semantic.cluster.steps import Steps
from es_semantic.sync.control import write_control
from es_semantic.sync.dead_letters import (
    LONGEST_REASON,
    NOT_THERE,
    DeadLetter,
    Stored,
    delete_letter,
    letter_id,
    now,
    put_letter,
    read_letters,
)

BY = "ingest "
"""How the ``model`` of these dead letters begins; what follows is the hash of the document that failed."""

Reasons = dict[str, tuple[str, str]]
"""Documents that failed: by label the hash (nothing where they could not be read) and the reason."""


@dataclass(slots=True)
class Letters:
    """The dead letters of one dataset in a chunk index, by the labels of the documents."""

    name: str
    index: str
    dataset: str
    known: dict[str, Stored] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def load(self) -> Steps[None]:
        """Read those that there are.

        Raises:
            ControlDamaged: one was edited.
        """
        beginning = f"{self.dataset}: "
        for stored in (yield from read_letters(self.name, [self.index])).values():
            if stored.letter.model.startswith(BY) and stored.letter.id.startswith(beginning):
                self.known[stored.letter.id.removeprefix(beginning)] = stored

    def reason(self, label: str, document_hash: str) -> str:
        """Return why the same document has failed before; nothing if it has not."""
        stored = self.known.get(label)
        if stored is None or stored.letter.model != BY + document_hash:
            return ""
        return stored.letter.reason.removeprefix(NOT_THERE)

    def write(self, failed: Reasons) -> Steps[int]:
        """Keep hash and reason of documents that have failed, but those known already; return how many are new."""
        self.failed |= failed.keys()
        new = {
            label: self._letter(label, document_hash, reason)
            for label, (document_hash, reason) in failed.items()
            if self.reason(label, document_hash) != _short(reason)
        }
        outcomes = yield from write_control([put_letter(self.name, letter) for letter in new.values()])
        for (label, letter), outcome in zip(new.items(), outcomes, strict=True):
            self.known[label] = Stored(letter, (outcome.seq_no, outcome.primary_term))
        return len(new)

    def clear(self, labels: Iterable[str]) -> Steps[None]:
        """Delete the dead letters under these labels."""
        gone = {label: self.known.pop(label) for label in labels if label in self.known}
        keys = {label: letter_id(self.name, self.index, stored.letter.id, None) for label, stored in gone.items()}
        yield from write_control([delete_letter(keys[label], stored.version) for label, stored in gone.items()])

    def _letter(self, label: str, document_hash: str, reason: str) -> DeadLetter:
        reason = NOT_THERE + _short(reason)
        return DeadLetter(self.index, f"{self.dataset}: {label}", None, BY + document_hash, reason, now())


def _short(reason: str) -> str:
    return reason[: LONGEST_REASON - len(NOT_THERE)]
