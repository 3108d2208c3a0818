"""Write whole documents into the index that is being filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from es_semantic.cluster.steps import Steps
from es_semantic.errors import Forbidden, IndexUnavailable
from es_semantic.reindex.document import Copied, index_item, new_state
from es_semantic.reindex.known import Target, standing, stored
from es_semantic.reindex.mget import Place
from es_semantic.schema.control import Version
from es_semantic.sync import bulk
from es_semantic.sync.dead_letters import NOT_THERE, DeadLetter, keep_letters, letter_id, now, read_letters
from es_semantic.sync.documents import Verdict
from es_semantic.sync.embed import Embedded
from es_semantic.sync.observer import Observer

SourceVersions = Callable[[Sequence[Place]], Steps[list[int | None]]]
"""Returns the version that each document has in the source, None where it has none."""

CONFLICT = "version_conflict_engine_exception"

SAME_AGAIN = "Mend that and run the same command again; it goes on where it stopped."


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one document: ``refused`` says why it is not in the target, ``failed`` why it has no vectors."""

    document: Copied
    embedded: Embedded | None
    refused: str = ""
    failed: str = ""


@dataclass(slots=True)
class CopyWriter:
    """Writes documents; several calls may be under way at once.

    ``letters`` are the ids and versions of the dead letters of this target that are known to be in the control index.
    ``source_versions`` tells the versions that documents have in the source at this moment, None where there is nobody
    to ask. Where programs write to the target already, ``shared`` are the target's sequence numbers by shard before
    they did: what they have written lies above, and holds.
    """

    target: Target
    observer: Observer
    source_versions: SourceVersions | None = None
    shared: Mapping[str, int] | None = None
    letters: dict[str, Version] = field(default_factory=dict)
    size: bulk.BodySize = field(default_factory=bulk.BodySize)

    def look_for_letters(self) -> Steps[None]:
        """Learn of the dead letters that there are, also those that other processes have written."""
        letters = yield from read_letters(self.target.name, [self.target.index])
        self.letters |= {key: stored.version for key, stored in letters.items()}

    def write(self, documents: Sequence[Copied], embedded: Sequence[Embedded]) -> Steps[list[Written]]:
        """Write documents with their vectors: one of ``embedded`` for each that is stale, in order.

        Raises:
            IndexUnavailable: the target is gone, closed, or under a block.
            Forbidden: a privilege is missing.
            ClusterError: Elasticsearch failed; what was written is found by looking.
        """
        results = iter(embedded)
        vectors = [next(results) if document.verdict is Verdict.STALE else None for document in documents]
        states = [self._state(d, e) for d, e in zip(documents, vectors, strict=True)]
        refused = yield from self._index(documents, states)
        written = [
            Written(document, each, why, each.reason if each is not None and each.vectors is None else "")
            for document, each, why in zip(documents, vectors, refused, strict=True)
        ]
        yield from self._keep_letters(written)
        return written

    def _state(self, document: Copied, embedded: Embedded | None) -> bytes | None:
        binding = self.target.binding
        if binding is None or document.verdict in (Verdict.TRUE, Verdict.FOREIGN):
            return document.state
        return new_state(document, embedded, binding, base64=self.target.base64)

    def _index(self, documents: Sequence[Copied], states: Sequence[bytes | None]) -> Steps[list[str]]:
        """Write what can be written; return why each document was refused, empty where it was not."""
        refused = [document.reason for document in documents]
        numbers = [i for i, reason in enumerate(refused) if not reason]
        some, given = [documents[i] for i in numbers], [states[i] for i in numbers]
        if self.shared is not None:
            outcomes = yield from self._after_the_switch(some, given)
        else:
            outcomes = yield from self._over_older(some, given)
        for i, outcome in zip(numbers, outcomes, strict=True):
            self._require_usable(outcome)
            refused[i] = "" if outcome.ok or outcome.superseded else _reason(outcome)
        return refused

    def _over_older(self, documents: Sequence[Copied], states: Sequence[bytes | None]) -> Steps[list[bulk.Outcome]]:
        items = [self._item(document, state) for document, state in zip(documents, states, strict=True)]
        outcomes = yield from bulk.write(items, size=self.size, observer=self.observer)
        older = [i for i, outcome in enumerate(outcomes) if outcome.superseded]
        if older and self.source_versions is not None:
            again = yield from self._over_newer([documents[i] for i in older], [states[i] for i in older])
            for i, outcome in zip(older, again, strict=True):
                outcomes[i] = outcome
        return outcomes

    def _over_newer(self, documents: Sequence[Copied], states: Sequence[bytes | None]) -> Steps[list[bulk.Outcome]]:
        """Write documents of which the target has a higher version, where they are what the source has now.

        A document that was deleted, and created again a minute later, begins at version 1 anew (Elastic docs, "Index
        API", ``index.gc_deletes``). One that the source has changed since it was read is left to the feed.
        """
        assert self.source_versions is not None
        there = yield from stored(self.target, documents, [self.target.name])
        now = yield from self.source_versions([document.place for document in documents])
        current = {i: there[i] or {} for i, d in enumerate(documents) if now[i] == d.version}
        return (yield from self._in_place(documents, states, current))

    def _after_the_switch(
        self, documents: Sequence[Copied], states: Sequence[bytes | None]
    ) -> Steps[list[bulk.Outcome]]:
        """Write documents that nobody has written to the target since the switch."""
        assert self.shared is not None
        there = yield from standing(self.target, documents)
        mine = {
            i: found or {}
            for i, document in enumerate(documents)
            if (found := there.get(document.place)) is None or found["_seq_no"] <= self.shared.get(found["shard"], -1)
        }
        return (yield from self._in_place(documents, states, mine))

    def _in_place(
        self, documents: Sequence[Copied], states: Sequence[bytes | None], over: Mapping[int, Mapping[str, Any]]
    ) -> Steps[list[bulk.Outcome]]:
        """Write some of the documents, by their numbers, in the place of what was seen; the others are superseded."""
        items = [self._item(documents[i], states[i], over=seen) for i, seen in over.items()]
        outcomes = [bulk.Outcome(409, CONFLICT)] * len(documents)
        for i, outcome in zip(over, (yield from bulk.write(items, observer=self.observer)), strict=True):
            outcomes[i] = outcome
        return outcomes

    def _item(self, document: Copied, state: bytes | None, *, over: Mapping[str, Any] | None = None) -> bulk.Item:
        """Return the lines for a document; ``over`` is what the target was seen to have, empty for nothing."""
        return index_item(self.target.alias, document, self.target.name, state, over=over)

    def _require_usable(self, outcome: bulk.Outcome) -> None:
        index = self.target.index
        if outcome.blocked:
            raise _unavailable(f"writing to {index!r} is blocked: {outcome.reason}", outcome)
        if outcome.error_type in ("index_not_found_exception", "index_closed_exception"):
            raise _unavailable(f"index {index!r} is gone or closed, or no more this job's: {outcome.reason}", outcome)
        if outcome.error_type == "security_exception":
            raise Forbidden(
                f"these credentials may not write to {index!r}: {outcome.reason}",
                status=outcome.status,
                error_type=outcome.error_type,
                hint="Re-indexing takes an administrator's credentials.",
            )

    def _keep_letters(self, written: Sequence[Written]) -> Steps[None]:
        dead = [self._letter(each) for each in written if each.refused or each.failed]
        well = (each.document for each in (written if self.letters else ()) if not (each.refused or each.failed))
        yield from keep_letters(self.target.name, self.letters, dead, map(self._letter_id, well))

    def _letter(self, written: Written) -> DeadLetter:
        binding = self.target.binding
        return DeadLetter(
            self.target.index,
            written.document.id,
            written.document.routing,
            binding.stamp if binding is not None else "",
            f"{NOT_THERE}{written.refused}" if written.refused else written.failed,
            now(),
        )

    def _letter_id(self, document: Copied) -> str:
        return letter_id(self.target.name, self.target.index, document.id, document.routing)


def reasons(written: Sequence[Written]) -> Iterator[tuple[Copied, str]]:
    """Yield the documents that became dead letters, and why."""
    for each in written:
        if each.refused or each.failed:
            yield each.document, each.refused or each.failed


def _reason(outcome: bulk.Outcome) -> str:
    return f"{outcome.error_type}: {outcome.reason}" if outcome.error_type else outcome.reason


def _unavailable(what: str, outcome: bulk.Outcome) -> IndexUnavailable:
    return IndexUnavailable(what, status=outcome.status, error_type=outcome.error_type, hint=SAME_AGAIN)
