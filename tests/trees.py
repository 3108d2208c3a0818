"""Retriever trees that several tests need."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.parse import parse

Json = dict[str, Any]

QUERY: Json = {"match": {"title": "red"}}
STANDARD: Json = {"standard": {"query": QUERY}}
KNN: Json = {"knn": {"field": "vector", "query_vector": [1, 2], "k": 5, "num_candidates": 10}}

EVERY_KIND: Json = {
    "pinned": {
        "ids": ["7", "9"],
        "_name": "campaign",
        "retriever": {
            "text_similarity_reranker": {
                "field": ["title", "body"],
                "inference_text": "red shoes",
                "inference_id": "small",
                "min_score": 0.5,
                "retriever": {
                    "linear": {
                        "normalizer": "minmax",
                        "filter": {"term": {"tenant": "a"}},
                        "retrievers": [
                            {"retriever": STANDARD, "weight": 2, "normalizer": "none"},
                            {
                                "retriever": {
                                    "rrf": {
                                        "rank_constant": 1,
                                        "retrievers": [
                                            KNN,
                                            {"weight": 0.5, "retriever": STANDARD},
                                            {"auto": {"retrievers": [STANDARD, KNN]}},
                                        ],
                                    }
                                }
                            },
                            {
                                "retriever": {
                                    "diversify": {
                                        "type": "mmr",
                                        "field": "vector",
                                        "lambda": 0.7,
                                        "retriever": {
                                            "rescorer": {
                                                "retriever": STANDARD,
                                                "rescore": {"window_size": 50, "query": {"rescore_query": QUERY}},
                                            }
                                        },
                                    }
                                }
                            },
                        ],
                    }
                },
            }
        },
    }
}


def refused(tree: Any) -> InvalidRetriever:
    with pytest.raises(InvalidRetriever) as refusal:
        parse(tree)
    return refusal.value
