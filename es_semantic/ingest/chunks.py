"""A document's chunks as documents of the chunk index."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from es_semantic.ingest.documents import Document
from es_semantic.sync.bulk import Item

PUT = "ctx._source.putAll(params.chunk)"
"""Replaces whole fields, and leaves those that it does not know: the vector of a chunk that was there with the same
text, for one. (A partial update would merge ``metadata``, and keep keys that are gone.)"""

RETRIES = 10
"""Times that a write is repeated after a worker has written the vector of the same chunk at that moment."""


def chunk_items(
    index: str, dataset: str, document: Document, pieces: Sequence[str], *, document_hash: str, now: str
) -> list[Item]:
    """Return the ``_bulk`` lines that put a document's chunks into the index, new or over their older selves."""
    common = _common(dataset, document, document_hash, len(pieces))
    if document.details.available is not None:
        common["available"] = document.details.available
    items = []
    for position, (doc_id, piece) in enumerate(zip(chunk_ids(dataset, document.id, pieces), pieces, strict=True)):
        chunk = {**common, "content": piece, "position": position}
        action = {"update": {"_index": index, "_id": doc_id, "retry_on_conflict": RETRIES}}
        script = {"source": PUT, "lang": "painless", "params": {"chunk": chunk}}
        body = {"script": script, "upsert": {"available": True, **chunk, "created_at": now}}
        items.append([orjson.dumps(action), orjson.dumps(body)])
    return items


def chunk_ids(dataset: str, document_id: str, pieces: Sequence[str]) -> Iterator[str]:
    """Yield the chunks' ids: they follow from dataset, document and text, so that a chunk that stays keeps its vector.

    The same text a second time in a document is another chunk.
    """
    seen: Counter[str] = Counter()
    for piece in pieces:
        content = [dataset, document_id, piece, seen[piece]]
        seen[piece] += 1
        yield hashlib.sha256(orjson.dumps(content)).hexdigest()[:40]


def _common(dataset: str, document: Document, document_hash: str, count: int) -> dict[str, Any]:
    return {
        "dataset_id": dataset,
        "document_id": document.id,
        "document_name": document.name,
        "document_hash": document_hash,
        "chunk_count": count,
        "source": document.source,
        "metadata": dict(document.details.metadata),
        "keywords": list(document.details.keywords),
        "questions": list(document.details.questions),
    }
