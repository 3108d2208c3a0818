"""What one document's stored vectors are as a query, whichever way Elasticsearch returns them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from es_semantic.embedding import Fingerprint
from es_semantic.embedding.chunking import Chunking
from es_semantic.embedding.encoding import encode_vector
from es_semantic.embedding.protocol import Similarity
from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.more_like import stored_vector, the_one
from es_semantic.schema.binding import Binding


def binding(similarity: Similarity = "cosine", *, chunked: bool = True) -> Binding:
    return Binding(
        source=["title"],
        fingerprint=Fingerprint(provider="tests", model="m", dims=2, normalized=True, probe="0" * 12),
        similarity=similarity,
        index_options={"type": "hnsw"},
        chunking=Chunking(max_tokens=32, overlap=3) if chunked else None,
    )


def hit(bound: Binding, *vectors: list[Any], **state: str) -> dict[str, Any]:
    parts = {"semantic.chunks": [{"vector": each} for each in vectors]} if bound.chunking else {}
    fields = parts if bound.chunking or not vectors else {"semantic.vector": vectors[0]}
    source = {"semantic": {"status": "ready", "model": bound.stamp, **state}}
    return {"_index": "i", "_id": "1", "fields": fields, "_source": source}


@pytest.mark.parametrize(
    ("similarity", "wanted"),
    [("cosine", (0.8, 0.6)), ("dot_product", (0.8, 0.6)), ("l2_norm", (2.0, 1.5)), ("max_inner_product", (2.0, 1.5))],
)
def test_chunks_become_their_mean_of_length_one_where_only_directions_count(
    similarity: Similarity, wanted: tuple[float, float]
) -> None:
    bound = binding(similarity)
    assert stored_vector(hit(bound, [4.0, 0.0], [0.0, 3.0]), bound, "semantic") == pytest.approx(wanted)


@pytest.mark.parametrize("chunked", [True, False])
def test_one_vector_is_taken_as_it_is_also_from_base64(chunked: bool) -> None:
    bound = binding(chunked=chunked)
    for stored in ([0.25, -3.5], [encode_vector(np.array([0.25, -3.5], dtype=np.float32))]):
        assert stored_vector(hit(bound, stored), bound, "semantic") == (0.25, -3.5)


def test_chunks_that_cancel_each_other_out_are_no_query() -> None:
    with pytest.raises(InvalidQuery, match="cancel each other out"):
        stored_vector(hit(binding(), [1.0, 0.0], [-1.0, 0.0]), binding(), "semantic")


@pytest.mark.parametrize("status", ["pending", "failed", "empty"])
def test_without_a_vector_the_status_is_said(status: str) -> None:
    with pytest.raises(InvalidQuery, match=f"document '1' of 'i' has no vector: it .*{status}"):
        stored_vector(hit(binding(), status=status), binding(), "semantic")


def test_something_of_the_owner_s_is_no_vector() -> None:
    found = {"_index": "i", "_id": "1", "_source": {"semantic": "a word"}}
    with pytest.raises(InvalidQuery, match="nobody has embedded it"):
        stored_vector(found, binding(chunked=False), "semantic")


def test_several_documents_are_told_apart() -> None:
    hits = [{"_index": "i", "_id": "1", "_routing": "a"}, {"_index": "i", "_id": "1", "_routing": "b"}]
    assert the_one(hits[:1], "i", "1", None) == hits[0]
    with pytest.raises(InvalidQuery, match=r"i \(routing 'a'\) and i \(routing 'b'\)"):
        the_one(hits, "i", "1", None)
    with pytest.raises(InvalidQuery, match="no document '1' with routing 'c' in 'i'"):
        the_one([], "i", "1", "c")
