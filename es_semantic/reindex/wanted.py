"""What a job shall make: the binding and the body of the new index, decided from the source and the user's wishes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from es_semantic.cluster.capabilities import Version
from es_semantic.cluster.steps import Compute, Steps
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding import Embedder, Fingerprint, is_same_model
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.errors import SchemaError, UsageError
from es_semantic.reindex.body import Changes, create_body, merged, with_index_type
from es_semantic.schema import render
from es_semantic.schema.binding import Binding, Bindings, read_bindings
from es_semantic.schema.checks import require_text_fields, require_usable_name
from es_semantic.schema.chunks import ChunkMode, choose_chunks, require_chunk_mode
from es_semantic.schema.index_options import index_options
from es_semantic.schema.target import Gives, Target

ChooseEmbedder = Callable[[Fingerprint | None], Embedder]
"""Returns the embedder: the one that the caller wants, else the one of the source's binding, else the default."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user wants: source ``fields``, ``chunk`` and ``language`` as for :func:`es_semantic.attach`.

    ``fields`` None takes those that the source is bound to; a ``chunk`` of None keeps how its texts are cut, and is
    ``auto`` where it is not bound.
    """

    fields: Sequence[str] | None = None
    name: str = DEFAULT_FIELD_NAME
    chunk: str | None = None
    language: str | None = None
    changes: Changes = field(default_factory=Changes)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be made: the binding, the bindings that the new index starts with, and who embeds.

    ``bound`` is how the source is bound under that name.
    """

    bound: Binding | None
    binding: Binding
    bindings: Bindings
    embedder: Embedder
    notes: tuple[str, ...] = ()

    def body(self, source: Target, wanted: Wanted, *, alias: str) -> dict[str, Any]:
        """Return the body of the create index request."""
        gives = Gives(source.mapping, source.settings)
        body = create_body(source.name, gives, self.bindings, wanted.changes, name=wanted.name, alias=alias)
        body["mappings"].setdefault("properties", {}).update(render.properties(wanted.name, self.binding))
        return body

    def id(self, source: Target, wanted: Wanted) -> str:
        """Return what two calls share that want the same job."""
        changes = wanted.changes
        parts = [
            source.settings.get("index.uuid"),
            wanted.name,
            self.binding.source,
            self.binding.stamp,
            self.binding.index_options,
            wanted.language,
            changes.settings,
            changes.mappings,
            changes.shards,
        ]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def make_plan(
    source: Target, wanted: Wanted, choose: ChooseEmbedder, version: Version | None, settled: Binding | None = None
) -> Steps[Plan]:
    """Decide; nothing is changed. ``settled`` is what was decided when the job began.

    Raises:
        UsageError: the source is not bound and no fields are named.
        SchemaError: a field cannot be embedded, or the source does not keep whole documents.
        ModelError: the model cannot be loaded.
    """
    require_usable_name(wanted.name)
    if wanted.name in (wanted.changes.mappings.get("properties") or {}):
        raise UsageError(
            f"the semantic field {wanted.name!r} cannot be mapped by the changes", hint="See --index-type and --chunk."
        )
    require_whole_documents(source)
    bindings = read_bindings(source.mapping, index=source.name)
    bound = bindings.fields.get(wanted.name)
    if wanted.fields is None and bound is None:
        raise UsageError(
            f"which fields of {source.name!r} hold the text?", hint="It has no semantic field yet. Use --fields."
        )
    fields = list(wanted.fields) if wanted.fields is not None else list(bound.source if bound else ())
    changed = _with_mapping(source, wanted.changes)
    require_text_fields(changed, fields, name=wanted.name)
    embedder = yield Compute(lambda: choose(bound.fingerprint if bound else None))
    binding, notes = yield from _binding(source, wanted, fields, bound, embedder, version, settled)
    kept = bindings.with_field(wanted.name, binding).completed()
    return Plan(bound, kept.fields[wanted.name], kept, embedder, notes)


def require_whole_documents(source: Target) -> None:
    """Refuse what cannot be copied document by document.

    Raises:
        SchemaError: it is a data stream or a part of one, keeps no or incomplete ``_source``, or is a time series.
    """
    if source.kind != "index" or source.data_stream is not None:
        raise SchemaError(
            f"{source.name!r} is {'a ' + source.kind if source.kind != 'index' else 'a part of a data stream'}",
            hint="A data stream gets its new mapping by rollover; attach to it, or re-index one index at a time.",
        )
    kept = source.mapping.get("_source") or {}
    mode = source.settings.get("index.mapping.source.mode", kept.get("mode"))
    if str(kept.get("enabled", True)).lower() == "false" or mode == "disabled":
        what = "keeps no _source"
    elif kept.get("includes") or kept.get("excludes"):
        what = "keeps only a part of each document in _source"
    else:
        what = ""
    if what:
        raise SchemaError(
            f"index {source.name!r} {what}: its documents cannot be copied",
            hint="Re-index from where the documents came from, for instance from files.",
        )
    if source.settings.get("index.mode") == "time_series":
        raise SchemaError(f"index {source.name!r} is a time series, whose documents have no ids of their own")


def _binding(
    source: Target,
    wanted: Wanted,
    fields: list[str],
    bound: Binding | None,
    embedder: Embedder,
    version: Version | None,
    settled: Binding | None,
) -> Steps[tuple[Binding, tuple[str, ...]]]:
    model = yield Compute(lambda: embedder.profile)
    mode = settled_mode(require_chunk_mode(wanted.chunk or "auto"), fields, settled)
    if bound is not None and bound.source == fields and is_same_model(bound.fingerprint, model.fingerprint):
        as_before = wanted.chunk is None or (bound.chunking is not None) == (mode == "always")
    else:
        as_before = False
    if bound is not None and as_before:
        options = with_index_type(bound.index_options, wanted.changes.index_type)
        return bound.model_copy(update={"index_options": options}), ()
    # The old field of that name says nothing about how the new one is to be.
    unbound = Target(source.kind, source.name, _without(source, wanted.name), source.settings, indices=source.indices)
    choice = yield from choose_chunks(unbound, wanted.name, fields, mode, model, lambda: tokenizer_of(embedder))
    binding = Binding(
        source=fields,
        fingerprint=model.fingerprint,
        similarity=model.similarity,
        index_options=with_index_type(index_options(model.dims, version), wanted.changes.index_type),
        chunking=choice.chunking,
        analysis=bound.analysis if bound is not None and bound.source == fields else None,
        stands_for=bound.stands_for if bound is not None else None,
    )
    return binding, (choice.note,) if choice.note else ()


def settled_mode(mode: ChunkMode, fields: Sequence[str], settled: Binding | None) -> ChunkMode:
    """Return how texts are to be cut: what is in the source now might make another choice of the same wish."""
    return settled.chunk_mode if mode == "auto" and settled is not None and settled.source == fields else mode


def _without(source: Target, name: str) -> dict[str, Any]:
    properties = {key: body for key, body in source.mapping.get("properties", {}).items() if key != name}
    return {**source.mapping, "properties": properties}


def _with_mapping(source: Target, changes: Changes) -> Target:
    return Target(source.kind, source.name, merged(source.mapping, changes.mappings), source.settings)
