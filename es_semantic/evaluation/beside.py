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
    compared_by_mode,
    for_model,
    measured,
    overlaps,
)
from es_semantic.evaluation.copied import Spool, copied_properties, copied_settings, fill_spool
from es_semantic.evaluation.evaluate import require_documents
from es_semantic.evaluation.judgements import Judgements
from es_semantic.evaluation.lists import missing_documents
from es_semantic.evaluation.scratch import Content
from es_semantic.evaluation.subjects import Asked, asked_of
from es_semantic.evaluation.watch import Watch
from es_semantic.migration.family import Family, look
from es_semantic.migration.state import state_of
from es_semantic.schema.binding import Binding, exactly

SAMPLE = 1_000
"""Documents that are read: the models are timed on some, and without queries the first words of some are searched."""


def compare_beside_steps(
    index: str, name: str, candidate_for: Callable[[Binding], Candidate], asked: Asked, watch: Watch
) -> Steps[ModelComparison]:
    """Compare the field that serves with the one beside it, as they are; see :func:`es_semantic.compare_migration`."""
    family = yield from look(index, name)
    beside = family.prepared or family.before
    if beside is None:
        raise UsageError(
            f"semantic field {family.name!r} of {family.target.name!r} has one model alone",
            hint=f"Prepare another: es-semantic migrate {family.target.name} --model NEW{family.option}",
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
    judged = asked.judged
    return ModelComparison(
        subject=index,
        documents=documents,
        queries=queries,
        queries_from=source,
        judged=judged,
        bm25=next(iter(models.values())).modes["bm25"],
        models=models,
        overlaps=overlaps(models),
        comparisons=(yield Compute(lambda: compared_by_mode(models, judged))),
        missing=(yield from missing_documents(index, judged.documents)) if judged else None,
        notes=(yield from _notes(family)),
    )


def _models(
    family: Family,
    fields: list[str],
    content: Content,
    candidate_for: Callable[[Binding], Candidate],
    queries: Mapping[str, str],
    asked: Asked,
    watch: Watch,
) -> Steps[dict[str, ModelResult]]:
    judged: Judgements | None = asked.judged
    models: dict[str, ModelResult] = {}
    for place in fields:
        binding = family.binding(place)
        candidate = candidate_for(binding)
        label = f"{candidate.name} (serves)" if place == family.serving else candidate.name
        told = for_model(watch, label)
        told("loading", 0, 0)
        plain = yield Compute(candidate.load)
        field = Field(family.target.name, exactly(place), label)
        models[label] = yield from measured(field, content, plain, queries, judged, told)
    return models


def _notes(family: Family) -> Steps[tuple[str, ...]]:
    state = yield from state_of(family)
    several = [each for each in (state.serving, state.other) if each is not None and each.pending]
    return tuple(f"{each.pending} documents have no vector of {each.model} yet" for each in several)
