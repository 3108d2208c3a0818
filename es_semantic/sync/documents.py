"""Which documents lack true vectors, and the partial updates that give them some: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
LACKS_VECTOR = "es_semantic_chunk_without_vector"


class Verdict(Enum):
    """What a document needs."""

    TRUE = "its vectors are those of its current text by the bound model, or it is marked empty and is"
    EMPTY = "it has no text and is not marked so"
    STALE = "a vector is missing, or of another text or model"
    FAILED = "its current text could not be embedded by the bound model, and it is marked so"
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
    error: str = ""
    """Why it has failed, where it is marked so."""


def judging(binding: Binding, name: str) -> dict[str, Any]:
    """Return the part of a search body by which :func:`read_document` can judge the hits.

    Whether a document has its vectors is told by named ``exists`` queries, so that no vector travels.
    """
    return {
        "should": _has_chunks(name) if binding.chunking else [_exists(f"{name}.vector", HAS_VECTOR)],
        "_source": {"includes": [*binding.source, name], "excludes": [f"{name}.vector", f"{name}.chunks"]},
    }


def search_body(binding: Binding, name: str, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the search for the documents that pass all filters, with what :func:`read_document` looks at."""
    judged = judging(binding, name)
    return {
        "query": {"bool": {"must": [{"match_all": {}}], "filter": list(filters), "should": judged["should"]}},
        "_source": judged["_source"],
        "seq_no_primary_term": True,
        "track_total_hits": False,
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """Reads of each document what tells whether its vectors are true: the reader of a worker's change feed."""

    binding: Binding
    name: str

    def body(self, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the search for the documents that pass all filters."""
        return search_body(self.binding, self.name, filters)

    def read(self, hit: Mapping[str, Any]) -> Document:
        """Judge one hit."""
        return read_document(hit, self.binding, self.name)

    def size(self, document: Document) -> int:
        """Return the characters of its text."""
        return len(document.text)


def read_document(hit: Mapping[str, Any], binding: Binding, name: str) -> Document:
    """Judge one hit of :func:`search_body`."""
    source = hit.get("_source") or {}
    text = source_text(source, binding.source)
    digest = text_hash(text)
    matched = hit.get("matched_queries", ())
    has_vectors = HAS_VECTOR in matched and LACKS_VECTOR not in matched
    verdict = judge(text, digest, source.get(name), has_vectors, binding.stamp)
    return Document(
        index=hit["_index"],
        id=hit["_id"],
        routing=hit.get("_routing"),
        seq_no=hit["_seq_no"],
        primary_term=hit["_primary_term"],
        text=text,
        hash=digest,
        verdict=verdict,
        error=str(source[name].get("error")) if verdict is Verdict.FAILED else "",
    )


def read_marked(found: Mapping[str, Any], binding: Binding, name: str) -> Document:
    """Judge one document of an ``_mget``, which has no named queries: by its marks, one that is ready has its vectors.

    A vector that somebody has taken away without the pipeline is found by the change feed.
    """
    state = (found.get("_source") or {}).get(name)
    ready = isinstance(state, Mapping) and state.get("status") == "ready"
    return read_document({**found, "matched_queries": [HAS_VECTOR] if ready else []}, binding, name)


@dataclass(frozen=True, slots=True)
class Updates:
    """The partial updates of one semantic field: its ``name``, its binding, and how vectors are written."""

    name: str
    binding: Binding

    def ready(
        self, document: Document, vectors: Vectors, spans: Sequence[tuple[int, int]], *, base64: bool
    ) -> list[bytes]:
        """Return the two ``_bulk`` lines that store vectors of shape (chunks, dims), one for each span of the text."""
        return self._update(document, "ready", held(self.binding, vectors, spans, base64=base64))

    def empty(self, document: Document) -> list[bytes]:
        """Return the two ``_bulk`` lines that mark a document without text."""
        return self._update(document, "empty", self._nothing())

    def failed(self, document: Document, reason: str) -> list[bytes]:
        """Return the two ``_bulk`` lines that mark a document whose text could not be embedded."""
        return self._update(document, "failed", {**self._nothing(), "error": reason[:1000]})

    def pending(self, document: Document) -> list[bytes]:
        """Return the two ``_bulk`` lines that queue a document again."""
        return self._update(document, "pending", {**self._nothing(), "hash": None})

    def _nothing(self) -> dict[str, Any]:
        return {self.binding.holder: None}

    def _update(self, document: Document, status: str, state: Mapping[str, Any]) -> list[bytes]:
        """A partial update that holds only if nobody has written the document since it was read."""
        action: dict[str, Any] = {
            "_index": document.index,
            "_id": document.id,
            "if_seq_no": document.seq_no,
            "if_primary_term": document.primary_term,
        }
        if document.routing is not None:
            action["routing"] = document.routing
        marked = marks(self.binding, document.hash, status)
        return [orjson.dumps({"update": action}), orjson.dumps({"doc": {self.name: {**marked, **state}}})]


def held(binding: Binding, vectors: Vectors, spans: Sequence[tuple[int, int]], *, base64: bool) -> dict[str, Any]:
    """Return the part of a state that holds vectors of shape (chunks, dims), one for each span of the text."""
    values = [encode_vector(vector) if base64 else vector.tolist() for vector in vectors]
    if binding.chunking is None:
        return {"vector": values[0]}
    return {"chunks": [{"start": s, "end": e, "vector": v} for (s, e), v in zip(spans, values, strict=True)]}


def marks(binding: Binding, digest: str, status: str) -> dict[str, Any]:
    """Return the part of a document's state that says what its vectors are of; ``digest`` is the hash of its text."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"status": status, "hash": digest, "model": binding.stamp, "embedded_at": now, "error": None}


def judge(text: str, digest: str, state: Any, has_vectors: bool, stamp: str) -> Verdict:
    """Say what a document with this text and state needs; ``digest`` is the text's hash, ``stamp`` the binding's."""
    if is_foreign(state):
        return Verdict.FOREIGN
    state = state or {}
    same_text = state.get("hash") == digest
    if is_blank(text):
        marked = same_text and state.get("status") == "empty" and not has_vectors
        return Verdict.TRUE if marked else Verdict.EMPTY
    if not same_text or state.get("model") != stamp:
        return Verdict.STALE
    if state.get("status") == "failed":
        return Verdict.FAILED
    return Verdict.TRUE if has_vectors and state.get("status") == "ready" else Verdict.STALE


def _exists(field: str, name: str) -> dict[str, Any]:
    return {"exists": {"field": field, "_name": name}}


def _has_chunks(name: str) -> list[dict[str, Any]]:
    """Tell a document of whose chunks some have vectors, and one of whose chunks one has none."""
    path = f"{name}.chunks"
    exists = {"exists": {"field": f"{path}.vector"}}
    return [
        {"nested": {"path": path, "query": exists, "_name": HAS_VECTOR}},
        {"nested": {"path": path, "query": {"bool": {"must_not": [exists]}}, "_name": LACKS_VECTOR}},
    ]
