"""Haystack: a document store and three retrievers, each also asynchronous, over an index of Elasticsearch.

They take an index that is there, with whatever names its fields have, or make one. A pipeline that holds them is loaded
with ``Pipeline.loads(..., allowed_modules=["es_semantic.integrations.*"])``.
"""

from es_semantic.errors import MissingExtra

try:
    import haystack  # noqa: F401
except ImportError as error:
    raise MissingExtra(
        f"the Haystack integration needs haystack-ai: {error}", hint="pip install 'es-semantic[haystack]'"
    ) from error

from es_semantic.integrations.haystack.retrievers import (
    EsSemanticBM25Retriever,
    EsSemanticEmbeddingRetriever,
    EsSemanticHybridRetriever,
)
from es_semantic.integrations.haystack.store import EsSemanticDocumentStore

__all__ = [
    "EsSemanticBM25Retriever",
    "EsSemanticDocumentStore",
    "EsSemanticEmbeddingRetriever",
    "EsSemanticHybridRetriever",
]
