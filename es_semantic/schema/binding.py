"""The binding: what a semantic field is, kept in the mapping's ``_meta.es_semantic``.

The cluster is the one source of truth: whoever can read the mapping knows the source fields, the model and its
fingerprint. It holds no URL and no key, and nothing in it can make a reader run code or send texts or keys to another
machine. It does hold the model's name: a SentenceTransformers model that the reader has not configured is loaded by
that name, from a folder or the local cache, else from the model hub. So whoever can write the mapping chooses what such
a reader downloads. It is weights, never code, and nothing where ``HF_HUB_OFFLINE=1`` is set or the caller brings the
model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from es_semantic.embedding import Fingerprint
from es_semantic.embedding.chunking import Chunking
from es_semantic.embedding.protocol import Similarity
from es_semantic.errors import NotAttached, SchemaError
from es_semantic.schema.ranking import Ranking

META_KEY = "es_semantic"
META_VERSION = 1


class Binding(BaseModel):
    """One semantic field of one index: ``source`` fields in order, and how their vectors are made and indexed.

    With ``chunking`` a document has one vector for each chunk of its text, without one for the whole. ``ranking`` is
    the fusion tuned for this index; without one it is the default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: list[str] = Field(min_length=1)
    fingerprint: Fingerprint
    similarity: Similarity
    index_options: dict[str, Any]
    chunking: Chunking | None = None
    ranking: Ranking | None = None

    @property
    def stamp(self) -> str:
        """What documents carry in ``model``: the fingerprint's id and, in chunks, their size (``mini-0a1b+256/25``).

        A vector under another stamp is not true: it was made by another model or of other chunks.
        """
        return self.fingerprint.id + (f"+{self.chunking}" if self.chunking is not None else "")

    @property
    def holder(self) -> str:
        """The part of the semantic field that holds the vectors: ``vector``, or the nested ``chunks``."""
        return "vector" if self.chunking is None else "chunks"


class Bindings(BaseModel):
    """All semantic fields of one index, by name, and the final pipeline that its owner had before the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(default=META_VERSION, ge=1, le=META_VERSION)
    owner_final_pipeline: str | None = None
    fields: dict[str, Binding] = {}

    def one(self, name: str, *, index: str) -> Binding:
        """Return the binding of that name.

        Raises:
            NotAttached: there is none.
        """
        if name in self.fields:
            return self.fields[name]
        if self.fields:
            known = ", ".join(sorted(self.fields))
            raise NotAttached(f"index {index!r} has no semantic field {name!r} (it has: {known})", hint="Use --name.")
        raise NotAttached(
            f"index {index!r} has no semantic field", hint=f"Run: es-semantic attach {index} --fields FIELD[,FIELD...]"
        )

    def with_field(self, name: str, binding: Binding) -> Bindings:
        """Return these bindings with one added or replaced."""
        return self.model_copy(update={"fields": {**self.fields, name: binding}})

    def without_field(self, name: str) -> Bindings:
        """Return these bindings with one removed."""
        return self.model_copy(update={"fields": {k: v for k, v in self.fields.items() if k != name}})


def read_bindings(mapping: Mapping[str, Any], *, index: str) -> Bindings:
    """Return the bindings kept in a mapping; none at all where nothing is attached.

    Raises:
        SchemaError: ``_meta.es_semantic`` is not what es-semantic wrote there.
    """
    stored = (mapping.get("_meta") or {}).get(META_KEY)
    if stored is None:
        return Bindings()
    try:
        return Bindings.model_validate(stored)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise SchemaError(
            f"the mapping of {index!r} has an _meta.{META_KEY} that this version cannot read: {where}: {first['msg']}",
            hint=f"Restore it, or remove the key {META_KEY!r} from the mapping's _meta and attach again.",
        ) from error


def meta_with(mapping: Mapping[str, Any], bindings: Bindings) -> dict[str, Any]:
    """Return the mapping's ``_meta`` with these bindings in it, and everything that the owner keeps there."""
    meta = {key: value for key, value in (mapping.get("_meta") or {}).items() if key != META_KEY}
    if bindings.fields:
        meta[META_KEY] = bindings.model_dump()
    return meta
