"""Exact search compares every vector: its scores are those of kNN, its order that of the definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.embedding import Embeddings, ModelProfile
from es_semantic.embedding.protocol import Similarity, Vectors
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex

TEXT = {"type": "text"}
ROWS = 60
DIMS = 8
SCORES: dict[Similarity, Callable[[Vectors, Vectors], Any]] = {
    "cosine": lambda q, v: (1 + np.dot(q, v) / (np.linalg.norm(q) * np.linalg.norm(v))) / 2,
    "dot_product": lambda q, v: (1 + np.dot(q, v)) / 2,
    "l2_norm": lambda q, v: 1 / (1 + np.sum((q - v) ** 2)),
    "max_inner_product": lambda q, v: np.dot(q, v) + 1 if np.dot(q, v) >= 0 else 1 / (1 - np.dot(q, v)),
}
"""As the documentation of dense_vector has them (`similarity`)."""


class Similar(TinyEmbedder):
    """A model for this similarity; its vectors have different lengths where the similarity allows that."""

    def __init__(self, similarity: Similarity) -> None:
        super().__init__(similarity, DIMS)
        self.similarity = similarity

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile(super().profile.fingerprint, self.similarity, 16)

    def vector(self, text: str) -> Any:
        unit = super().vector(text)
        return unit if self.similarity == "dot_product" else (unit * (1 + len(text) % 3)).astype(np.float32)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        return Embeddings(np.stack([self.vector(text) for text in texts]))


def filled(client: Elasticsearch, make_index: MakeIndex, embedder: TinyEmbedder, chunk: str) -> tuple[str, list[str]]:
    random = np.random.default_rng(2)
    words = [f"w{i}" for i in range(30)]
    texts = [" ".join(random.choice(words, size=random.integers(1, 40))) for _ in range(ROWS)]
    index = make_index({"title": TEXT, "odd": {"type": "boolean"}}, settings={"number_of_shards": 2})
    operations: list[dict[str, Any]] = []
    for number, text in enumerate(texts):
        operations += [{"index": {"_id": str(number)}}, {"title": text, "odd": bool(number % 2)}]
    operations += [{"index": {"_id": "empty"}}, {"title": ""}]
    client.bulk(index=index, operations=operations, refresh=True)
    es_semantic.attach(client, index, "title", model=embedder, chunk=chunk)
    es_semantic.sync(client, index, model=embedder)
    return index, texts


@pytest.mark.parametrize("similarity", list(SCORES))
def test_scores_and_order(client: Elasticsearch, make_index: MakeIndex, similarity: Similarity) -> None:
    embedder = Similar(similarity)
    index, texts = filled(client, make_index, embedder, "never")
    query = "w1 w2 w3"
    score = SCORES[similarity]
    wanted = {str(i): score(embedder.vector(query), embedder.vector(text)) for i, text in enumerate(texts)}
    found = es_semantic.search(client, index, query, mode="exact", size=ROWS, model=embedder).hits
    assert {hit.id: hit.score for hit in found} == pytest.approx(wanted, rel=1e-4)
    assert [hit.id for hit in found] == sorted(wanted, key=lambda doc_id: -wanted[doc_id])
    # Quantised vectors are compared first, so only the beginning must agree.
    near = es_semantic.search(client, index, query, mode="knn", size=5, model=embedder).hits
    assert {hit.id: hit.score for hit in near} == pytest.approx({hit.id: hit.score for hit in found[:5]}, rel=1e-3)


def test_of_chunks_the_nearest_counts(client: Elasticsearch, make_index: MakeIndex) -> None:
    embedder = Similar("cosine")
    index, _ = filled(client, make_index, embedder, "always")
    exact = es_semantic.search(client, index, "w1 w2 w3", mode="exact", size=ROWS, model=embedder).hits
    near = es_semantic.search(client, index, "w1 w2 w3", mode="knn", size=ROWS, model=embedder).hits
    assert len(exact) == len(near) == ROWS
    assert {hit.id: hit.score for hit in exact} == pytest.approx({hit.id: hit.score for hit in near}, abs=0.02)


@pytest.mark.parametrize("chunk", ["never", "always"])
def test_filters_and_documents_without_a_vector(client: Elasticsearch, make_index: MakeIndex, chunk: str) -> None:
    embedder = Similar("cosine")
    index, _ = filled(client, make_index, embedder, chunk)
    found = es_semantic.search(
        client, index, "w1", mode="exact", size=100, filters={"term": {"odd": True}}, model=embedder
    ).hits
    assert {hit.id for hit in found} == {str(i) for i in range(1, ROWS, 2)}
    everything = es_semantic.search(client, index, "w1", mode="exact", size=100, model=embedder).hits
    assert "empty" not in {hit.id for hit in everything}
