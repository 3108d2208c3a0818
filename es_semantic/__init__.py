"""Semantic search for the Elasticsearch you already run.

>>> from elasticsearch import Elasticsearch
>>> from es_semantic import attach, search, sync
>>> client = Elasticsearch("http://localhost:9200")  # doctest: +SKIP
>>> attach(client, "articles", ["title", "body"])  # doctest: +SKIP
>>> sync(client, "articles")  # doctest: +SKIP
>>> search(client, "articles", "how do I cancel a subscription?")  # doctest: +SKIP
"""

from es_semantic.api import attach, detach, failures, follow, search, status, sync
from es_semantic.embedding import Embedder, Embeddings, ModelProfile, load_embedder
from es_semantic.errors import EsSemanticError
from es_semantic.retrieval.results import Hit, SearchResult

__all__ = [
    "Embedder",
    "Embeddings",
    "EsSemanticError",
    "Hit",
    "ModelProfile",
    "SearchResult",
    "attach",
    "detach",
    "failures",
    "follow",
    "load_embedder",
    "search",
    "status",
    "sync",
]
