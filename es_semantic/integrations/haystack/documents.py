"""Haystack's documents and what an index keeps of them: pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from haystack import Document
from haystack.document_stores.errors import DocumentStoreError

from es_semantic.embedding.encoding import decode_vector
from es_semantic.integrations.haystack.filters import Fields, Json, clause
from es_semantic.schema.text import source_text


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an index keeps what Haystack's documents have.

    ``content`` is the field of the text, ``embedding`` that of the caller's vectors, ``name`` the semantic field.
    ``meta`` is the object that holds the metadata; None where it is all the other fields of the document.
    """

    index: str
    name: str
    content: str
    meta: str | None
    embedding: str

    def clauses(self, filters: Mapping[str, Any] | None, fields: Fields) -> list[Json]:
        """Return the filters as query clauses; none for no filters.

        Raises:
            FilterError: as :func:`es_semantic.integrations.haystack.filters.clause`.
        """
        return [clause(filters, fields, self.meta)] if filters else []


def read_document(hit: Mapping[str, Any], layout: Layout, hidden: set[str]) -> Document:
    """Return the document of a hit, with its score where it has one, and its embedding where ``fields`` bring it."""
    source = hit.get("_source") or {}
    content = source.get(layout.content)
    if not isinstance(content, str):
        content = source_text(source, [layout.content]) or None
    meta = source.get(layout.meta) if layout.meta is not None else _without(source, {layout.content, *hidden})
    values = hit.get("fields", {}).get(layout.embedding)
    if values and isinstance(values[0], str):
        values = decode_vector(values[0]).tolist()
    return Document(
        id=hit["_id"],
        content=content,
        meta=meta if isinstance(meta, dict) else {},
        score=hit.get("_score"),
        embedding=values or None,
    )


def source_of(document: Document, layout: Layout, hidden: set[str]) -> Json:
    """Return what is kept of a document: its text and metadata, without its score and its embedding.

    Raises:
        DocumentStoreError: it has a blob or a sparse embedding, or metadata of a name that is taken.
    """
    for what in ("blob", "sparse_embedding"):
        if getattr(document, what) is not None:
            raise DocumentStoreError(
                f"document {document.id!r} has a {what}, which this store does not keep\nRemove it before writing."
            )
    content = {} if document.content is None else {layout.content: document.content}
    if layout.meta is not None:
        return {**content, layout.meta: document.meta}
    require_no_clash(document.meta, layout, hidden)
    return {**document.meta, **content}


def require_no_clash(meta: Mapping[str, Any], layout: Layout, hidden: set[str]) -> None:
    """Check metadata that stand beside the text, where ``hidden`` are other fields that are no metadata.

    Raises:
        DocumentStoreError: a name is taken.
    """
    taken = {path.split(".")[0] for path in (layout.content, layout.embedding, *hidden)}
    for key in meta:
        if key.split(".")[0] in taken:
            raise DocumentStoreError(
                f"metadata {key!r} would stand where index {layout.index!r} keeps something else\nRename it."
            )


def encoded(document: Document, source: Json) -> bytes:
    """Return the line of a ``_bulk`` request that holds the document.

    Raises:
        DocumentStoreError: its metadata have no form in JSON.
    """
    try:
        return orjson.dumps(source)
    except TypeError:
        # Whole numbers beyond 64 bits and lone surrogates, which only the standard library writes.
        try:
            return json.dumps(source).encode()
        except (TypeError, ValueError) as error:
            raise DocumentStoreError(f"document {document.id!r} cannot be written as JSON: {error}") from error


def _without(source: Mapping[str, Any], paths: set[str], prefix: str = "") -> Json:
    """Return an object without what is at these paths, whether they are nested or keys with dots."""
    kept: Json = {}
    for key, value in source.items():
        path = prefix + key
        if path in paths:
            continue
        inside = isinstance(value, dict) and any(each.startswith(f"{path}.") for each in paths)
        kept[key] = _without(value, paths, f"{path}.") if inside else value
    return kept
