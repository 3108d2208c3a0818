"""The chunk index: created where it is missing, refused where it is another kind of index, and given its vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from es_semantic.cluster.steps import Compute, Forget, Request, Steps, url_path
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding import Embedder, Fingerprint, require_same_model
from es_semantic.errors import BindingConflict, IndexUnavailable, RequestFailed, SchemaError
from es_semantic.resources import resource
from es_semantic.schema import owner
from es_semantic.schema.attach import attach_steps
from es_semantic.schema.binding import Binding, Bindings, read_bindings
from es_semantic.schema.checks import require_writable
from es_semantic.schema.target import Target, require_one_name, resolve

CONTENT = "content"
"""The field that holds a chunk's text."""

Choose = Callable[[Fingerprint | None], Embedder]
"""Returns the embedder for an index bound to this fingerprint, or for one that is not bound yet."""


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """A chunk index with its semantic field at ``place``; ``embedder`` loads the model that it is bound to."""

    target: Target
    place: str
    binding: Binding
    embedder: Callable[[], Embedder]


def open_index(index: str, choose: Choose, *, chosen: bool) -> Steps[ChunkIndex]:
    """Create and attach what is missing; ``chosen`` says that the caller names a model, which must be the bound one.

    Raises:
        UsageError: the name is a pattern or a list.
        SchemaError: another kind of index has that name.
        BindingConflict: its semantic field is of other fields, has chunks, or another model.
        IndexUnavailable: it is closed or read-only.
        Forbidden: a privilege is missing.
        ModelError: the model cannot be loaded.
    """
    target = yield from _existing(index)
    require_chunk_index(target)
    require_writable(target)
    bindings = read_bindings(target.mapping, index=target.name)
    bound = _bound(bindings)
    if bound is not None and owner.is_ours(target.final_pipeline):
        if chosen:
            model = yield Compute(lambda: choose(bound.fingerprint).profile.fingerprint)
            require_same_model(bound.fingerprint, model, index=target.name)
    else:
        yield from attach_steps(index, [CONTENT], lambda: _choose(choose, bound).profile, chunk="never")
        yield Forget()
        target = yield from resolve(index)
        bindings = read_bindings(target.mapping, index=target.name)
    binding = bindings.one(DEFAULT_FIELD_NAME, index=target.name)
    if binding.source != [CONTENT] or binding.chunking is not None:
        raise BindingConflict(
            f"semantic field {DEFAULT_FIELD_NAME!r} of {target.name!r} is not one vector of {CONTENT!r} for each chunk",
            hint="Ingest into another --index.",
        )
    return ChunkIndex(target, bindings.place(DEFAULT_FIELD_NAME), binding, lambda: choose(binding.fingerprint))


def require_chunk_index(target: Target) -> None:
    """Check that an index has the fields of a chunk, each of its type.

    Raises:
        SchemaError: with the first field that differs; nothing was changed.
    """
    mapped = target.mapping.get("properties", {})
    wanted = _definition()["mappings"]["properties"]
    differ = [field for field in wanted if field not in mapped or _type(mapped[field]) != _type(wanted[field])]
    if target.kind != "index":
        what = f"it is a {target.kind}"
    elif differ:
        found = _type(mapped[differ[0]]) if differ[0] in mapped else "missing"
        what = f"its field {differ[0]!r} is {found}, not {_type(wanted[differ[0]])}"
    else:
        return
    raise SchemaError(
        f"{target.name!r} is not a chunk index: {what}",
        hint="Ingest into another --index; one that is missing is created.",
    )


def _existing(index: str) -> Steps[Target]:
    require_one_name(index)
    try:
        return (yield from resolve(index))
    except IndexUnavailable as error:
        if error.status != 404:
            raise
    try:
        yield Request("PUT", url_path("/{}", index), body=_definition())
    except RequestFailed as error:
        # Somebody else may have created it at the same moment.
        if error.error_type != "resource_already_exists_exception":
            raise
    return (yield from resolve(index))


def _bound(bindings: Bindings) -> Binding | None:
    return bindings.fields.get(bindings.place(DEFAULT_FIELD_NAME))


def _choose(choose: Choose, bound: Binding | None) -> Embedder:
    return choose(bound.fingerprint if bound is not None else None)


def _definition() -> dict[str, Any]:
    definition: dict[str, Any] = orjson.loads(resource("mappings/chunks.json").read_bytes())
    return definition


def _type(field: Mapping[str, Any]) -> str:
    # Elasticsearch leaves out the type of an object.
    return str(field.get("type", "object"))
