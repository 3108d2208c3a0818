"""What the new index is created with: the settings and the mapping of the old one, and what the user changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from es_semantic.errors import UsageError
from es_semantic.schema.binding import Bindings, meta_with
from es_semantic.schema.target import Gives
from es_semantic.sync.initial_load import settings_of_owner

PRIVATE = (
    "index.uuid",
    "index.creation_date",
    "index.provided_name",
    "index.version.",
    "index.resize.",
    "index.routing.allocation.initial_recovery.",
    "index.final_pipeline",
    "index.blocks.",
    "index.verified_before_close",
    "index.verified_read_only",
    "index.store.snapshot.",
    "index.history_uuid",
)
"""Settings, or beginnings of such, that belong to one index alone, or that a job sets itself."""

INDEX_TYPES = ("hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw", "flat", "int8_flat", "int4_flat", "bbq_flat", "bbq_disk")
"""Elastic docs, "Dense vector field type"."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the user wants otherwise than in the source.

    ``settings`` and ``mappings`` are as in the create index API and are laid over the source's; a null removes what is
    there. ``shards`` is the number of primary shards, ``index_type`` the type of the vectors' index.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    mappings: Mapping[str, Any] = field(default_factory=dict)
    shards: int | None = None
    index_type: str | None = None

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            UsageError: there is no such index type, or no shard.
        """
        if self.index_type is not None and self.index_type not in INDEX_TYPES:
            raise UsageError(
                f"index type {self.index_type!r} does not exist", hint=f"Use one of: {', '.join(INDEX_TYPES)}."
            )
        if self.shards is not None and self.shards < 1:
            raise UsageError(f"an index cannot have {self.shards} shards", hint="Give 1 or more.")

    @property
    def flat(self) -> dict[str, Any]:
        """The settings with flat keys."""
        return _flat(self.settings)


def create_body(
    index: str, source: Gives, bindings: Bindings, changes: Changes, *, name: str, alias: str
) -> dict[str, Any]:
    """Return the body of the create index request; ``index`` and ``source`` are the old one.

    ``bindings`` are those that the new index starts with; a field ``name`` that is not among them is not mapped, so
    that it can be attached anew. The owner's own final pipeline is set, for attaching to wrap it. ``alias`` is a hidden
    alias by which the job knows its index.
    """
    settings = kept_settings(index, source.settings)
    if bindings.owner_final_pipeline:
        settings["index.final_pipeline"] = bindings.owner_final_pipeline
    if changes.shards is not None:
        settings["index.number_of_shards"] = str(changes.shards)
        settings.pop("index.number_of_routing_shards", None)
    settings = {key: value for key, value in {**settings, **changes.flat}.items() if value is not None}
    mapping = copy.deepcopy(dict(source.mapping))
    if name not in bindings.fields:
        mapping.get("properties", {}).pop(name, None)
    mapping = merged(mapping, changes.mappings)
    mapping["_meta"] = meta_with(mapping, bindings)
    if not mapping["_meta"]:
        del mapping["_meta"]
    return {"settings": settings, "mappings": mapping, "aliases": {alias: {"is_hidden": True}}}


def kept_settings(index: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings (flat keys) of an index that a new one may have as well.

    Raises:
        ControlDamaged: an initial load holds some back, and what they were was edited.
    """
    owner = settings_of_owner(index, settings)
    kept = {key: value for key, value in owner.items() if not key.startswith(PRIVATE)}
    if kept.get("index.store.type") == "snapshot":
        del kept["index.store.type"]
    return kept


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` laid over it, object by object; a null removes what is there.

    A field whose type is changed loses its other parameters, because they are those of the old type.
    """
    result = dict(base)
    for key, value in changes.items():
        there = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(there, Mapping) and not _is_another_type(there, value):
            result[key] = merged(there, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def with_index_type(options: Mapping[str, Any], index_type: str | None) -> dict[str, Any]:
    """Return ``index_options`` of another type; what only a graph has goes with the graph."""
    if index_type is None or options.get("type") == index_type:
        return dict(options)
    kept = {"m", "ef_construction", "rescore_vector"} if index_type.endswith("hnsw") else {"rescore_vector"}
    if index_type in ("hnsw", "flat"):
        kept -= {"rescore_vector"}
    return {"type": index_type, **{key: value for key, value in options.items() if key in kept}}


def _is_another_type(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return isinstance(wanted.get("type"), str) and there.get("type", wanted["type"]) != wanted["type"]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings with flat keys that begin with ``index.``; lists and values stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{path}."))
        else:
            flat[path if path.startswith("index.") else f"index.{path}"] = value
    return flat
