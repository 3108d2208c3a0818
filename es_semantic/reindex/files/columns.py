"""From a row of a file to a document: which column is what, as a user writes it in YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from es_semantic.errors import UsageError

Format = Literal["jsonl", "csv", "tsv", "parquet", "json", "elasticdump", "qdrant", "weaviate", "pinecone", "chroma"]

SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".json": "json",
}


class Columns(BaseModel):
    """How rows become documents; a column inside another is written with a dot (``payload.text``).

    ``id`` and ``routing`` are columns; without an ``id`` documents are named by file and row. ``document`` is the part
    of a row that is the document, by default all of it. ``fields`` are further fields of the document by name, from
    columns of the row; with ``only`` the document has nothing but these. ``vector`` is the column of a vector that the
    model has made of the document's text: it is kept if it is what the model makes of some of them. ``settings`` and
    ``mappings`` are those of the new index.
    """

    model_config = ConfigDict(extra="forbid")

    format: Format | None = None
    id: str | None = Field(default=None, min_length=1)
    routing: str | None = Field(default=None, min_length=1)
    document: str | None = Field(default=None, min_length=1)
    fields: dict[str, str] = {}
    only: bool = False
    vector: str | None = Field(default=None, min_length=1)
    settings: dict[str, Any] = {}
    mappings: dict[str, Any] = {}

    def completed(self) -> Columns:
        """Return these columns with those of the export format where they are not given."""
        known = EXPORTS.get(self.format or "", {})
        missing = {key: value for key, value in known.items() if key not in self.model_fields_set}
        return self.model_copy(update=missing)


EXPORTS: dict[str, dict[str, Any]] = {
    "elasticdump": {"id": "_id", "routing": "_routing", "document": "_source"},
    "qdrant": {"id": "id", "document": "payload", "vector": "vector"},
    "weaviate": {"id": "id", "document": "properties", "vector": "vector"},
    "pinecone": {"id": "id", "document": "metadata", "vector": "values"},
    "chroma": {"id": "id", "document": "metadata", "fields": {"document": "document"}, "vector": "embedding"},
}
"""Where the formats have what: elasticdump's lines; points of Qdrant's scroll; objects of Weaviate; Pinecone's vectors;
and what Chroma's ``collection.get()`` returns, row by row."""


def read_columns(content: Any, where: str) -> Columns:
    """Return the columns that a user has written.

    Raises:
        UsageError: with the key, and what is wrong with it.
    """
    try:
        return Columns.model_validate({} if content is None else content).completed()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise UsageError(
            f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            hint=f"Known keys: {', '.join(Columns.model_fields)}.",
        ) from error


class BadRow(ValueError):
    """A row that cannot become a document; its text quotes nothing of the row."""


def column(row: Any, path: str | None) -> Any:
    """Return what a row has in a column; None where it has none."""
    node = row
    parts = (path or "").split(".")
    if isinstance(row, Mapping) and path in row:
        return row[path]
    for part in parts:
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def document_of(row: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """Return the document of a row.

    Raises:
        BadRow: the part of it that is the document is no object.
    """
    whole = row if columns.document is None else column(row, columns.document)
    if whole is None and columns.document is not None:
        whole = {}
    if not isinstance(whole, Mapping):
        raise BadRow(f"column {columns.document!r} holds no object")
    kept = {} if columns.only else dict(whole)
    if columns.document is None:
        # Elasticsearch takes no fields that begin with an underscore as its own do, and vectors go elsewhere.
        kept = {key: value for key, value in kept.items() if key != columns.vector and not key.startswith("_")}
    found = {name: column(row, path) for name, path in columns.fields.items()}
    return {**kept, **{name: value for name, value in found.items() if value is not None}}


def id_of(row: Mapping[str, Any], columns: Columns, otherwise: str) -> str:
    """Return the document's id.

    Raises:
        BadRow: the column holds none, or one that Elasticsearch does not take (Elastic docs, "_id field").
    """
    if columns.id is None:
        return otherwise
    value = column(row, columns.id)
    if value is None or isinstance(value, (Mapping, list)) or value == "":
        raise BadRow(f"column {columns.id!r} holds no id")
    text = str(value)
    if len(text.encode("utf-8", "replace")) > LONGEST_ID:
        raise BadRow(f"the id in column {columns.id!r} is longer than {LONGEST_ID} bytes")
    return text


LONGEST_ID = 512


def vector_of(row: Mapping[str, Any], columns: Columns, dims: int) -> NDArray[np.float32] | None:
    """Return the vector of a row, shape (dims,); None where it has none.

    Raises:
        BadRow: it is no vector of so many finite numbers, or it has no direction.
    """
    if columns.vector is None:
        return None
    value = column(row, columns.vector)
    if value is None:
        return None
    if not _is_vector(value) or len(value) != dims:
        raise BadRow(f"column {columns.vector!r} holds no vector of {dims} numbers")
    vector = np.asarray(value, dtype=np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        raise BadRow(f"the vector in column {columns.vector!r} is not finite, or zero")
    return vector


def _is_vector(value: Any) -> bool:
    return isinstance(value, Sequence) and all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number) for number in value
    )
