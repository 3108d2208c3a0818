"""How well texts answer a query, by a model that reads both: scores to order hits by; knows no Elasticsearch."""

from es_semantic.reranking.load import load_reranker
from es_semantic.reranking.protocol import Reranker, order

__all__ = ["Reranker", "load_reranker", "order"]
