"""Semantic search for the Elasticsearch you already run.

>>> from elasticsearch import Elasticsearch
>>> from es_semantic import attach, search, sync
>>> client = Elasticsearch("http://localhost:9200")  # doctest: +SKIP
>>> attach(client, "articles", ["title", "body"])  # doctest: +SKIP
>>> sync(client, "articles")  # doctest: +SKIP
>>> search(client, "articles", "how do I cancel a subscription?")  # doctest: +SKIP
"""

from es_semantic.api import analyze, attach, detach, failures, follow, status, sync
from es_semantic.api_chunks import list_datasets, retrieve_chunks
from es_semantic.api_evaluation import compare_models, evaluate, reset_ranking, tune
from es_semantic.api_ingest import ingest, ingest_document
from es_semantic.api_migrate import (
    cancel_migration,
    compare_migration,
    drop_migration,
    migrate,
    migration,
    roll_back_migration,
    switch_migration,
)
from es_semantic.api_native import native, remove_native
from es_semantic.api_reindex import cancel_reindex, estimate_reindex, reindex, reindex_files, undo_reindex
from es_semantic.api_search import context, more_like, retrieve, search
from es_semantic.embedding import Embedder, Embeddings, ModelProfile, load_embedder
from es_semantic.errors import EsSemanticError
from es_semantic.reindex.on_ray import RayEngine
from es_semantic.retrieval.chunk_search import Chunk, Chunks
from es_semantic.retrieval.conditions import Condition
from es_semantic.retrieval.context import Context
from es_semantic.retrieval.passages import Passage
from es_semantic.retrieval.results import Hit, SearchResult
from es_semantic.retrieval.tree import build as retrievers

__all__ = [
    "Chunk",
    "Chunks",
    "Condition",
    "Context",
    "Embedder",
    "Embeddings",
    "EsSemanticError",
    "Hit",
    "ModelProfile",
    "Passage",
    "RayEngine",
    "SearchResult",
    "analyze",
    "attach",
    "cancel_migration",
    "cancel_reindex",
    "compare_migration",
    "compare_models",
    "context",
    "detach",
    "drop_migration",
    "estimate_reindex",
    "evaluate",
    "failures",
    "follow",
    "ingest",
    "ingest_document",
    "list_datasets",
    "load_embedder",
    "migrate",
    "migration",
    "more_like",
    "native",
    "reindex",
    "reindex_files",
    "remove_native",
    "reset_ranking",
    "retrieve",
    "retrieve_chunks",
    "retrievers",
    "roll_back_migration",
    "search",
    "status",
    "switch_migration",
    "sync",
    "tune",
    "undo_reindex",
]
