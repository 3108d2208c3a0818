"""A document on its way into another index: whole, as bytes, with what its semantic field needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from es_semantic.embedding.encoding import decode_vector, encode_vector
from es_semantic.schema.binding import Binding
from es_semantic.schema.text import is_blank, source_text, text_hash
from es_semantic.sync.bulk import Item
from es_semantic.sync.documents import Verdict, held, judge, marks
from es_semantic.sync.embed import Embedded

NOT_FINITE = "it holds a number beyond the range of doubles, which Elasticsearch gives back as infinite"
NO_JSON = "it holds a value that JSON does not have"
TOO_DEEP = "it is nested too deep for Python's JSON encoder"
FOREIGN = "it has a field {name!r} of its own; see --name"


@dataclass(frozen=True, slots=True)
class Copied:
    """One document as read: where it is, its version, and ``body``, the JSON object without the semantic field.

    ``state`` is what the semantic field holds where its vectors are true, None where they have to be made. ``reason``
    says why the document cannot be copied, empty where it can; its verdict then is that it is foreign.
    """

    id: str
    routing: str | None
    version: int
    body: bytes
    text: str
    hash: str
    verdict: Verdict
    state: bytes | None = None
    reason: str = ""

    @property
    def place(self) -> tuple[str, str | None]:
        """What tells it from all other documents of the index."""
        return self.id, self.routing

    def true(self, state: bytes) -> Copied:
        """Return this document with vectors that were found to be true."""
        return replace(self, verdict=Verdict.TRUE, state=state)


@dataclass(frozen=True, slots=True)
class Whole:
    """Reads documents whole, vectors included: the reader of a change feed that is copied.

    ``vectors_hidden`` says whether the server leaves vectors out of ``_source`` unless asked (from 9.2 on). Without a
    ``binding`` the semantic field is left out, and nothing needs to be embedded.
    """

    name: str
    binding: Binding | None
    vectors_hidden: bool
    base64: bool

    def body(self, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the search for the documents that pass all filters."""
        return {
            "query": {"bool": {"must": [{"match_all": {}}], "filter": list(filters)}},
            "_source": {"exclude_vectors": False} if self.vectors_hidden else True,
            "version": True,
            "seq_no_primary_term": True,
            "track_total_hits": False,
        }

    def read(self, hit: Mapping[str, Any]) -> Copied:
        """Read one hit of that search, or one document of an ``_mget`` with its vectors."""
        source = hit.get("_source") or {}
        body, reason = _encoded({key: value for key, value in source.items() if key != self.name})
        copied = Copied(hit["_id"], hit.get("_routing"), hit["_version"], body, "", "", Verdict.TRUE, None, reason)
        if self.binding is None:
            return copied if not reason else replace(copied, verdict=Verdict.FOREIGN)
        text, state = source_text(source, self.binding.source), source.get(self.name)
        digest = text_hash(text)
        verdict = judge(text, digest, state, holds_vectors(state, self.binding), self.binding.stamp)
        if reason or verdict is Verdict.FOREIGN or any(key.startswith(f"{self.name}.") for key in source):
            return replace(copied, verdict=Verdict.FOREIGN, reason=reason or FOREIGN.format(name=self.name))
        if is_blank(text):
            return replace(copied, hash=digest, verdict=Verdict.EMPTY)
        if verdict is Verdict.TRUE:
            return replace(copied, hash=digest, state=state_bytes(state or {}, base64=self.base64))
        # A new index is a new chance for what could not be embedded.
        verdict = Verdict.STALE if verdict is Verdict.FAILED else verdict
        return replace(copied, text=text, hash=digest, verdict=verdict)

    def size(self, document: Copied) -> int:
        """Return the bytes of its JSON, vectors included."""
        return len(document.body) + len(document.state or b"")


def holds_vectors(state: Any, binding: Binding) -> bool:
    """Say whether a document's state has its vector, or one in each of its chunks."""
    if not isinstance(state, Mapping):
        return False
    if binding.chunking is None:
        return state.get("vector") is not None
    chunks = state.get("chunks")
    return (
        isinstance(chunks, list)
        and bool(chunks)
        and all(isinstance(chunk, Mapping) and chunk.get("vector") is not None for chunk in chunks)
    )


def state_bytes(state: Mapping[str, Any], *, base64: bool) -> bytes:
    """Return a state as JSON, its vectors as this server takes them."""
    known = {key: value for key, value in state.items() if value is not None}
    if "vector" in known:
        known["vector"] = _vector(known["vector"], base64=base64)
    if "chunks" in known:
        known["chunks"] = [{**chunk, "vector": _vector(chunk["vector"], base64=base64)} for chunk in known["chunks"]]
    return orjson.dumps(known)


def new_state(document: Copied, embedded: Embedded | None, binding: Binding, *, base64: bool) -> bytes:
    """Return the state of a document whose text was embedded, or could not be, or that has none."""
    if embedded is None:
        state = marks(binding, document.hash, "empty")
    elif embedded.vectors is None:
        state = {**marks(binding, document.hash, "failed"), "error": embedded.reason[:1000]}
    else:
        state = {
            **marks(binding, document.hash, "ready"),
            **held(binding, embedded.vectors, embedded.spans, base64=base64),
        }
    return orjson.dumps({key: value for key, value in state.items() if value is not None})


def index_item(
    alias: str, document: Copied, name: str, state: bytes | None, *, over: Mapping[str, Any] | None = None
) -> Item:
    """Return the ``_bulk`` lines that write the document through the job's alias, unless a newer version is there.

    With ``over``, what was seen there (a hit, or empty for nothing), it is written in the place of just that. It has
    passed the pipelines of its first index, so that the default one does not run.
    """
    action: dict[str, Any] = {"_index": alias, "_id": document.id, "pipeline": "_none", "require_alias": True}
    if over is None:
        action |= {"version": document.version, "version_type": "external_gte"}
    elif over:
        action |= {"if_seq_no": over["_seq_no"], "if_primary_term": over["_primary_term"]}
    if document.routing is not None:
        action["routing"] = document.routing
    verb = "create" if over == {} else "index"
    return [encode({verb: action}), with_field(document.body, name, state)]


def with_field(body: bytes, name: str, value: bytes | None) -> bytes:
    """Return a JSON object with one more field; both as :func:`encode` writes them."""
    if value is None:
        return body
    return b"".join((body[:-1], b"" if body == b"{}" else b",", orjson.dumps(name), b":", value, b"}"))


def encode(value: Mapping[str, Any]) -> bytes:
    """Return JSON without spaces, of whatever Python's parser has read: long integers and lone surrogates too.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _encoded(source: Mapping[str, Any]) -> tuple[bytes, str]:
    try:
        return encode(source), ""
    except ValueError:
        return b"{}", NOT_FINITE
    except TypeError:
        return b"{}", NO_JSON
    except RecursionError:
        return b"{}", TOO_DEEP


def _vector(stored: Any, *, base64: bool) -> Any:
    if isinstance(stored, str):
        return stored if base64 else decode_vector(stored).tolist()
    return encode_vector(np.asarray(stored, dtype=np.float32)) if base64 else stored
