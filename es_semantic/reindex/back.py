"""Give up a job that is not done, or go back to the old index after the switch."""

from __future__ import annotations

import asyncio
from typing import Any

from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, server_version
from es_semantic.cluster.steps import Forget, Request, Steps, optional, url_path
from es_semantic.errors import EsSemanticError, IndexUnavailable, UsageError
from es_semantic.reindex import switch as switching
from es_semantic.reindex.deletes import delete_what_is_gone
from es_semantic.reindex.document import Whole
from es_semantic.reindex.job import Job, Record, Switched, find_record
from es_semantic.reindex.known import Target
from es_semantic.reindex.origin import Origin, hides_vectors
from es_semantic.reindex.report import ReindexReport
from es_semantic.reindex.running import allow_writes
from es_semantic.reindex.setup import fence_off, remove_target, require_unused
from es_semantic.reindex.verify import require_same_counts
from es_semantic.reindex.writer import CopyWriter
from es_semantic.schema.target import resolve
from es_semantic.sync.feed import Feed
from es_semantic.sync.intervals import Intervals
from es_semantic.sync.observer import SILENT
from es_semantic.sync.partition import WHOLE


def cancel_steps(to: str) -> Steps[ReindexReport]:
    """Give up the unfinished job that fills ``to``: its index is deleted, writes to the source are allowed again.

    Raises:
        UsageError: there is no such job, or its index is in use already.
    """
    record = yield from _record(to)
    job = record.job
    if job.switched is not None and (yield from _is_in_use(job)):
        raise UsageError(f"{to!r} has taken the place of {job.source!r} already", hint="To go back: --undo.")
    yield from require_unused(record)
    yield from record.take_over()
    yield from fence_off(record)
    if (yield from _is_in_use(record.job)):
        raise UsageError(f"{to!r} has taken the place of {job.source!r} in this moment", hint="To go back: --undo.")
    yield from allow_writes(record, job.source)
    yield from remove_target(record)
    yield Forget()
    return ReindexReport(job.source, job.target, job.name, "", "cancelled", counts=job.counts)


def undo_steps(to: str) -> Steps[ReindexReport]:
    """Put the old index back into its place, with everything that was written to the new one since.

    Writes are refused for as long as that takes. The new index stays; nothing needs to be embedded for it. Documents
    that were written since the switch lie in the old index as new ones: its final pipeline runs for them, and where it
    has a semantic field of its own, its worker embeds them.

    Raises:
        UsageError: there was no such switch, or the old index was not kept.
        IndexUnavailable: the old index is gone.
    """
    record = yield from _record(to)
    job, switched = record.job, record.job.switched
    if switched is None or (job.phase != "back" and not (yield from _is_in_use(job))):
        raise UsageError(f"{to!r} has taken nobody's place", hint="To give up an unfinished job: --cancel.")
    if switched.late and job.phase not in ("switched", "back"):
        raise UsageError(
            f"the switch to {to!r} is not finished: what came late is still in {job.source!r} alone",
            hint="Run the command that began it once more, then go back.",
        )
    if switched.old is None:
        raise UsageError(f"the index that {to!r} replaced was not kept", hint="Re-index into a new one instead.")
    if (yield from optional(Request("GET", url_path("/{}/_settings/index.uuid", switched.old)))) is None:
        raise IndexUnavailable(f"index {switched.old!r} is gone, which {to!r} replaced", status=404)
    report = ReindexReport(to, switched.old, job.name, "", "going back")
    if job.phase != "back" or (yield from _is_in_use(job)):
        yield from _go_back(record, switched, switched.old, report)
    if record.job.phase == "back":
        yield from switching.unblock_writes(to)
    yield from record.delete()
    yield Forget()
    report.stage, report.switched, report.aliases = "back", True, sorted(switched.aliases)
    report.notes.append(f"index {to!r} is still there, with no name but its own")
    return report


def _go_back(record: Record, switched: Switched, old: str, report: ReindexReport) -> Steps[None]:
    """Bring back what was written since, under a write block, and give the old index its names."""
    to = record.job.target
    ours = record.job.phase == "back" or not (yield from switching.is_blocked(to))
    try:
        if ours:
            yield from record.save(phase="back")
        yield from switching.block_writes(to)
        if switched.blocked:
            yield from switching.unblock_writes(old)
        report.counts.copied, report.counts.deleted = yield from _bring_back(record.job, switched, old)
        yield switching.update_aliases(_actions(record.job, switched, old))
    except (Exception, KeyboardInterrupt, asyncio.CancelledError):
        if ours:
            yield from _unblock_if_possible(record)
        raise


def _bring_back(job: Job, switched: Switched, old: str) -> Steps[tuple[int, int]]:
    """Copy to the old index what was written to the new one since the switch; return how much, and what was deleted."""
    alias = _back_alias(job)
    yield switching.update_aliases([{"add": {"index": old, "alias": alias, "is_hidden": True}}])
    version = yield from server_version()
    base64 = version is not None and version >= BASE64_VECTORS_SINCE
    hidden = yield from hides_vectors(old)
    source, kept = (yield from resolve(job.target)), (yield from resolve(old))
    origin = Origin(job.target, source, None, Whole(job.name, None, hidden, base64), job.target)
    target = Target(alias, old, job.name, None, hidden, base64, kept.max_result_window)
    writer = CopyWriter(target, SILENT, origin.versions)
    done = {number: Intervals([(0, last)] if last >= 0 else []) for number, last in switched.positions.items()}
    shards = yield from origin.shards()
    unread = {s: list(done.get(str(s.number), Intervals()).gaps(-1, s.global_checkpoint)) for s in shards}
    feed = Feed(origin.reader, WHOLE, source.max_result_window, unread)
    copied = 0
    while page := (yield from feed.next_page()):
        written = yield from writer.write(page.documents, [])
        refused = next((each for each in written if each.refused), None)
        if refused is not None:
            raise UsageError(
                f"document {refused.document.id!r} of {job.target!r} cannot be put into {old!r}: {refused.refused}",
                hint="Nothing was switched back. Mend or delete it, and run the same command again.",
            )
        copied += len(written)
    deleted = yield from delete_what_is_gone(origin, target, complete=True)
    yield from require_same_counts(origin, target)
    return copied, deleted


def _actions(job: Job, switched: Switched, old: str) -> list[dict[str, Any]]:
    """The old index gets its names back, and loses the one by which it was written to."""
    removed = {job.target: [*switched.aliases, job.alias], old: [_back_alias(job)]}
    return [
        *(
            {"remove": {"index": i, "alias": name, "must_exist": False}}
            for i, names in removed.items()
            for name in names
        ),
        *({"add": {"index": old, "alias": name, **body}} for name, body in switched.aliases.items()),
    ]


def _back_alias(job: Job) -> str:
    return f"{job.alias}-back"


def _record(to: str) -> Steps[Record]:
    record = yield from find_record(to)
    if record is None:
        raise UsageError(f"no job fills {to!r}, and none has", hint="List what there is: GET /_cat/indices?v")
    return record


def _is_in_use(job: Job) -> Steps[bool]:
    """Say whether the target has one of the names that it was to take over."""
    found = yield from optional(Request("GET", url_path("/{}/_alias", job.target)))
    aliases = (found or {}).get(job.target, {}).get("aliases", {})
    return job.switched is not None and any(name in aliases for name in job.switched.aliases)


def _unblock_if_possible(record: Record) -> Steps[None]:
    try:
        if (yield from _is_in_use(record.job)):
            yield from switching.unblock_writes(record.job.target)
            yield from record.save(phase="switched")
    except EsSemanticError:
        # What went wrong first matters more; the same command again goes on, and allows writes.
        return
