"""Re-index from one index into another: begin a job, or go on with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from elasticsearch import Elasticsearch

from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, Version, server_version
from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.embedding import Embedder
from es_semantic.errors import UsageError
from es_semantic.reindex.disk import Room, free_bytes, require_room, room_for
from es_semantic.reindex.document import Whole
from es_semantic.reindex.job import Job, Record, find_record, prepare_control
from es_semantic.reindex.known import Target
from es_semantic.reindex.origin import Origin, count, hides_vectors, on
from es_semantic.reindex.report import ReindexReport
from es_semantic.reindex.running import Options, Running, allow_writes
from es_semantic.reindex.setup import go_on_with, open_target, require_free
from es_semantic.reindex.switch import kept_name, require_switchable
from es_semantic.reindex.wanted import ChooseEmbedder, Plan, Wanted, make_plan
from es_semantic.reindex.writer import CopyWriter
from es_semantic.schema import target as targets
from es_semantic.schema.binding import Binding, read_bindings
from es_semantic.schema.privileges import require_privileges
from es_semantic.sync.embed import Embedding, splitter
from es_semantic.sync.observer import SILENT

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """The ``source`` of a job as the user named it, and the ``client`` of its cluster where that is another one."""

    source: str
    client: Elasticsearch | None = None

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
        if not (yield from _is_late(record.job)):
            return (yield from _already(record))
        place = Place(record.job.source)
    source, wanted, plan = yield from looked_at(place, to, wanted, choose, version, record)
    if not switched and options.switch != "none" and place.client is None:
        yield from _require_switch(source, to, place, options, record)
    yield from prepare_control()
    record = yield from _take_over(record, place, source, to, wanted, plan)
    if not switched and (yield from _leads_to(place, to)):
        # Another run has switched in this moment.
        return (yield from reindex_steps(place, to, wanted, choose, options))
    if place.client is None:
        yield from allow_writes(record, source.name)
    there = yield from open_target(plan, source, wanted, record)
    bound = plan.bound.fingerprint if plan.bound is not None else None
    running = yield from _running(place, source, version, plan, record, options, lambda: choose(bound), resumed=there)
    yield from (running.finish() if switched else running.run())
    return running.report


def _is_late(job: Job) -> Steps[bool]:
    """Say whether the switch was made and something is left to do."""
    if job.phase == "switched" or job.switched is None or not job.switched.late:
        return False
    there = yield from optional(Request("GET", url_path("/{}/_settings/index.uuid", job.source)))
    return there is not None


def looked_at(
    place: Place,
    to: str,
    wanted: Wanted,
    choose: ChooseEmbedder,
    version: Version | None,
    record: Record | None = None,
) -> Steps[tuple[targets.Target, Wanted, Plan]]:
    """Look at the source and decide what will be made; refuse what cannot be done, and change nothing.

    What is wanted comes back with the field that serves under the wanted name.
    """
    targets.require_one_name(to)
    source = yield from place.there(targets.resolve(place.source))
    if source.name == to and place.client is None:
        raise UsageError(f"{place.source!r} is {to!r} already", hint="Give the new index another name with --to.")
    wanted = replace(wanted, name=read_bindings(source.mapping, index=source.name).place(wanted.name))
    plan = yield from place.there(make_plan(source, wanted, choose, version, settled(record)))
    new = targets.Target("index", to, {}, {})
    yield from require_privileges(new, also=() if place.client is not None else (source.name,))
    return source, wanted, plan


def settled(record: Record | None) -> Binding | None:
    """Return how a job that goes on has bound the semantic field when it began."""
    return Binding.model_validate(record.job.binding) if record is not None and record.job.binding else None


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


def _require_switch(
    source: targets.Target, to: str, place: Place, options: Options, record: Record | None
) -> Steps[None]:
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
    kept = kept_name(source.name, to)
    if place.source == source.name and options.keep_old and (record is None or record.job.kept != kept):
        yield from require_free(kept)


def _take_over(
    record: Record | None, place: Place, source: targets.Target, to: str, wanted: Wanted, plan: Plan
) -> Steps[Record]:
    """Return the job's record, which belongs to this run from now on.

    Raises:
        UsageError: the job that fills the target is another one.
    """
    label = f"remote/{source.name}" if place.client is not None else source.name
    if record is None:
        record = Record(
            Job(
                id=uuid.uuid4().hex[:12],
                run=uuid.uuid4().hex,
                source=label,
                uuid=str(source.settings["index.uuid"]),
                target=to,
                name=wanted.name,
                plan=plan.id(source, wanted),
                binding=plan.binding.model_dump(),
            )
        )
        yield from require_enough(place, source, plan, to)
        yield from record.save()
        return record
    yield from go_on_with(record, plan.id(source, wanted))
    return record


def _running(
    place: Place,
    source: targets.Target,
    version: Version | None,
    plan: Plan,
    record: Record,
    options: Options,
    load: Callable[[], Embedder],
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
    origin = Origin(place.source, source, place.client, reader, job.source)
    writer = CopyWriter(target, SILENT, origin.versions)
    yield from writer.look_for_letters()
    report = ReindexReport(job.source, job.target, job.name, plan.binding.stamp, resumed=resumed)
    report.counts, report.notes = job.counts.model_copy(), list(plan.notes)
    return Running(
        origin=origin,
        target=target,
        plan=plan,
        record=record,
        report=report,
        options=options,
        writer=writer,
        load=load,
        embedding=Embedding(plan.embedder, splitter(plan.embedder, plan.binding.chunking), SILENT),
        version=version,
    )
