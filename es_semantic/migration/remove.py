"""Remove the field that does not serve: the old model's after the switch, or the new one's if it is given up."""

from __future__ import annotations

from operator import methodcaller

from es_semantic.cluster.steps import Forget, Steps
from es_semantic.errors import UsageError
from es_semantic.migration.family import Family, look
from es_semantic.migration.state import Migration, state_of
from es_semantic.schema.attach import detach_steps
from es_semantic.schema.binding import exactly
from es_semantic.schema.rebound import rebind
from es_semantic.schema.target import resolve
from es_semantic.sync.control import forget
from es_semantic.sync.purge import Watch, purge_steps


def drop_steps(index: str, name: str, watch: Watch) -> Steps[Migration]:
    """Remove the old model's field; see :func:`es_semantic.drop_migration`."""
    family = yield from look(index, name)
    if family.prepared is not None and family.prepared not in family.leaving:
        raise UsageError(
            f"the new model does not serve semantic field {family.name!r} of {family.target.name!r} yet",
            hint=f"First: es-semantic migrate {family.target.name} switch{family.option} (or cancel, to give it up)",
        )
    return (yield from _remove(index, family, watch))


def cancel_steps(index: str, name: str, watch: Watch) -> Steps[Migration]:
    """Remove the new model's field, which does not serve; see :func:`es_semantic.cancel_migration`."""
    family = yield from look(index, name)
    if family.before is not None and family.before not in family.leaving:
        raise UsageError(
            f"the new model serves semantic field {family.name!r} of {family.target.name!r} already",
            hint=f"First: es-semantic migrate {family.target.name} rollback{family.option} (or drop, to keep it)",
        )
    return (yield from _remove(index, family, watch))


def _remove(index: str, family: Family, watch: Watch) -> Steps[Migration]:
    """Unbind the field beside the one that serves, and remove the values of whatever is leaving.

    That it leaves is noted first, so that a run that is cut off can be gone on with, and queries hide what is left.
    """
    field = family.prepared or family.before
    if field is not None:
        yield from rebind(index, methodcaller("leaves", field))
        yield from detach_steps(index, name=exactly(field))
        yield Forget()
        yield from forget(list(family.target.indices), field)
        family = yield from look(index, family.name)
    if not family.leaving:
        return (yield from state_of(family, ("there is nothing to remove",)))
    removed = 0
    for each in family.leaving:
        # A worker that had begun a write just before may have put some back.
        while some := (yield from _purge(index, each, watch, removed)):
            removed += some
        yield from rebind(index, methodcaller("has_left", each))
    note = f"the values of {', '.join(family.leaving)} were removed from {removed:,} documents"
    return (yield from state_of((yield from look(index, family.name)), (note,)))


def _purge(index: str, field: str, watch: Watch, before: int) -> Steps[int]:
    target = yield from resolve(index)
    return (yield from purge_steps(target, name=field, watch=lambda removed: watch(before + removed)))
