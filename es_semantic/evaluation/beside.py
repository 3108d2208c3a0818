"""Two models by their fields in one index, while the model changes: the procedure behind
:func:`es_semantic.compare_migration`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping

from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.errors import UsageError
from es_semantic.evaluation.compare import (
    Candidate,
    Field,
    ModelComparison,
    ModelResult,
    for_model,
    measured,
    side_by_side,
)
from es_semantic.evaluation.copied import Spool, copied_properties, copied_settings, fill_spool
from es_semantic.evaluation.evaluate import require_documents
from es_semantic.evaluation.lists import missing_documents
from es_semantic.evaluation.scratch import Content
from es_semantic.evaluation.subjects import Asked, asked_of
from es_semantic.evaluation.watch import Watch
from es_semantic.migration.family import Family, look
from es_semantic.migration.state import state_of
from es_semantic.schema.binding import Binding

SAMPLE = 1_000
"""Documents that are read: the models are timed on some, and without queries the first words of some are searched."""


def compare_beside_steps(
    index: str, name: str, candidate_for: Callable[[Binding], Candidate], asked: Asked, watch: Watch
) -> Steps[ModelComparison]:
    """Compare the field that serves with the one beside it, as they are; see :func:`es_semantic.compare_migration`."""
    family = yield from look(index, name)
    beside = family.beside
    if beside is None:
        raise UsageError(
            f"semantic field {family.name!r} of {family.target.name!r} has one model alone",
            hint=f"Prepare another: {family.command('--model NEW')}",
        )
    if asked.judged is not None:
        yield from require_documents(index, asked.judged)
    sources = family.binding(family.serving).source
    with tempfile.TemporaryFile(prefix="es-semantic-") as file:
        spool = Spool(file)
        yield from fill_spool(spool, family.target, sources, set(), SAMPLE, watch)
        content = Content(
            properties=copied_properties(family.target, sources),
            settings=copied_settings(family.target),
            documents=spool.read,
            sources=sources,
            fields=None,
            chunk="auto",
        )
        queries, source = yield from asked_of(index, content, asked)
        models = yield from _models(family, [family.serving, beside], content, candidate_for, queries, asked, watch)
    documents = (yield Request("GET", url_path("/{}/_count", family.target.name)))["count"]
    judged, notes = asked.judged, (yield from _notes(family))
    missing = (yield from missing_documents(index, judged.documents)) if judged else None
    return (yield from side_by_side(index, documents, queries, source, judged, models, missing, notes))


def _models(
    family: Family,
    fields: list[str],
    content: Content,
    candidate_for: Callable[[Binding], Candidate],
    queries: Mapping[str, str],
    asked: Asked,
    watch: Watch,
) -> Steps[dict[str, ModelResult]]:
    models: dict[str, ModelResult] = {}
    for place in fields:
        binding = family.binding(place)
        candidate = candidate_for(binding)
        label = f"{candidate.name} (serves)" if place == family.serving else candidate.name
        told = for_model(watch, label)
        told("loading", 0, 0)
        plain = yield Compute(candidate.load)
        field = Field(family.target.name, place, label)
        models[label] = yield from measured(field, content, plain, queries, asked.judged, told)
    return models


def _notes(family: Family) -> Steps[tuple[str, ...]]:
    state = yield from state_of(family)
    several = [each for each in (state.serving, state.other) if each is not None and each.pending]
    return tuple(f"{each.pending} documents have no vector of {each.model} yet" for each in several)
