"""Texts in a tree become query vectors: found, embedded once for each model and text, and put in place."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.deadline import Late, within
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.errors import (
    BadVector,
    EsSemanticError,
    FingerprintMismatch,
    InputRejected,
    InvalidRetriever,
    ModelUnavailable,
)
from es_semantic.retrieval.tree.nodes import Diversify, Knn, Retriever, Vector, changed, walk
from es_semantic.schema.binding import Binding, Bindings, places_of
from es_semantic.schema.vectors import vector_field

MAX_REMEMBERED = 1_000
"""Query vectors kept in memory, for all models together."""

NO_VECTOR = (ModelUnavailable, InputRejected, BadVector)
"""What a query can go on without, where the caller allows that: its text has no vector."""

Failed = dict[str, EsSemanticError]
"""Why a text could not be embedded, by the path of its retriever."""


@dataclass(frozen=True, slots=True)
class Models:
    """Where embedders come from: by a semantic field's binding, or by a configured model's name (None: not known)."""

    bound: Callable[[Binding], Embedder]
    named: Callable[[str], Embedder | None]


def names_semantic_fields(root: Retriever) -> bool:
    """Return whether a retriever of the tree may mean a semantic field by its name: without a vector of its own."""
    return any(_has_text(node) or _is_bare(node) for _, node in walk(root))


def _has_text(node: Retriever) -> bool:
    return isinstance(node, Knn | Diversify) and node.query_vector_builder is not None


def _is_bare(node: Retriever) -> TypeGuard[Diversify]:
    """Say whether documents are compared with each other alone, by whatever vectors they have under a name."""
    return isinstance(node, Diversify) and node.query_vector is None and node.query_vector_builder is None


def with_vectors(
    root: Retriever, bindings: Mapping[str, Bindings], models: Models, deadline: float | None
) -> Steps[tuple[Retriever, Failed]]:
    """Return the tree with vectors in place of the texts that a model of ours embeds, and what failed.

    A text for a model that is not configured here is left to the cluster. A vector search in a semantic field looks
    only at vectors of the bound model. ``deadline`` is in seconds, for each text.

    Raises:
        FingerprintMismatch: a field is bound to different models, or not to the one that ``model_id`` names.
        InvalidRetriever: there is no ``model_id``, and the field is no semantic field.
    """
    vectors: dict[str, tuple[Vector, str, tuple[Any, ...]]] = {}
    failed: Failed = {}
    slow: dict[tuple[int, str], tuple[Embedder, EsSemanticError]] = {}
    for path, node in walk(root):
        if not isinstance(node, Knn | Diversify) or node.query_vector_builder is None:
            continue
        builder = node.query_vector_builder.text_embedding
        place, binding = semantic_field(node.field, bindings) or (node.field, None)
        try:
            embedder = yield Compute(partial(_embedder, models, binding, builder.model_id, path))
        except NO_VECTOR as error:
            failed[path] = error
            continue
        if embedder is None:
            continue
        asked = (id(embedder), builder.model_text)
        if asked not in slow:
            try:
                vector = yield Compute(partial(vector_in_time, embedder, builder.model_text, deadline))
            except NO_VECTOR as error:
                slow[asked] = embedder, error
        if asked in slow:
            # Nobody waits for the same answer twice.
            failed[path] = slow[asked][1]
            continue
        stamp = ({"term": {f"{place}.model": binding.stamp}},) if binding is not None else ()
        field = node.field if binding is None else vector_field(place, binding)
        vectors[path] = (vector, field, stamp if isinstance(node, Knn) else ())

    def put(path: str, node: Retriever) -> Retriever:
        if _is_bare(node):
            meant = semantic_field(node.field, bindings)
            return node if meant is None else node.model_copy(update={"field": vector_field(*meant)})
        if path not in vectors:
            return node
        vector, field, stamp = vectors[path]
        update = {
            "field": field,
            "query_vector": vector,
            "query_vector_builder": None,
            "filter": (*stamp, *node.filter),
        }
        return node.model_copy(update=update)

    return changed(root, put), failed


def semantic_field(field: str, bindings: Mapping[str, Bindings]) -> tuple[str, Binding] | None:
    """Return the place and binding of the semantic field whose vectors ``field`` means; None where it is none.

    ``semantic.vector`` means the vectors of the field that serves under the name ``semantic``, wherever it keeps them.

    Raises:
        FingerprintMismatch: it is bound to different models, or is at different places, in different indices.
    """
    name = field.removesuffix(".vector").removesuffix(".chunks")
    found: dict[tuple[str, str], tuple[str, Binding]] = {}
    for index, place in (places_of(bindings, name) if field != name else {}).items():
        binding = bindings[index].fields[place]
        found.setdefault((place, binding.stamp), (index, binding))
    if len(found) > 1:
        ((_, one), (first, _)), ((_, other), (second, _)), *_ = found.items()
        what = "mixes models" if one != other else "is at different places"
        raise FingerprintMismatch(
            f"field {field!r} {what}: {first} has {one}, {second} has {other}",
            hint="Search these indices one by one, or bring them to one model.",
        )
    return next(((place, binding) for (place, _), (_, binding) in found.items()), None)


def vector_in_time(embedder: Embedder, text: str, deadline: float | None) -> Vector:
    """Return the vector to search with, if it is there within ``deadline`` seconds; None: however long it takes.

    Raises:
        ModelUnavailable: the model failed, or time is up.
    """
    if deadline is None:
        return query_vector(embedder, text)
    try:
        # Waited for when the process ends: a model that is stopped in the middle may take it down.
        of = embedder.profile.fingerprint.id
        return within(deadline, partial(query_vector, embedder, text), of=of, daemon=False)
    except Late:
        raise ModelUnavailable(f"the query's text was not embedded within {deadline:g} seconds") from None


def query_vector(embedder: Embedder, text: str) -> Vector:
    """Return the vector to search with; the same model is asked once for the same text."""
    # The probe too: models of one name may have other weights.
    fingerprint = embedder.profile.fingerprint
    key = (fingerprint.id, fingerprint.probe, text)
    with _LOCK:
        if key in _REMEMBERED:
            _REMEMBERED.move_to_end(key)
            return _REMEMBERED[key]
    try:
        vector: Vector = tuple(embedder.embed_queries([text]).vectors[0].tolist())
    except EsSemanticError:
        raise
    except Exception as error:
        # An embedder of the caller's own may raise anything, with the text in it.
        raise ModelUnavailable(f"the embedder failed with {type(error).__name__} for a query") from error
    with _LOCK:
        _REMEMBERED[key] = vector
        while len(_REMEMBERED) > MAX_REMEMBERED:
            _REMEMBERED.popitem(last=False)
    return vector


def _embedder(models: Models, binding: Binding | None, model_id: str | None, path: str) -> Embedder | None:
    named = models.named(model_id) if model_id is not None else None
    if binding is None:
        if model_id is None:
            reason = "[query_vector_builder] needs a [model_id], because [field] is not the vector of a semantic field"
            raise InvalidRetriever(f"{path}.query_vector_builder", "illegal_argument_exception", reason)
        return named
    if model_id is not None and named is None:
        reason = f"no model [{model_id}] is configured; leave [model_id] out: the field is bound to {binding.stamp}"
        raise InvalidRetriever(f"{path}.query_vector_builder", "illegal_argument_exception", reason)
    embedder = named or models.bound(binding)
    require_same_model(binding.fingerprint, embedder.profile.fingerprint, index=path)
    return embedder


_REMEMBERED: OrderedDict[tuple[str, str, str], Vector] = OrderedDict()
_LOCK = threading.Lock()
