"""Where a change of models stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from es_semantic.cluster.steps import Steps
from es_semantic.migration.family import Family, look
from es_semantic.sync.status import Status, status_steps

Phase = Literal["none", "preparing", "ready", "switched", "dropping"]
"""``none``: one model alone. ``preparing``: in the new model's field documents are still without their vectors.
``ready``: none is. ``switched``: queries use the new model, and the old one's field is kept up to date. ``dropping``: a
field's values are being removed."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Where the change of the model of semantic field ``name`` stands.

    ``serving`` counts the documents of the field that queries use; ``other`` those of the field beside it: the new
    model's before the switch, the old one's after it.
    """

    index: str
    name: str
    phase: Phase
    serving: Status
    other: Status | None = None
    leaving: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def state_steps(index: str, name: str) -> Steps[Migration]:
    """Look up where the change stands; see :func:`es_semantic.migration`."""
    return (yield from state_of((yield from look(index, name))))


def state_of(family: Family, notes: tuple[str, ...] = ()) -> Steps[Migration]:
    """Count the documents of the fields that stand for a name."""
    serving = yield from _status(family, family.serving)
    other = (yield from _status(family, family.beside)) if family.beside is not None else None
    leaving = tuple(family.leaving)
    return Migration(family.target.name, family.name, _phase(family, serving, other), serving, other, leaving, notes)


def _phase(family: Family, serving: Status, other: Status | None) -> Phase:
    if other is None or other.field in family.leaving:
        return "dropping" if family.leaving else "none"
    if family.before is not None:
        return "switched"
    return "ready" if other.pending <= serving.pending and not other.unread else "preparing"


def _status(family: Family, field: str) -> Steps[Status]:
    return status_steps(family.target, family.binding(field), name=field)
