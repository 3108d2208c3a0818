"""Which documents lack a true vector, and the partial updates that give them one: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import orjson

from es_semantic.embedding.encoding import encode_vector
from es_semantic.embedding.protocol import Vectors
from es_semantic.schema.binding import Binding
from es_semantic.schema.render import is_foreign
from es_semantic.schema.text import is_blank, source_text, text_hash

HAS_VECTOR = "es_semantic_vector"


class Verdict(Enum):
    """What a document needs."""

    TRUE = "its vector is that of its current text by the bound model, or it is marked empty and is"
    EMPTY = "it has no text and is not marked so"
    STALE = "its vector is missing, or of another text or model"
    FOREIGN = "where its vector belongs it holds something of its owner's, which must not be overwritten"


@dataclass(frozen=True, slots=True)
class Document:
    """One document as read: where it is, which version was seen, its text and what it needs."""

    index: str
    id: str
    routing: str | None
    seq_no: int
    primary_term: int
    text: str
    hash: str
    verdict: Verdict


def page_body(binding: Binding, name: str) -> dict[str, Any]:
    """Return the search for a page of all documents, with only what :func:`read_document` looks at.

    Whether a document has a vector is told by a named ``exists`` query, so that no vector travels.
    """
    has_vector = {"exists": {"field": f"{name}.vector", "_name": HAS_VECTOR}}
    return {
        "query": {"bool": {"must": [{"match_all": {}}], "should": [has_vector]}},
        "_source": {"includes": [*binding.source, name], "excludes": [f"{name}.vector"]},
        "seq_no_primary_term": True,
    }


def read_document(hit: Mapping[str, Any], binding: Binding, name: str) -> Document:
    """Judge one search hit of :func:`page_body`."""
    source = hit.get("_source") or {}
    text = source_text(source, binding.source)
    digest = text_hash(text)
    has_vector = HAS_VECTOR in hit.get("matched_queries", ())
    return Document(
        index=hit["_index"],
        id=hit["_id"],
        routing=hit.get("_routing"),
        seq_no=hit["_seq_no"],
        primary_term=hit["_primary_term"],
        text=text,
        hash=digest,
        verdict=_judge(text, digest, source.get(name), has_vector, binding.fingerprint.id),
    )


def ready_update(document: Document, vector: Vectors, model: str, *, name: str, base64: bool) -> list[bytes]:
    """Return the two ``_bulk`` lines that store a vector of shape (dims,)."""
    value = encode_vector(vector) if base64 else vector.tolist()
    return _update(document, name, {**_stamp("ready", document, model), "vector": value, "error": None})


def empty_update(document: Document, model: str, *, name: str) -> list[bytes]:
    """Return the two ``_bulk`` lines that mark a document without text."""
    return _update(document, name, {**_stamp("empty", document, model), "vector": None, "error": None})


def failed_update(document: Document, model: str, reason: str, *, name: str) -> list[bytes]:
    """Return the two ``_bulk`` lines that mark a document whose text could not be embedded."""
    return _update(document, name, {**_stamp("failed", document, model), "vector": None, "error": reason[:1000]})


def _judge(text: str, digest: str, state: Any, has_vector: bool, model: str) -> Verdict:
    if is_foreign(state):
        return Verdict.FOREIGN
    state = state or {}
    same_text = state.get("hash") == digest
    if is_blank(text):
        marked = same_text and state.get("status") == "empty" and not has_vector
        return Verdict.TRUE if marked else Verdict.EMPTY
    current = same_text and has_vector and state.get("model") == model and state.get("status") == "ready"
    return Verdict.TRUE if current else Verdict.STALE


def _stamp(status: str, document: Document, model: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"status": status, "hash": document.hash, "model": model, "embedded_at": now}


def _update(document: Document, name: str, state: dict[str, Any]) -> list[bytes]:
    """A partial update that holds only if nobody has written the document since it was read."""
    action: dict[str, Any] = {
        "_index": document.index,
        "_id": document.id,
        "if_seq_no": document.seq_no,
        "if_primary_term": document.primary_term,
    }
    if document.routing is not None:
        action["routing"] = document.routing
    return [orjson.dumps({"update": action}), orjson.dumps({"doc": {name: state}})]
