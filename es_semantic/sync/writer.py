"""Write what a window's documents need, then the dead letters of those that could not be given it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from es_semantic.cluster.steps import Steps
from es_semantic.errors import Forbidden, IndexUnavailable
from es_semantic.schema.control import Version
from es_semantic.sync import bulk
from es_semantic.sync.dead_letters import DeadLetter, keep_letters, letter_id, now
from es_semantic.sync.documents import Document, Updates, Verdict
from es_semantic.sync.embed import Embedded
from es_semantic.sync.observer import Observer
from es_semantic.sync.unchanged import re_created
from es_semantic.sync.window import Window, Work


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one document: its new sequence number if it was written, and why it is a dead letter if it is."""

    work: Work
    outcome: bulk.Outcome | None
    embedded: Embedded | None
    failure: str = ""

    @property
    def place(self) -> str:
        """Where the document is: equal for equal index, id and routing."""
        document = self.work.document
        return repr((document.index, document.id, document.routing))


@dataclass(slots=True)
class Writer:
    """Writes windows; several may be under way at once.

    ``base64`` says whether the server takes vectors as base64, None until a write has shown it. ``letters`` are the ids
    and versions of the dead letters that are known to be in the control index.
    """

    updates: Updates
    base64: bool | None
    observer: Observer
    letters: dict[str, Version] = field(default_factory=dict)
    size: bulk.BodySize = field(default_factory=bulk.BodySize)

    def needs(self, document: Document) -> bool:
        """Say whether something has to be written for this document."""
        return document.verdict is not Verdict.TRUE or self._letter_id(document) in self.letters

    def write(self, window: Window) -> Steps[list[Result]]:
        """Write one window and return what became of its documents.

        Raises:
            IndexUnavailable: the index is blocked, closed, or was deleted.
            Forbidden: a privilege is missing.
            ClusterError: Elasticsearch failed; what was written is found by reading again.
        """
        blank = window.having(Verdict.EMPTY)
        stale = window.stale
        outcomes = yield from self._write_vectors(stale, window.embedded)
        outcomes += yield from self._bulk([self.updates.empty(work.document) for work in blank])
        self._require_usable(stale + blank, outcomes)
        embedded = [*window.embedded, *[None] * len(blank)]
        results = [
            Result(work, outcome, result, _failure(outcome, result))
            for work, outcome, result in zip(stale + blank, outcomes, embedded, strict=True)
        ]
        results += [Result(work, None, None, self._foreign()) for work in window.having(Verdict.FOREIGN)]
        results += [Result(work, None, None, work.document.error) for work in window.having(Verdict.FAILED)]
        results += [Result(work, None, None) for work in window.having(Verdict.TRUE)]
        yield from self._keep_letters(results)
        return results

    def _bulk(self, items: Sequence[bulk.Item]) -> Steps[list[bulk.Outcome]]:
        return bulk.write(items, size=self.size, observer=self.observer)

    def _write_vectors(self, stale: Sequence[Work], embedded: Sequence[Embedded]) -> Steps[list[bulk.Outcome]]:
        """Write vectors as base64 unless the server is known to be too old for that (before 9.3).

        Where these credentials hide its version, the first write finds out: refused vectors are sent again as lists.
        """
        outcomes = yield from self._bulk(list(self._items(stale, embedded, base64=self.base64 is not False)))
        # Marks without a vector are taken by any server.
        vectors = [i for i, each in enumerate(embedded) if each.vectors is not None]
        if self.base64 is not None or not vectors:
            return outcomes
        self.base64 = True if any(outcomes[i].ok for i in vectors) else None
        if self.base64 is None:
            works, again = [stale[i] for i in vectors], [embedded[i] for i in vectors]
            as_lists = yield from self._bulk(list(self._items(works, again, base64=False)))
            self.base64 = False if any(outcome.ok for outcome in as_lists) else None
            for i, outcome in zip(vectors, as_lists, strict=True):
                outcomes[i] = outcome
        return outcomes

    def _items(self, stale: Sequence[Work], embedded: Sequence[Embedded], *, base64: bool) -> Iterator[bulk.Item]:
        for work, result in zip(stale, embedded, strict=True):
            if result.vectors is None:
                yield self.updates.failed(work.document, result.reason)
            else:
                yield self.updates.ready(work.document, result.vectors, result.spans, base64=base64)

    def _require_usable(self, written: Sequence[Work], outcomes: Sequence[bulk.Outcome]) -> None:
        for work, outcome in zip(written, outcomes, strict=True):
            if outcome.blocked:
                raise _unavailable(f"writing is blocked: {outcome.reason}", outcome)
            if outcome.error_type in ("index_not_found_exception", "index_closed_exception"):
                raise _unavailable(f"index {work.document.index!r} is gone or closed: {outcome.reason}", outcome)
            if outcome.index_uuid not in (None, work.shard.uuid, "_na_"):
                raise re_created(work.document.index)
            if outcome.error_type == "security_exception":
                raise Forbidden(
                    f"these credentials may not write to {work.document.index!r}: {outcome.reason}",
                    status=outcome.status,
                    error_type=outcome.error_type,
                    hint="See `es-semantic roles worker` for the privileges that a worker needs.",
                )

    def _keep_letters(self, results: Sequence[Result]) -> Steps[None]:
        dead = [self._letter(result) for result in results if result.failure]
        # Hashing all ids is needed only where there are letters.
        fine = results if self.letters else ()
        well = [each.work.document for each in fine if not each.failure and (each.outcome is None or each.outcome.ok)]
        yield from keep_letters(self.updates.name, self.letters, dead, map(self._letter_id, well))

    def _letter(self, result: Result) -> DeadLetter:
        document = result.work.document
        model = self.updates.binding.stamp
        return DeadLetter(document.index, document.id, document.routing, model, result.failure, now())

    def _letter_id(self, document: Document) -> str:
        return letter_id(self.updates.name, document.index, document.id, document.routing)

    def _foreign(self) -> str:
        return f"it has a field {self.updates.name!r} of its own; see --name"


def _failure(outcome: bulk.Outcome, embedded: Embedded | None) -> str:
    if outcome.superseded:
        return ""
    if not outcome.ok:
        return f"{outcome.error_type}: {outcome.reason}" if outcome.error_type else outcome.reason
    return embedded.reason if embedded is not None and embedded.vectors is None else ""


def _unavailable(what: str, outcome: bulk.Outcome) -> IndexUnavailable:
    return IndexUnavailable(
        what,
        status=outcome.status,
        error_type=outcome.error_type,
        hint="Mend that and run sync again; it goes on where it stopped.",
    )
