"""Bring documents from before ``attach --language`` into the analysed fields (docs/decisions/language.md).

Elasticsearch analyses a document when it is indexed. An empty partial update indexes it once more as it is: it runs no
pipeline, neither the owner's nor ours, and keeps the vectors.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps
from es_semantic.errors import Forbidden, RequestFailed, SchemaError
from es_semantic.schema.analysis import Analysis, missing_query
from es_semantic.schema.binding import Binding
from es_semantic.schema.language import count_missing
from es_semantic.schema.plan import complete_requests
from es_semantic.schema.target import Target, resolve
from es_semantic.sync import bulk
from es_semantic.sync.pit import PointInTime, with_pit
from es_semantic.sync.report import KEPT_FAILURES, Failure
from es_semantic.sync.unchanged import require_unchanged

PAGE = 500
SMALLEST_PAGE = 10
SLOW = 5.0
"""Seconds; a page whose writing took longer is followed by one of half the size, because its documents are large."""

MAX_FAILURES = 1000
"""After more something else than these documents must be wrong."""

_NEEDS = "`analyze` needs read, index, view_index_metadata and maintenance on the index, and manage to note its end."


@dataclass(slots=True)
class AnalyzeReport:
    """What one ``analyze`` has done: ``written`` of ``total`` documents are in ``fields`` now.

    ``left`` are those that still are not, of which ``failures`` names the first 20 that Elasticsearch refused.
    ``complete`` says that none is left, and that the binding says so. ``seconds`` is wall time.
    """

    index: str
    field: str
    language: str
    fields: list[str]
    total: int = 0
    written: int = 0
    left: int = 0
    failed: int = 0
    complete: bool = False
    seconds: float = 0.0
    failures: list[Failure] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


Progress = Callable[[AnalyzeReport], None]
"""Called after every page with the report so far; it must not change it."""


def unwatched(report: AnalyzeReport) -> None:
    """Report no progress."""


def analyze_steps(
    target: Target, binding: Binding, *, name: str, progress: Progress = unwatched
) -> Steps[AnalyzeReport]:
    """Index again the documents that are not in the analysed fields; see :func:`es_semantic.analyze`."""
    if binding.analysis is None:
        raise SchemaError(
            f"semantic field {name!r} of {target.name!r} has no language",
            hint=f"Give it one: es-semantic attach {target.name} --fields {','.join(binding.source)} --language en",
        )
    analysis = binding.analysis
    report = AnalyzeReport(target.name, name, analysis.language, list(analysis.fields))
    work = _Analyzing(target, binding, analysis, name, report, progress)
    report.total = yield from work.count()
    if report.total:
        yield from with_pit(target.name, work.all, max_size=target.max_result_window)
        report.left = yield from work.count()
    yield from work.finish()
    return report


@dataclass(slots=True)
class _Analyzing:
    target: Target
    binding: Binding
    analysis: Analysis
    name: str
    report: AnalyzeReport
    progress: Progress
    started: float = dataclasses.field(default_factory=time.monotonic)

    def count(self) -> Steps[int]:
        missing = yield from count_missing(self.target, self.binding.source, self.analysis)
        if missing is None:
            raise Forbidden(f"these credentials may not read {self.target.name!r}", status=403, hint=_NEEDS)
        return missing

    def all(self, pit: PointInTime) -> Steps[None]:
        size, after = PAGE, None
        while hits := (yield from pit.page(self._body(), size=size, after=after)):
            # A bulk update of an index that is gone would make a new one of that name.
            yield from require_unchanged(self.target, self.name, {hit["_index"] for hit in hits})
            began = time.monotonic()
            yield from self._write(hits)
            size = max(SMALLEST_PAGE, size // 2) if time.monotonic() - began > SLOW else min(PAGE, 2 * size)
            after = hits[-1]["sort"]

    def finish(self) -> Steps[None]:
        """Say in the binding that no document is left, where that is so."""
        report = self.report
        if report.left and self.target.read_only:
            report.notes.append(f"left out, because read-only: {', '.join(self.target.read_only)}")
        if not report.left:
            # Looked up again: this may have taken hours, and what else is in the _meta stays as it is now.
            for request in complete_requests((yield from resolve(self.target.name)), self.name):
                yield from self._mark(request)
            report.complete = True
        report.seconds = time.monotonic() - self.started

    def _mark(self, request: Request) -> Steps[None]:
        try:
            yield request
        except Forbidden as error:
            raise Forbidden(
                f"every document is in {', '.join(self.analysis.fields)}, but the mapping could not be told so: "
                f"{error.what}",
                status=error.status,
                error_type=error.error_type,
                hint=f"Run the same command with an administrator's credentials. {_NEEDS}",
            ) from error

    def _body(self) -> dict[str, Any]:
        writable = [index for index, gives in self.target.indices.items() if not gives.blocks]
        filters = [missing_query(self.binding.source, self.analysis), {"terms": {"_index": writable}}]
        query = {"bool": {"filter": filters}}
        return {"query": query, "_source": False, "stored_fields": ["_routing"], "seq_no_primary_term": True}

    def _write(self, hits: list[dict[str, Any]]) -> Steps[None]:
        try:
            outcomes = yield from bulk.write([_again(hit) for hit in hits])
        except RequestFailed as error:
            hint = "Run the same command again; it goes on with what is left."
            raise RequestFailed(error.what, status=error.status, error_type=error.error_type, hint=hint) from error
        except Forbidden as error:
            raise Forbidden(error.what, status=error.status, error_type=error.error_type, hint=_NEEDS) from error
        # Whoever has written a document meanwhile has brought it in; and one that is gone need not be.
        refused = [(hit, each) for hit, each in zip(hits, outcomes, strict=True) if not (each.ok or each.superseded)]
        report = self.report
        report.written += len(hits) - len(refused)
        report.failed += len(refused)
        failures = [Failure(hit["_index"], hit["_id"], _why(outcome)) for hit, outcome in refused]
        report.failures += failures[: KEPT_FAILURES - len(report.failures)]
        for _, outcome in refused:
            if outcome.status == 403 or outcome.blocked or report.failed > MAX_FAILURES:
                self._give_up(outcome)
        report.seconds = time.monotonic() - self.started
        self.progress(report)

    def _give_up(self, outcome: bulk.Outcome) -> None:
        forbidden = outcome.status == 403 and not outcome.blocked
        error, hint = (Forbidden, _NEEDS) if forbidden else (RequestFailed, "Mend it, and run the same command again.")
        raise error(
            f"documents of {self.target.name!r} could not be indexed again: {_why(outcome)}",
            status=outcome.status,
            error_type=outcome.error_type,
            hint=hint,
        )


def _why(outcome: bulk.Outcome) -> str:
    return f"{outcome.error_type}: {outcome.reason}"


def _again(hit: Mapping[str, Any]) -> bulk.Item:
    action = {key: hit[key] for key in ("_index", "_id")}
    action |= {"if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}
    if "_routing" in hit:
        action["routing"] = hit["_routing"]
    return [orjson.dumps({"update": action}), orjson.dumps({"doc": {}, "detect_noop": False})]
