"""Re-index from one index into another: begin a job, or go on with it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, Version, server_version
from es_semantic.cluster.steps import Compute, Steps, run
from es_semantic.errors import UsageError
from es_semantic.reindex.document import Whole
from es_semantic.reindex.job import Job, Record, find_record, new_run, prepare_control
from es_semantic.reindex.known import Target
from es_semantic.reindex.origin import Origin, hides_vectors
from es_semantic.reindex.report import ReindexReport
from es_semantic.reindex.running import Options, Running
from es_semantic.reindex.setup import open_target, require_free
from es_semantic.reindex.switch import kept_name, require_switchable
from es_semantic.reindex.wanted import ChooseEmbedder, Plan, Wanted, make_plan
from es_semantic.reindex.writer import CopyWriter
from es_semantic.schema import target as targets
from es_semantic.schema.privileges import require_privileges
from es_semantic.sync.dead_letters import read_letters
from es_semantic.sync.embed import Embedding, splitter
from es_semantic.sync.observer import SILENT


@dataclass(frozen=True, slots=True)
class Place:
    """The ``source`` of a job as the user named it, the ``client`` of the cluster it is in where that is another one,
    and the ``label`` of that cluster."""

    source: str
    client: Elasticsearch | None = None
    label: str = ""


def reindex_steps(
    place: Place, to: str, wanted: Wanted, choose: ChooseEmbedder, options: Options
) -> Steps[ReindexReport]:
    """Begin the job that fills ``to``, or go on with it; see :func:`es_semantic.reindex`."""
    version = yield from server_version()
    targets.require_one_name(to)
    record = yield from find_record(to)
    source = yield from _there(place, targets.resolve(place.source))
    switched = record is not None and record.job.switched is not None and place.client is None and source.name == to
    if record is not None and switched:
        if not _is_late(record.job):
            return (yield from _already(record))
        source = yield from targets.resolve(record.job.source)
    plan = yield from _there(place, make_plan(source, wanted, choose, version))
    yield from _require_change(source, to, place, options)
    yield from prepare_control()
    record = yield from _take_over(record, place, source, to, wanted, plan)
    there = yield from open_target(plan, source, wanted, record)
    running = yield from _running(place, source, version, plan, record, options, resumed=there)
    yield from (running.finish() if switched else running.run())
    return running.report


def _is_late(job: Job) -> bool:
    return job.phase != "switched" and job.switched is not None and job.switched.late


def _already(record: Record) -> Steps[ReindexReport]:
    """Say that the switch was made, also where a run was cut off before it could note that."""
    job = record.job
    if job.phase != "switched":
        yield from record.save(phase="switched")
    assert job.switched is not None
    report = ReindexReport(job.source, job.target, job.name, "", "switched", counts=job.counts, resumed=True)
    report.switched, report.old, report.aliases = True, job.switched.old, sorted(job.switched.aliases)
    report.notes.append("this was done already")
    return report


def _require_change(source: targets.Target, to: str, place: Place, options: Options) -> Steps[None]:
    """See that all of it can be done, and that these credentials may do it, before anything is done.

    Raises:
        UsageError: source and target are the same, or the switch cannot be made.
        Forbidden: with every missing privilege named.
    """
    if source.name == to and place.client is None:
        raise UsageError(f"{place.source!r} is {to!r} already", hint="Give the new index another name with --to.")
    if options.switch != "none" and place.client is None:
        yield from require_switchable(source.name)
        if place.source == source.name and options.switch == "caught-up":
            raise UsageError(
                f"{source.name!r} is an index, not an alias: what is written to it in the moment of the switch is lost",
                hint="Use --switch block, which refuses writes for the last seconds, or write through an alias first.",
            )
        if place.source == source.name and options.keep_old:
            yield from require_free(kept_name(source.name, to))
    new = targets.Target("index", to, {}, {})
    yield from require_privileges(new, also=() if place.client is not None else (source.name,))


def _take_over(
    record: Record | None, place: Place, source: targets.Target, to: str, wanted: Wanted, plan: Plan
) -> Steps[Record]:
    """Return the job's record, which belongs to this run from now on.

    Raises:
        UsageError: the job that fills the target is another one.
    """
    label = f"{place.label}/{source.name}" if place.label else source.name
    if record is None:
        record = Record(
            Job(
                id=uuid.uuid4().hex[:12],
                run=new_run(),
                source=label,
                uuid=str(source.settings["index.uuid"]),
                target=to,
                name=wanted.name,
                plan=plan.id(source, wanted),
            )
        )
        yield from record.save()
        return record
    if record.job.plan != plan.id(source, wanted):
        raise UsageError(
            f"an unfinished job fills {to!r} from {record.job.source!r} with another model, other fields or changes",
            hint="Go on with it by the command that began it, or give it up with --cancel.",
        )
    yield from record.save(run=new_run())
    return record


def _running(
    place: Place,
    source: targets.Target,
    version: Version | None,
    plan: Plan,
    record: Record,
    options: Options,
    *,
    resumed: bool,
) -> Steps[Running]:
    job = record.job
    base64 = version is not None and version >= BASE64_VECTORS_SINCE
    hidden_there = yield from _there(place, hides_vectors(source.name))
    hidden = hidden_there if place.client is None else (yield from hides_vectors(job.target))
    filled = yield from targets.resolve(job.target)
    target = Target(job.alias, job.target, job.name, plan.binding, hidden, base64, filled.max_result_window)
    reader = Whole(job.name, plan.binding, hidden_there, base64)
    letters = yield from read_letters(job.name, [job.target])
    writer = CopyWriter(target, SILENT, letters={key: stored.version for key, stored in letters.items()})
    report = ReindexReport(job.source, job.target, job.name, plan.binding.stamp, resumed=resumed)
    report.counts, report.notes = job.counts.model_copy(), list(plan.notes)
    return Running(
        origin=Origin(place.source, source, place.client, reader, job.source),
        target=target,
        plan=plan,
        record=record,
        report=report,
        options=options,
        writer=writer,
        embedding=Embedding(plan.embedder, splitter(plan.embedder, plan.binding.chunking), SILENT),
        version=version,
    )


def _there(place: Place, steps: Steps[Any]) -> Steps[Any]:
    if place.client is None:
        return (yield from steps)
    client = place.client
    return (yield Compute(lambda: run(client, steps)))
