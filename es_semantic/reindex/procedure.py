"""Re-index from one index into another: begin a job, or go on with it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TypeVar

from elasticsearch import Elasticsearch

from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, Version, server_version
from es_semantic.cluster.steps import Steps
from es_semantic.errors import UsageError
from es_semantic.reindex.disk import Room, free_bytes, require_room, room_for
from es_semantic.reindex.document import Whole
from es_semantic.reindex.job import Job, Record, find_record, new_run, prepare_control
from es_semantic.reindex.known import Target
from es_semantic.reindex.origin import Origin, count, hides_vectors, on
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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """The ``source`` of a job as the user named it, the ``client`` of the cluster it is in where that is another one,
    and the ``label`` of that cluster."""

    source: str
    client: Elasticsearch | None = None
    label: str = ""

    def there(self, steps: Steps[T]) -> Steps[T]:
        """Run a procedure on the source's cluster."""
        return on(self.client, steps)


def reindex_steps(
    place: Place, to: str, wanted: Wanted, choose: ChooseEmbedder, options: Options
) -> Steps[ReindexReport]:
    """Begin the job that fills ``to``, or go on with it; see :func:`es_semantic.reindex`."""
    version = yield from server_version()
    record = yield from find_record(to)
    switched = record is not None and record.job.switched is not None and (yield from _leads_to(place, to))
    if record is not None and switched:
        if not _is_late(record.job):
            return (yield from _already(record))
        place = Place(record.job.source)
    source, plan = yield from looked_at(place, to, wanted, choose, version)
    if not switched and options.switch != "none" and place.client is None:
        yield from _require_switch(source, to, place, options)
    yield from prepare_control()
    record = yield from _take_over(record, place, source, to, wanted, plan)
    if record.version is None:
        yield from require_enough(place, source, plan, to)
        yield from record.save()
    there = yield from open_target(plan, source, wanted, record)
    running = yield from _running(place, source, version, plan, record, options, resumed=there)
    yield from (running.finish() if switched else running.run())
    return running.report


def looked_at(
    place: Place,
    to: str,
    wanted: Wanted,
    choose: ChooseEmbedder,
    version: Version | None,
) -> Steps[tuple[targets.Target, Plan]]:
    """Look at the source and decide what will be made; refuse what cannot be done, and change nothing."""
    targets.require_one_name(to)
    source = yield from place.there(targets.resolve(place.source))
    if source.name == to and place.client is None:
        raise UsageError(f"{place.source!r} is {to!r} already", hint="Give the new index another name with --to.")
    plan = yield from place.there(make_plan(source, wanted, choose, version))
    new = targets.Target("index", to, {}, {})
    yield from require_privileges(new, also=() if place.client is not None else (source.name,))
    return source, plan


def _leads_to(place: Place, to: str) -> Steps[bool]:
    """Say whether the source's name stands for the target already."""
    return place.client is None and (yield from targets.resolve(place.source)).name == to


def require_enough(place: Place, source: targets.Target, plan: Plan, to: str) -> Steps[None]:
    """Refuse to begin where the disks have no room, by the number of documents alone.

    Raises:
        JobStopped: with both sizes.
    """
    documents = yield from place.there(count(source.name))
    replicas = int(source.settings.get("index.number_of_replicas", 1))
    room = yield from place.there(room_for(source.name, plan.bound, plan.binding, vectors=documents, replicas=replicas))
    if place.client is not None:
        room = Room(room.needed, (yield from free_bytes()))
    require_room(room, to)


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


def _require_switch(source: targets.Target, to: str, place: Place, options: Options) -> Steps[None]:
    """See before hours of work that the switch can be made.

    Raises:
        UsageError: it cannot.
    """
    yield from require_switchable(source.name)
    if place.source == source.name and options.switch == "caught-up":
        raise UsageError(
            f"{source.name!r} is an index, not an alias: what is written to it in the moment of the switch is lost",
            hint="Use --switch block, which refuses writes for the last seconds, or write through an alias first.",
        )
    if place.source == source.name and options.keep_old:
        yield from require_free(kept_name(source.name, to))


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
    hidden_there = yield from place.there(hides_vectors(source.name))
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
