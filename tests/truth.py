"""Is every document of an index what the guarantee says? Read all, hash again, embed again, compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

from es_semantic.embedding.encoding import decode_vector
from es_semantic.schema.text import is_blank, source_text, text_hash
from tests.embedder import TinyEmbedder


def untrue(
    client: Elasticsearch,
    index: str,
    fields: list[str],
    embedder: TinyEmbedder,
    stamp: str = "",
    *,
    place: str = "semantic",
) -> dict[str, str]:
    """Return what is wrong, by document id; empty when every document is true. ``place`` is the semantic field's."""
    client.indices.refresh(index=index)
    query = {"query": {"match_all": {}}, "_source": {"exclude_vectors": False}}
    problems = (
        (hit["_id"], problem(hit["_source"], fields, embedder, stamp, place=place))
        for hit in scan(client, query, index=index)
    )
    return {doc_id: what for doc_id, what in problems if what}


def problem(
    source: dict[str, Any], fields: list[str], embedder: TinyEmbedder, stamp: str = "", *, place: str = "semantic"
) -> str:
    """Return what is wrong with one document, or nothing; ``stamp`` is the binding's, where it has chunks."""
    state = source.get(place) or {}
    text = source_text(source, fields)
    if state.get("hash") != text_hash(text):
        return f"hash of another text (status {state.get('status')})"
    if is_blank(text):
        return "" if state["status"] == "empty" and state.get("vector") is None else f"no text, yet {state['status']}"
    if state["status"] != "ready" or state.get("model") != (stamp or embedder.profile.fingerprint.id):
        return f"{state['status']} by {state.get('model')}"
    chunks = state.get("chunks") or [{"start": 0, "end": len(text), "vector": state["vector"]}]
    for chunk in chunks:
        stored = chunk["vector"]
        vector = decode_vector(stored) if isinstance(stored, str) else np.asarray(stored, dtype=np.float32)
        if not np.allclose(vector, embedder.vector(text[chunk["start"] : chunk["end"]]), atol=1e-5):
            return f"vector of another text than that from {chunk['start']} to {chunk['end']}"
    covered = {at for chunk in chunks for at in range(chunk["start"], chunk["end"])}
    left = [at for at, character in enumerate(text) if at not in covered and not character.isspace()]
    return f"characters {left[:3]} are in no chunk" if left else ""
