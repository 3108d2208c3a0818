"""Make the new index ready to be filled, take it up again, and make it ready for use."""

from __future__ import annotations

import asyncio
from typing import Any

from es_semantic.cluster.steps import Pause, Request, Steps, optional, url_path
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.errors import ClusterError, RequestFailed, UsageError
from es_semantic.reindex.job import Record
from es_semantic.reindex.wanted import Plan, Wanted
from es_semantic.schema.attach import attach_steps
from es_semantic.schema.owner import pipeline_id
from es_semantic.schema.target import Target, resolve
from es_semantic.sync.control import forget
from es_semantic.sync.initial_load import give_back, hold_back

HEALTH_WAIT = "30s"
HEALTH_LOOKS = 120
"""Half-minute looks at replicas that are being filled: an hour."""


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


def open_target(plan: Plan, source: Target, wanted: Wanted, record: Record) -> Steps[bool]:
    """Create the job's index, or take it up again; say whether it was there.

    Raises:
        UsageError: the name belongs to something else.
        SchemaError: the index cannot take the semantic field; it is removed again.
        RequestFailed: Elasticsearch refuses the settings or the mapping.
    """
    job = record.job
    found = yield from optional(Request("GET", url_path("/_alias/{}", job.alias)))
    there = job.target in (found or {})
    if not there:
        yield from require_free(job.target)
        body = plan.body(source, wanted, alias=job.alias)
        try:
            yield Request("PUT", url_path("/{}", job.target), {"wait_for_active_shards": "1"}, body)
        except RequestFailed as error:
            if error.status == 400:
                yield from record.delete()
            raise
        yield from record.save(shards={}, final_pipeline=None, phase="copying")
        yield from forget([job.target], job.name)
    if record.job.final_pipeline is None:
        yield from _attach(plan, wanted, record, new=not there)
    return there


def hold_open(record: Record, *, at_once: bool) -> Steps[None]:
    """Let documents be written as they are: without the final pipeline, and ``at_once`` without replicas, refreshes."""
    target = record.job.target
    yield Request("PUT", url_path("/{}/_settings", target), body={"index.final_pipeline": None})
    if at_once:
        yield from hold_back((yield from resolve(target)))


def close_for_use(record: Record) -> Steps[None]:
    """Give the index its final pipeline, its refreshes and its replicas, and wait until these are filled."""
    target = record.job.target
    yield from give_back([target])
    final = {"index.final_pipeline": record.job.final_pipeline}
    yield Request("PUT", url_path("/{}/_settings", target), body=final)
    params = {"wait_for_no_initializing_shards": "true", "wait_for_status": "yellow", "timeout": HEALTH_WAIT}
    for _ in range(HEALTH_LOOKS):
        health = yield from optional(
            Request("GET", url_path("/_cluster/health/{}", target), params), missing=(403, 408)
        )
        if health is None or not health["timed_out"]:
            return
        yield Pause(0)


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
    found: Any = yield from optional(Request("GET", url_path("/_alias/{}", job.alias)))
    if job.target in (found or {}):
        yield Request("DELETE", url_path("/{}", job.target))
        # The pipeline of an index can be deleted only after it.
        yield from optional(Request("DELETE", url_path("/_ingest/pipeline/{}", f"es-semantic-{job.target}")))
    yield from forget([job.target], job.name)
    yield from record.delete()


def _remove_if_possible(record: Record) -> Steps[None]:
    try:
        yield from remove_target(record)
    except ClusterError:
        # What went wrong first matters more; `--cancel` removes what is left.
        return
