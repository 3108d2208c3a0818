"""Is every document of an index what the guarantee says? Read all, hash again, embed again, compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

from es_semantic.embedding.encoding import decode_vector
from es_semantic.schema.text import is_blank, source_text, text_hash
from tests.embedder import TinyEmbedder


def untrue(client: Elasticsearch, index: str, fields: list[str], embedder: TinyEmbedder) -> dict[str, str]:
    """Return what is wrong, by document id; empty when every document is true."""
    client.indices.refresh(index=index)
    query = {"query": {"match_all": {}}, "_source": {"exclude_vectors": False}}
    problems = ((hit["_id"], problem(hit["_source"], fields, embedder)) for hit in scan(client, query, index=index))
    return {doc_id: what for doc_id, what in problems if what}


def problem(source: dict[str, Any], fields: list[str], embedder: TinyEmbedder) -> str:
    """Return what is wrong with one document, or nothing."""
    state = source.get("semantic") or {}
    text = source_text(source, fields)
    if state.get("hash") != text_hash(text):
        return f"hash of another text (status {state.get('status')})"
    if is_blank(text):
        return "" if state["status"] == "empty" and state.get("vector") is None else f"no text, yet {state['status']}"
    if state["status"] != "ready" or state.get("model") != embedder.profile.fingerprint.id:
        return f"{state['status']} by {state.get('model')}"
    stored = state["vector"]
    vector = decode_vector(stored) if isinstance(stored, str) else np.asarray(stored, dtype=np.float32)
    return "" if np.allclose(vector, embedder.vector(text), atol=1e-5) else "vector of another text"
