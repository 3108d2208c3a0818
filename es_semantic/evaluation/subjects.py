"""Whose documents models are compared on, and by which queries."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.errors import UsageError
from es_semantic.evaluation.compare import Candidate, ModelComparison, compare_steps, first_words
from es_semantic.evaluation.copied import Spool, copied_properties, copied_settings, fill_spool, without_boost
from es_semantic.evaluation.evaluate import require_documents
from es_semantic.evaluation.judgements import Judgements
from es_semantic.evaluation.scratch import Content
from es_semantic.evaluation.watch import Watch
from es_semantic.schema.binding import Binding, read_bindings
from es_semantic.schema.target import resolve


@dataclass(frozen=True, slots=True)
class Asked:
    """What is searched for: judged queries, else queries as ``given`` (by id), else nothing yet."""

    judged: Judgements | None
    given: Mapping[str, str] | None

    @property
    def documents(self) -> set[str]:
        """The ids of documents that must be among those compared on."""
        return self.judged.documents if self.judged is not None else set()


def compare_content_steps(
    subject: str, content: Content, candidates: Sequence[Candidate], asked: Asked, watch: Watch
) -> Steps[ModelComparison]:
    """Compare on documents that can be read; see :func:`es_semantic.compare_models`."""
    if len(candidates) < 2:
        raise UsageError("compare needs two models", hint="Give --model twice.")
    queries, source = yield from asked_of(subject, content, asked)
    return (yield from compare_steps(subject, content, candidates, queries, source, asked.judged, watch))


def asked_of(subject: str, content: Content, asked: Asked) -> Steps[tuple[Mapping[str, str], str]]:
    """Return the queries, by id, and where they come from: without any the first words of some documents.

    Raises:
        UsageError: no document has text.
    """
    if asked.judged is not None:
        return asked.judged.queries, f"judged queries of {asked.judged.name}"
    if asked.given is not None:
        return asked.given, "queries as given"
    queries = yield Compute(lambda: first_words(content))
    if not queries:
        raise UsageError(f"no document of {subject!r} has text to search for", hint="Give --queries.")
    return queries, "the first words of documents"


def compare_index_steps(
    index: str,
    candidates: Sequence[Candidate],
    bound_candidate: Callable[[Binding], Candidate],
    asked: Asked,
    watch: Watch,
    *,
    name: str,
    fields: Sequence[str] | None,
    chunk: str | None,
    sample: int | None,
) -> Steps[ModelComparison]:
    """Compare on documents of an index; see :func:`es_semantic.compare_models`."""
    target = yield from resolve(index)
    bindings = read_bindings(target.mapping, index=target.name)
    binding = bindings.fields.get(bindings.place(name))
    if binding is not None and len(candidates) == 1:
        bound = bound_candidate(binding)
        if bound.name == candidates[0].name:
            bound = replace(bound, name=f"{bound.name} (bound)")
        candidates = [bound, *candidates]
    searched = list(fields) if fields is not None else binding.bm25_fields if binding is not None else []
    plain = [without_boost(field) for field in searched]
    sources = binding.source if binding is not None else plain
    if not sources:
        raise UsageError(f"{index!r} has no semantic field {name!r}", hint="Say which fields hold the text: --fields.")
    if len(candidates) < 2:
        raise UsageError("compare needs two models", hint="Give --model twice.")
    if asked.judged is not None:
        yield from require_documents(index, asked.judged)
    copied = list(dict.fromkeys([*sources, *plain]))
    properties = copied_properties(target, copied)
    with tempfile.TemporaryFile(prefix="es-semantic-") as file:
        spool = Spool(file)
        yield from fill_spool(spool, target, copied, asked.documents, sample, watch)
        content = Content(
            properties=properties,
            settings=copied_settings(target),
            documents=spool.read,
            sources=sources,
            fields=searched,
            chunk=chunk or (binding.chunk_mode if binding is not None else "auto"),
        )
        return (yield from compare_content_steps(index, content, candidates, asked, watch))
