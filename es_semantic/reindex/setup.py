"""Make the new index ready to be filled, take it up again, and make it ready for use."""

from __future__ import annotations

import asyncio
from typing import Any

from es_semantic.cluster.steps import Pause, Request, Steps, optional, url_path
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.errors import ClusterError, Forbidden, RequestFailed, UsageError
from es_semantic.reindex.deletes import positions_in
from es_semantic.reindex.job import Counts, Job, Record
from es_semantic.reindex.wanted import Plan, Wanted
from es_semantic.schema.attach import attach_steps
from es_semantic.schema.owner import pipeline_id
from es_semantic.schema.target import Target, resolve
from es_semantic.sync.control import forget
from es_semantic.sync.initial_load import give_back, hold_back

HEALTH_WAIT = "30s"
HEALTH_PAUSE = 1.0
TIMED_OUT = 408
HEALTH_LOOKS = 120
"""Looks of half a minute at replicas that are being filled: an hour."""


def require_free(name: str) -> Steps[None]:
    """Refuse a name that something has.

    Raises:
        UsageError: an index, alias or data stream has it.
    """
    found = yield from optional(Request("GET", url_path("/_resolve/index/{}", name), {"expand_wildcards": "all"}))
    if found and any(found.get(kind) for kind in ("indices", "aliases", "data_streams")):
        raise UsageError(
            f"{name!r} is there already, and was not made by a re-indexing that goes on",
            hint="Choose another name with --to, or delete it first.",
        )


def require_unused(record: Record) -> Steps[None]:
    """Refuse to go on with, or to give up, an index that was fit for use and has been written to by others since.

    Raises:
        UsageError: it has.
    """
    ready = record.job.ready
    if not ready:
        return
    if not (yield from _is_there(record.job)):
        return
    now = yield from positions_in(record.job.target)
    if any(position > ready.get(shard, -1) for shard, position in now.items()):
        raise UsageError(
            f"{record.job.target!r} is in use: since it was filled, others have written to it",
            hint="Whatever its source has now would replace what they wrote. Re-index into another one.",
        )
    yield from record.save(ready={})


def go_on_with(record: Record, plan: str) -> Steps[None]:
    """Make an earlier job this run's; ``plan`` is what this run is asked for.

    Raises:
        UsageError: that is not what the job was begun for, or others use its index by now.
    """
    if record.job.plan != plan:
        raise UsageError(
            f"the job that fills {record.job.target!r} from {record.job.source!r} is another one: with another model, "
            "other fields or changes",
            hint="Go on with it by the command that began it, or give it up with --cancel.",
        )
    yield from require_unused(record)
    yield from record.take_over()
    yield from fence_off(record)


def open_target(plan: Plan, source: Target, wanted: Wanted, record: Record) -> Steps[bool]:
    """Create the job's index, or take it up again; say whether it was there.

    Raises:
        UsageError: the name belongs to something else.
        SchemaError: the index cannot take the semantic field; it is removed again.
        RequestFailed: Elasticsearch refuses the settings or the mapping.
    """
    job = record.job
    there = yield from _is_there(job)
    if not there:
        yield from require_free(job.target)
        yield from forget([job.target], job.name)
        # Before the index is there: what an earlier one held does not count for this one.
        nothing: dict[str, Any] = {"shards": {}, "final_pipeline": None, "phase": "copying", "counts": Counts()}
        yield from record.save(**nothing, switched=None, ready={})
        body = plan.body(source, wanted, alias=job.alias)
        body["aliases"][record.job.fence] = {"is_hidden": True}
        try:
            yield Request("PUT", url_path("/{}", job.target), {"wait_for_active_shards": "1"}, body)
        except RequestFailed as error:
            if error.status == 400 and error.error_type != "resource_already_exists_exception":
                yield from record.delete()
            raise
    if record.job.final_pipeline is None:
        yield from _attach(plan, wanted, record, new=not there)
    return there


def hold_open(record: Record, *, at_once: bool) -> Steps[None]:
    """Let documents be written as they are: without the final pipeline, and ``at_once`` without replicas, refreshes."""
    target = record.job.target
    yield Request("PUT", url_path("/{}/_settings", target), body={"index.final_pipeline": None})
    if at_once:
        yield from hold_back((yield from resolve(target)))


def restore_replicas(record: Record) -> Steps[None]:
    """Give the index its refreshes and its replicas again, and wait until these are filled."""
    target = record.job.target
    yield from give_back([target])
    params = {"wait_for_no_initializing_shards": "true", "wait_for_status": "yellow", "timeout": HEALTH_WAIT}
    for _ in range(HEALTH_LOOKS):
        try:
            yield Request("GET", url_path("/_cluster/health/{}", target), params)
        except Forbidden:
            return
        except ClusterError as error:
            if error.status != TIMED_OUT:
                raise
            yield Pause(HEALTH_PAUSE)
        else:
            return


def restore_pipeline(record: Record) -> Steps[None]:
    """Let writes to the index run its final pipeline."""
    final = {"index.final_pipeline": record.job.final_pipeline}
    yield Request("PUT", url_path("/{}/_settings", record.job.target), body=final)


def fence_off(record: Record) -> Steps[None]:
    """Make it impossible for an earlier run of this job to switch; it is done where the index is there."""
    job = record.job
    found = yield from optional(Request("GET", url_path("/{}/_alias", job.target)))
    aliases = (found or {}).get(job.target, {}).get("aliases", {})
    if job.alias not in aliases:
        return
    earlier = [name for name in aliases if name.startswith(f"{job.alias}-run-") and name != job.fence]
    own = {"add": {"index": job.target, "alias": job.fence, "is_hidden": True}}
    removed = [{"remove": {"index": job.target, "alias": name, "must_exist": False}} for name in earlier]
    yield Request("POST", "/_aliases", body={"actions": [own, *removed]})


def _attach(plan: Plan, wanted: Wanted, record: Record, *, new: bool) -> Steps[None]:
    job = record.job
    try:
        yield from attach_steps(
            job.target,
            plan.binding.source,
            lambda: plan.embedder.profile,
            load_tokenizer=lambda: tokenizer_of(plan.embedder),
            language=wanted.language,
            name=wanted.name,
        )
    except (Exception, KeyboardInterrupt, asyncio.CancelledError):
        if new:
            yield from _remove_if_possible(record)
        raise
    target = yield from resolve(job.target)
    yield from record.save(final_pipeline=pipeline_id(target))


def remove_target(record: Record) -> Steps[None]:
    """Delete the job's index and everything that belongs to it, and forget the job."""
    job = record.job
    if (yield from _is_there(job)):
        yield Request("DELETE", url_path("/{}", job.target))
        # The pipeline of an index can be deleted only after it.
        yield from optional(Request("DELETE", url_path("/_ingest/pipeline/{}", f"es-semantic-{job.target}")))
    yield from forget([job.target], job.name)
    yield from record.delete()


def _is_there(job: Job) -> Steps[bool]:
    """Say whether the target is there, and this job's."""
    found = yield from optional(Request("GET", url_path("/_alias/{}", job.alias)))
    return job.target in (found or {})


def _remove_if_possible(record: Record) -> Steps[None]:
    try:
        yield from remove_target(record)
    except ClusterError:
        # What went wrong first matters more; `--cancel` removes what is left.
        return
