"""The vectors of an index of chunks: where they are, how they compare, and which model makes a question's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from es_semantic.config import KnowledgeSettings
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.embedding.protocol import Similarity
from es_semantic.errors import ConfigError, FingerprintMismatch, SchemaError
from es_semantic.retrieval.query_vectors import Models
from es_semantic.retrieval.semantic import MAX_CANDIDATES, MIN_CANDIDATES, groups
from es_semantic.retrieval.tree.nodes import Json, Vector
from es_semantic.schema.lookup import Mapped
from es_semantic.schema.vectors import vector_field

DEFAULT_SIMILARITY = "cosine"
"""Of a dense_vector (Elastic docs, "Dense vector field type")."""


@dataclass(frozen=True, slots=True)
class Space:
    """A vector field, and the filters that leave only vectors of the model that ``embedder`` loads.

    ``index`` is one concrete index, which stands for all in what needs a single one.
    """

    index: str
    field: str
    similarity: Similarity
    filters: tuple[Json, ...]
    embedder: Callable[[], Embedder]

    def nearest(self, vector: Vector, k: int, filters: Sequence[Json]) -> Json:
        """Return the kNN search for the ``k`` nearest chunks that match the filters."""
        return {
            "field": self.field,
            "query_vector": vector,
            "k": k,
            "num_candidates": min(MAX_CANDIDATES, max(MIN_CANDIDATES, k)),
            "filter": [*self.filters, *filters],
        }


def types_of(maps: Mapping[str, Mapped]) -> dict[str, str]:
    """Return the type of each field of these indices, by path."""
    return {path: options["type"] for each in maps.values() for path, options in each.fields.items()}


def space_of(place: KnowledgeSettings, maps: Mapping[str, Mapped], models: Models) -> Space:
    """Return where the vectors of an index of chunks are.

    Raises:
        NotAttached: there is no semantic field, and no vector field is configured.
        SchemaError: the configured one is no dense_vector, or the semantic field has several vectors a document.
        FingerprintMismatch: the indices behind the name do not have one model.
        ConfigError: the model of the vector field is not configured.
    """
    index = min(maps)
    if place.vector is not None:
        return _configured(place, index, maps, models)
    members = groups({index: each.bindings for index, each in maps.items()}, [place.name], index=place.index)
    if len(members) > 1:
        raise FingerprintMismatch(
            f"{place.index!r} has chunks of several models", hint="Bring the indices behind it to one model."
        )
    group = members[0]
    if group.binding.chunking is not None:
        raise SchemaError(
            f"{place.index!r} has several vectors for each chunk",
            hint="Attach it with --chunk never: chunks are short.",
        )
    return Space(
        index,
        vector_field(group.name, group.binding),
        group.binding.similarity,
        ({"term": {f"{group.name}.model": group.binding.stamp}},),
        lambda: _bound(models, group.binding, place.index),
    )


def _configured(place: KnowledgeSettings, index: str, maps: Mapping[str, Mapped], models: Models) -> Space:
    field, name = str(place.vector), str(place.model)
    options = next((each.fields[field] for each in maps.values() if field in each.fields), None)
    if options is None or options["type"] != "dense_vector":
        raise SchemaError(f"{place.index!r} has no dense_vector field {field!r}", hint="Check knowledge.*.vector.")

    def load() -> Embedder:
        embedder = models.named(name)
        if embedder is None:
            raise ConfigError(f"knowledge.*.model: {name!r} is not a configured model", hint="Add it under models.")
        return embedder

    similarity = cast(Similarity, options.get("similarity", DEFAULT_SIMILARITY))
    return Space(index, field, similarity, (), load)


def _bound(models: Models, binding: Any, index: str) -> Embedder:
    embedder = models.bound(binding)
    require_same_model(binding.fingerprint, embedder.profile.fingerprint, index=index)
    return embedder
