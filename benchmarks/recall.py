"""What index types cost and lose: recall@10 of approximate kNN against exact search, and memory for each vector.

Each type gets an index of its own with the same texts and vectors. Memory is what Elasticsearch itself reports of its
off-heap structures (Elastic docs, "Index stats", ``dense_vector.off_heap``): quantised vectors and graph must stay in
memory to be fast, the raw vectors are read to re-score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import Rows, arguments, report, texts
from benchmarks.node import Node, open_node
from benchmarks.search import queries
from es_semantic import Embedder, load_embedder, search, sync
from es_semantic.embedding.protocol import Vectors

GOALS = {"int8_hnsw_recall": 0.95}

DEPTH = 10
GRAPH = {"m": 16, "ef_construction": 100}
TYPES: Mapping[str, dict[str, Any]] = {
    "int8_hnsw": {"type": "int8_hnsw", **GRAPH},
    "int8_hnsw, re-scored": {"type": "int8_hnsw", **GRAPH, "rescore_vector": {"oversample": 3.0}},
    "bbq_hnsw": {"type": "bbq_hnsw", **GRAPH, "rescore_vector": {"oversample": 0}},
    "bbq_hnsw, re-scored": {"type": "bbq_hnsw", **GRAPH, "rescore_vector": {"oversample": 3.0}},
    "flat": {"type": "flat"},
}
CANDIDATES = (20, 200)
"""``num_candidates`` of a kNN search for ten, and of es-semantic's own legs."""


def measure(node: Node, options: dict[str, Any], model: Embedder, passages: Sequence[str], asked: int) -> list[float]:
    """Return recall@10 for each of ``CANDIDATES``, then bytes a vector: quantised, graph, raw."""
    with node.scratch() as index:
        node.fill(index, passages)
        vector = {"type": "dense_vector", "dims": model.profile.dims, "similarity": "cosine", "index_options": options}
        mapped = {"semantic": {"type": "object", "dynamic": False, "properties": {"vector": vector}}}
        node.client.indices.put_mapping(index=index, properties=mapped)
        node.attach(index, model)
        sync(node.client, index, model=model)
        node.client.options(request_timeout=3_600).indices.forcemerge(index=index, max_num_segments=1)
        node.client.indices.refresh(index=index)
        parts = queries(node, index, asked, 1)
        vectors = model.embed_queries(parts).vectors
        exact = [
            [hit.id for hit in search(node.client, index, text, mode="exact", size=DEPTH, model=model).hits]
            for text in parts
        ]
        recalls = [recall(node, index, vectors, exact, candidates) for candidates in CANDIDATES]
        return [*recalls, *bytes_per_vector(node, index)]


def recall(node: Node, index: str, vectors: Vectors, exact: Sequence[Sequence[str]], candidates: int) -> float:
    """Return the mean share of the exact ten that kNN finds."""
    shares = []
    for vector, truth in zip(vectors.tolist(), exact, strict=True):
        knn = {"field": "semantic.vector", "query_vector": vector, "k": DEPTH, "num_candidates": candidates}
        hits = node.client.search(index=index, knn=knn, size=DEPTH, source=False)["hits"]["hits"]
        shares.append(len({hit["_id"] for hit in hits} & set(truth)) / len(truth))
    return float(np.mean(shares))


def bytes_per_vector(node: Node, index: str) -> list[float]:
    """Return the bytes of the quantised vector, its part of the graph, and the raw vector."""
    stats = node.client.indices.stats(index=index, metric="dense_vector")["_all"]["primaries"]["dense_vector"]
    sizes, count = stats["off_heap"], stats["value_count"]
    quantised = sizes.get("total_veq_size_bytes", 0) + sizes.get("total_veb_size_bytes", 0)
    return [quantised / count, sizes.get("total_vex_size_bytes", 0) / count, sizes["total_vec_size_bytes"] / count]


def main() -> None:
    """Measure every type and report."""
    parser = arguments("Recall and memory of vector index types", rounds=1, documents=5_000, queries=100)
    options = parser.parse_args()
    passages = texts(options.documents, dataset=options.dataset, seed=options.seed)
    model = load_embedder()
    rows, ratios = [], {}
    with open_node() as node:
        for name, index_options in TYPES.items():
            few, many, quantised, graph, raw = measure(node, index_options, model, passages, options.queries)
            rows.append([name, f"{few:.3f}", f"{many:.3f}", f"{quantised:.0f}", f"{graph:.0f}", f"{raw:.0f}"])
            ratios[f"{name.replace(', re-scored', '_rescored')}_recall"] = many
    columns = (
        "index type",
        *(f"recall@10, {each} candidates" for each in CANDIDATES),
        "quantised B",
        "graph B",
        "raw B",
    )
    report("recall", Rows(columns, rows), ratios, GOALS)


if __name__ == "__main__":
    main()
