"""Other ways to answer a hybrid query on the same index: each returns the ids of its ten best documents.

Query vectors are ready for all of them, so that no side embeds. None asks for a paid licence.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elasticsearch import Elasticsearch

from benchmarks.node import FIELD

VECTOR = "semantic.vector"
SIZE = 10
WINDOW = 100
CANDIDATES = 200
"""What es-semantic itself asks of each leg: 100 documents, of 200 candidates a shard."""

RERANKED = 64
GATED_K = 1024
GATED_CANDIDATES = 2048
TERM_WEIGHT = 0.7
"""RAGFlow's documented defaults: ``top_k`` 1024, ``vector_similarity_weight`` 0.3, 64 candidates to rerank."""

Vectors = Mapping[str, Sequence[float]]
Searcher = Callable[[str], list[str]]


def bm25(client: Elasticsearch, index: str) -> Searcher:
    """The lexical leg alone: one search, ten documents."""

    def search(text: str) -> list[str]:
        return ids(client.search(index=index, query=match(text), size=SIZE, source_excludes=["semantic"]))

    return search


def knn(client: Elasticsearch, index: str, vectors: Vectors) -> Searcher:
    """The vector leg alone: one search, ten documents."""

    def search(text: str) -> list[str]:
        nearest = near(vectors[text], WINDOW, CANDIDATES)
        return ids(client.search(index=index, knn=nearest, size=SIZE, source_excludes=["semantic"]))

    return search


def serial(client: Elasticsearch, index: str, vectors: Vectors) -> Searcher:
    """The two legs one after the other, reciprocal ranks added in Python, and the ten documents fetched."""

    def search(text: str) -> list[str]:
        options: dict[str, Any] = {"size": WINDOW, "source": False, "track_total_hits": False}
        words = ids(client.search(index=index, query=match(text), **options))
        meaning = ids(client.search(index=index, knn=near(vectors[text], WINDOW, CANDIDATES), **options))
        scores: Counter[str] = Counter()
        for leg in (words, meaning):
            for rank, doc_id in enumerate(leg, start=1):
                scores[doc_id] += 1 / (60 + rank)  # type: ignore[assignment]
        best = [doc_id for doc_id, _ in scores.most_common(SIZE)]
        fetched = client.mget(index=index, ids=best, source_excludes=["semantic"])
        return [doc["_id"] for doc in fetched["docs"]]

    return search


def ragflow(client: Elasticsearch, index: str, vectors: Vectors) -> Searcher:
    """The shape of RAGFlow's retrieval: kNN gated by the text query, vector scores of the best 64, terms in Python."""

    def search(text: str) -> list[str]:
        gate = {"bool": {"must": [{"match": {FIELD: {"query": text, "minimum_should_match": "30%", "boost": 0.05}}}]}}
        gated = {**near(vectors[text], GATED_K, GATED_CANDIDATES), "filter": gate, "similarity": 0.1}
        found = client.search(index=index, query=gate, knn=gated, size=RERANKED, source_excludes=["semantic"])
        texts = {hit["_id"]: hit["_source"][FIELD] for hit in found["hits"]["hits"]}
        those = {"ids": {"values": list(texts)}}
        second = {**near(vectors[text], RERANKED, CANDIDATES), "filter": those}
        scored = client.search(index=index, knn=second, size=RERANKED, source=False, track_total_hits=False)
        similarity = {hit["_id"]: 2 * hit["_score"] - 1 for hit in scored["hits"]["hits"]}
        wanted = Counter(tokens(text))
        final = {
            doc_id: TERM_WEIGHT * overlap(wanted, Counter(tokens(body))) + (1 - TERM_WEIGHT) * similarity.get(doc_id, 0)
            for doc_id, body in texts.items()
        }
        return sorted(final, key=lambda doc_id: -final[doc_id])[:SIZE]

    return search


def langchain(url: str, index: str, vectors: Vectors) -> Searcher:
    """langchain-elasticsearch's hybrid search without RRF, which its licence would have to allow."""
    from langchain_elasticsearch import DenseVectorStrategy, ElasticsearchStore

    class Ready:
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [list(vectors[text]) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return list(vectors[text])

    store = ElasticsearchStore(
        index_name=index,
        embedding=Ready(),
        es_url=url,
        query_field=FIELD,
        vector_query_field=VECTOR,
        strategy=DenseVectorStrategy(hybrid=True, rrf=False),
    )

    def search(text: str) -> list[str]:
        found = store.similarity_search(text, k=SIZE, fetch_k=CANDIDATES, doc_builder=_with_id)
        return [document.id for document in found]

    return search


def llama_index(url: str, index: str, vectors: Vectors) -> Searcher:
    """LlamaIndex's Elasticsearch store, hybrid mode without RRF."""
    import asyncio

    from elasticsearch.helpers.vectorstore import AsyncDenseVectorStrategy
    from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
    from llama_index.vector_stores.elasticsearch import ElasticsearchStore

    asyncio.set_event_loop(asyncio.new_event_loop())
    strategy = AsyncDenseVectorStrategy(hybrid=True, rrf=False, text_field=FIELD)
    store = ElasticsearchStore(index, es_url=url, text_field=FIELD, vector_field=VECTOR, retrieval_strategy=strategy)

    def search(text: str) -> list[str]:
        query = VectorStoreQuery(
            query_str=text,
            query_embedding=list(vectors[text]),
            similarity_top_k=SIZE,
            mode=VectorStoreQueryMode.HYBRID,
        )
        return list(store.query(query).ids or [])

    return search


def match(text: str) -> dict[str, Any]:
    """The lexical query that es-semantic makes of a text."""
    return {"multi_match": {"query": text, "fields": [FIELD], "type": "cross_fields"}}


def near(vector: Sequence[float], k: int, candidates: int) -> dict[str, Any]:
    """A kNN search."""
    return {"field": VECTOR, "query_vector": list(vector), "k": k, "num_candidates": candidates}


def ids(response: Any) -> list[str]:
    """The ids of a response's hits."""
    return [hit["_id"] for hit in response["hits"]["hits"]]


def tokens(text: str) -> list[str]:
    """Lower-case words."""
    return re.findall(r"\w+", text.lower())


def overlap(wanted: Counter[str], there: Counter[str]) -> float:
    """The share of the query's terms that a text holds, rarer ones in the text counting less."""
    found = sum(math.log1p(count) for term, count in wanted.items() if term in there)
    return found / max(1e-9, sum(math.log1p(count) for count in wanted.values()))


def _with_id(hit: dict[str, Any]) -> Any:
    from langchain_core.documents import Document

    return Document(id=hit["_id"], page_content=hit["_source"][FIELD])
