"""One pass over an index: find every document without a true vector, embed it, write it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, Version
from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.errors import IndexUnavailable
from es_semantic.schema.binding import Binding
from es_semantic.schema.checks import require_writable
from es_semantic.schema.target import Target
from es_semantic.sync import bulk
from es_semantic.sync.documents import (
    Document,
    Verdict,
    empty_update,
    failed_update,
    page_body,
    read_document,
    ready_update,
)
from es_semantic.sync.embed import Embedded, embed_each
from es_semantic.sync.pit import page, with_pit
from es_semantic.sync.report import Progress, SyncReport, silent

WINDOW = 256
"""Documents embedded and written together: enough for batches of similar length."""

WINDOW_CHARACTERS = 8_000_000
PAGE_CHARACTERS = 4_000_000
FIRST_PAGE = 64
LARGEST_PAGE = WINDOW
"""So that at most two windows are embedded between two pages."""


def sync_steps(
    target: Target,
    binding: Binding,
    embedder: Embedder,
    version: Version | None,
    *,
    name: str,
    progress: Progress = silent,
) -> Steps[SyncReport]:
    """Bring every document of the target up to date once; see :func:`es_semantic.sync`.

    ``version`` is the server's, None where these credentials may not know it.
    """
    require_writable(target)
    profile = yield Compute(lambda: embedder.profile)
    require_same_model(binding.fingerprint, profile.fingerprint, index=target.name)
    base64 = None if version is None else version >= BASE64_VECTORS_SINCE
    report = SyncReport(target.name, name, binding.fingerprint.id)
    one_pass = _Pass(
        binding, name, embedder, report, progress, base64, target.kind == "index", target.max_result_window
    )
    yield _refresh(target)
    one_pass.report.total = (yield Request("GET", url_path("/{}/_count", target.name)))["count"]
    yield from with_pit(target.name, one_pass.read_all)
    yield _refresh(target)
    return one_pass.report


@dataclass(slots=True)
class _Pass:
    binding: Binding
    name: str
    embedder: Embedder
    report: SyncReport
    progress: Progress
    base64: bool | None
    """Whether the server takes vectors as base64; None until a write has shown it."""
    one_index: bool
    max_page: int
    started: float = field(default_factory=time.monotonic)

    def read_all(self, pit: str) -> Steps[None]:
        body = page_body(self.binding, self.name)
        size, after = FIRST_PAGE, None
        window: list[Document] = []
        while True:
            answer = yield page(pit, body, size=size, after=after, max_size=self.max_page, about=self.report.index)
            hits = answer["hits"]["hits"]
            documents = [read_document(hit, self.binding, self.name) for hit in hits]
            window += [document for document in documents if document.verdict is not Verdict.TRUE]
            self.report.read += len(documents)
            self.report.unchanged += sum(document.verdict is Verdict.TRUE for document in documents)
            self._tell()
            while window and (not hits or _full(window)):
                part, window = window[:WINDOW], window[WINDOW:]
                yield from self._bring_up_to_date(part)
                self._tell()
            if not hits:
                return
            pit, after, size = answer["pit_id"], hits[-1]["sort"], _page_size(documents)

    def _bring_up_to_date(self, window: list[Document]) -> Steps[None]:
        for document in window:
            if document.verdict is Verdict.FOREIGN:
                self.report.fail(document.index, document.id, f"it has a field {self.name!r} of its own; see --name")
        blank = [document for document in window if document.verdict is Verdict.EMPTY]
        texts = [document for document in window if document.verdict is Verdict.STALE]
        embedded = yield Compute(lambda: embed_each(self.embedder, [document.text for document in texts]))
        outcomes = yield from self._write(texts, embedded)
        outcomes += yield from bulk.write([empty_update(d, self._model, name=self.name) for d in blank])
        self._require_open(outcomes)
        for document, result, outcome in zip(texts + blank, [*embedded, *[None] * len(blank)], outcomes, strict=True):
            self._count(document, result, outcome)

    def _require_open(self, outcomes: list[bulk.Outcome]) -> None:
        """Stop where an index is blocked. Of a data stream, older indices may well be: their documents fail alone."""
        blocked = next((outcome for outcome in outcomes if outcome.blocked), None)
        if blocked is not None and self.one_index:
            raise IndexUnavailable(
                f"writing is blocked: {blocked.reason}",
                status=blocked.status,
                error_type=blocked.error_type,
                hint="Lift the block and run sync again; it goes on where it stopped.",
            )

    def _write(self, texts: list[Document], embedded: list[Embedded]) -> Steps[list[bulk.Outcome]]:
        """Write vectors as base64 unless the server is known to be too old for that (before 9.3).

        Where these credentials hide its version, the first write finds out: refused documents are sent again as lists.
        """
        outcomes = yield from bulk.write(self._updates(texts, embedded, base64=self.base64 is not False))
        if self.base64 is not None:
            return outcomes
        if any(outcome.ok for outcome in outcomes):
            self.base64 = True
        elif texts:
            outcomes = yield from bulk.write(self._updates(texts, embedded, base64=False))
            self.base64 = False if any(outcome.ok for outcome in outcomes) else None
        return outcomes

    def _updates(self, texts: list[Document], embedded: list[Embedded], *, base64: bool) -> list[bulk.Item]:
        return [
            failed_update(document, self._model, result.reason, name=self.name)
            if result.vector is None
            else ready_update(document, result.vector, self._model, name=self.name, base64=base64)
            for document, result in zip(texts, embedded, strict=True)
        ]

    def _count(self, document: Document, result: Embedded | None, outcome: bulk.Outcome) -> None:
        if outcome.superseded:
            self.report.superseded += 1
        elif not outcome.ok:
            self.report.fail(document.index, document.id, f"{outcome.error_type}: {outcome.reason}")
        elif result is None:
            self.report.empty += 1
        elif result.vector is None:
            self.report.fail(document.index, document.id, result.reason)
        else:
            self.report.embedded += 1
            self.report.over_long += result.over_long

    def _tell(self) -> None:
        self.report.seconds = time.monotonic() - self.started
        self.progress(self.report)

    @property
    def _model(self) -> str:
        return self.binding.fingerprint.id


def _full(window: list[Document]) -> bool:
    return len(window) >= WINDOW or sum(len(document.text) for document in window) >= WINDOW_CHARACTERS


def _page_size(documents: list[Document]) -> int:
    """As many documents as make about four million characters, judged by the page just read."""
    mean = sum(len(document.text) for document in documents) / len(documents) + 1
    return max(1, min(LARGEST_PAGE, int(PAGE_CHARACTERS / mean)))


def _refresh(target: Target) -> Request:
    return Request("POST", url_path("/{}/_refresh", target.name))
