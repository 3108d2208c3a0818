"""Let the other field serve queries: forward after preparing, and back."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import JobStopped, SchemaError, UsageError
from es_semantic.migration.family import Family, look
from es_semantic.migration.prepare import WorkerFor
from es_semantic.migration.state import Migration, state_of
from es_semantic.schema.binding import exactly
from es_semantic.schema.rebound import rebind
from es_semantic.schema.vectors import has_vector
from es_semantic.sync.failures import failures_steps
from es_semantic.sync.once import one_sync


def switch_steps(index: str, name: str, worker_for: WorkerFor, *, allow_missing: bool) -> Steps[Migration]:
    """Let the prepared field serve; see :func:`es_semantic.switch_migration`."""
    family = yield from look(index, name)
    if family.prepared is None:
        if family.before is not None:
            # Also where a run was cut off that had reached some of a data stream's indices.
            yield from _serve(index, family, family.serving)
            return (yield from state_of(family, ("this was done already",)))
        raise UsageError(
            f"no other model is prepared for semantic field {family.name!r} of {family.target.name!r}",
            hint=f"Run: {family.command('--model NEW')}",
        )
    _require_staying(family, family.prepared)
    # What was written since it was prepared, where no worker follows.
    yield from one_sync((yield from worker_for(exactly(family.prepared))))
    missing = yield from _missing(family, family.prepared, (yield from _dead(family, family.prepared)))
    if missing and not allow_missing:
        raise JobStopped(
            f"{missing} documents of {family.target.name!r} have a vector of the model that serves and none of the new "
            "one: vector search would no longer find them, so nothing was switched",
            hint=f"See: es-semantic failures {family.target.name} --name {family.prepared}. Or --allow-missing.",
        )
    yield from _serve(index, family, family.prepared)
    notes = (f"{missing} documents have no vector of the new model",) if missing else ()
    return (yield from state_of((yield from look(index, family.name)), notes))


def rollback_steps(index: str, name: str) -> Steps[Migration]:
    """Let the field serve that did before the switch; see :func:`es_semantic.roll_back_migration`."""
    family = yield from look(index, name)
    if family.before is None:
        if family.prepared is not None:
            yield from _serve(index, family, family.serving)
            return (yield from state_of(family, ("the old model serves",)))
        raise UsageError(
            f"semantic field {family.name!r} of {family.target.name!r} has no field of an earlier model",
            hint="A rollback is possible until the old field is dropped.",
        )
    _require_staying(family, family.before)
    yield from _serve(index, family, family.before)
    return (yield from state_of((yield from look(index, family.name))))


def _serve(index: str, family: Family, field: str) -> Steps[None]:
    yield from rebind(index, methodcaller("served_by", family.name, field))
    now = yield from look(index, family.name)
    if now.serving != field:
        raise SchemaError(
            f"field {field!r} of {now.target.name!r} was detached or dropped in this moment; {now.serving!r} serves",
            hint=f"See where it stands: {now.command()}",
        )


def _require_staying(family: Family, field: str) -> None:
    if field in family.leaving:
        raise UsageError(
            f"field {field!r} of {family.target.name!r} is being dropped", hint="Let that come to its end first."
        )


def _dead(family: Family, field: str) -> Steps[list[str]]:
    """Return the ids of the documents that have a dead letter for the field."""
    listed = yield from failures_steps(family.target, family.binding(field), name=field, retry=False)
    return sorted({letter.id for letter in listed.failures})


def _missing(family: Family, field: str, dead: list[str]) -> Steps[int]:
    """Count what a switch to the field would take from vector search for good; ``dead`` are ids with a dead letter.

    What waits to be embedded is not counted, because it is embedded soon: but where an index is read-only it never is.
    """
    old, new = family.binding(family.serving), family.binding(field)
    index = family.target.name
    found = [has_vector(family.serving, old), {"term": {f"{family.serving}.model": old.stamp}}]
    stamped = {"bool": {"filter": [has_vector(field, new), {"term": {f"{field}.model": new.stamp}}]}}
    lost: list[dict[str, Any]] = [
        {"term": {f"{field}.status": "failed"}},
        {"terms": {"_index": family.target.read_only}},
        {"ids": {"values": dead}},
    ]
    body = {"bool": {"filter": found, "must_not": [stamped], "should": lost, "minimum_should_match": 1}}
    yield Request("POST", url_path("/{}/_refresh", index))
    answer = yield Request("POST", url_path("/{}/_count", index), body={"query": body})
    return int(answer["count"])
