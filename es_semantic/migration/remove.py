"""Remove the field that does not serve: the old model's after the switch, or the new one's if it is given up."""

from __future__ import annotations

from operator import methodcaller

from es_semantic.cluster.steps import Forget, Pause, Steps
from es_semantic.errors import SchemaError, UsageError
from es_semantic.migration.family import Family, look
from es_semantic.migration.state import Migration, state_of
from es_semantic.schema.attach import detach_steps
from es_semantic.schema.binding import exactly
from es_semantic.schema.lookup import SECONDS
from es_semantic.schema.rebound import rebind
from es_semantic.schema.target import resolve
from es_semantic.sync.control import forget
from es_semantic.sync.purge import Watch, purge_steps

SETTLE = SECONDS + 1.0
"""Seconds between unbinding a field and removing its values: other processes may go by bindings of that age."""


def drop_steps(index: str, name: str, watch: Watch) -> Steps[Migration]:
    """Remove the old model's field; see :func:`es_semantic.drop_migration`."""
    family = yield from look(index, name)
    if family.before is None and family.prepared is not None and not family.leaving:
        raise UsageError(
            f"the new model does not serve semantic field {family.name!r} of {family.target.name!r} yet",
            hint=f"First: {family.command('switch')} (or cancel, to give it up)",
        )
    return (yield from _remove(index, family, family.before, watch))


def cancel_steps(index: str, name: str, watch: Watch) -> Steps[Migration]:
    """Remove the new model's field, which does not serve; see :func:`es_semantic.cancel_migration`."""
    family = yield from look(index, name)
    if family.prepared is None and family.before is not None and not family.leaving:
        raise UsageError(
            f"the new model serves semantic field {family.name!r} of {family.target.name!r} already",
            hint=f"First: {family.command('rollback')} (or drop, to keep it)",
        )
    return (yield from _remove(index, family, family.prepared, watch))


def _remove(index: str, family: Family, field: str | None, watch: Watch) -> Steps[Migration]:
    """Unbind a field beside the one that serves, if any, and remove the values of whatever is leaving.

    That it leaves is noted first, so that a run that is cut off can be gone on with, and queries hide what is left.
    """
    if field is not None:
        yield from rebind(index, methodcaller("leaves", field))
        family = yield from look(index, family.name)
        if field not in family.leaving:
            raise SchemaError(
                f"field {field!r} of {family.target.name!r} serves since this moment, and stays",
                hint=f"See where it stands: {family.command()}",
            )
        yield from detach_steps(index, name=exactly(field))
        yield Forget()
        family = yield from look(index, family.name)
    if not family.leaving:
        return (yield from state_of(family, ("there is nothing to remove",)))
    yield Pause(SETTLE)
    removed = 0
    for each in family.leaving:
        # Whoever has attached a field of that name since then keeps it.
        if each not in family.bindings.fields:
            yield from forget(list(family.target.indices), each)
            removed = yield from _purge_all(index, each, watch, removed)
        yield from rebind(index, methodcaller("has_left", each))
    return (yield from state_of((yield from look(index, family.name)), _notes(family, removed)))


def _purge_all(index: str, field: str, watch: Watch, removed: int) -> Steps[int]:
    """Remove what the field has in all documents; return ``removed`` and as many more."""
    while True:
        target, before = (yield from resolve(index)), removed
        removed += yield from purge_steps(target, name=field, watch=_more(watch, before), leave_out=target.read_only)
        # A worker that had begun a write just before may have put some back.
        if removed == before:
            return removed


def _notes(family: Family, removed: int) -> tuple[str, ...]:
    note = f"the values of {', '.join(family.leaving)} were removed from {removed:,} documents"
    blocked = family.target.read_only
    return (note, f"left as they are, because read-only: {', '.join(blocked)}") if blocked else (note,)


def _more(watch: Watch, before: int) -> Watch:
    return lambda removed: watch(before + removed)
