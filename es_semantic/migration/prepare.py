"""Give a semantic field a second place for another model, and fill it beside the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from es_semantic.cluster.steps import Compute, Forget, Steps
from es_semantic.embedding import Embedder, Fingerprint, is_same_model
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.errors import BindingConflict
from es_semantic.migration.family import Family, look
from es_semantic.migration.state import Migration, state_of
from es_semantic.schema.attach import attach_steps
from es_semantic.schema.binding import exactly
from es_semantic.sync.once import one_sync
from es_semantic.sync.report import SyncReport
from es_semantic.sync.worker import Worker

WorkerFor = Callable[[str], Steps[Worker]]
"""Return a worker for the field of a name."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What preparing has done: ``report`` is of the documents embedded, ``state`` how things stand afterwards."""

    field: str
    report: SyncReport
    state: Migration


def prepare_steps(
    index: str, name: str, load: Callable[[], Embedder], worker_for: WorkerFor, *, chunk: str
) -> Steps[Preparation]:
    """Make the field of the new model, and fill it; see :func:`es_semantic.migrate`."""
    family = yield from look(index, name)
    embedder = yield Compute(load)
    wanted = yield Compute(lambda: embedder.profile)
    field = _place(family, wanted.fingerprint)
    bound = family.binding(family.serving)
    change = yield from attach_steps(
        index,
        bound.source,
        lambda: wanted,
        load_tokenizer=lambda: tokenizer_of(embedder),
        chunk=chunk,
        language=bound.analysis.language if bound.analysis is not None else None,
        name=field,
        stands_for=family.name,
    )
    yield Forget()
    report = yield from one_sync((yield from worker_for(exactly(field))))
    state = yield from state_of((yield from look(index, family.name)), change.notes)
    return Preparation(field, report, state)


def _place(family: Family, wanted: Fingerprint) -> str:
    """Return where the new model's vectors go.

    Raises:
        BindingConflict: the model serves already, or another change is under way.
    """
    index, serving = family.target.name, family.binding(family.serving)
    if is_same_model(serving.fingerprint, wanted):
        raise BindingConflict(
            f"semantic field {family.name!r} of {index!r} is served by {wanted.id} already",
            hint=f"See where it stands: {family.command()}",
        )
    if family.before is not None:
        old = family.binding(family.before).fingerprint.id
        raise BindingConflict(
            f"semantic field {family.name!r} of {index!r} was switched from {old}, whose vectors are still kept",
            hint=f"First: {family.command('drop')} (or rollback, then cancel)",
        )
    if family.prepared is None:
        return family.next_place()
    if family.prepared in family.leaving:
        raise BindingConflict(
            f"what was prepared for semantic field {family.name!r} of {index!r} is being given up",
            hint=f"Let that come to its end first: {family.command('cancel')}",
        )
    prepared = family.binding(family.prepared).fingerprint
    if not is_same_model(prepared, wanted):
        raise BindingConflict(
            f"semantic field {family.name!r} of {index!r} is being prepared for {prepared.id}, not for {wanted.id}",
            hint=f"Give that up first: {family.command('cancel')}",
        )
    return family.prepared
