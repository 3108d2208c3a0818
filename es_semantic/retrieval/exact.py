"""The exact vector leg: every vector is compared, so that an approximate leg can be judged by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from es_semantic.embedding.protocol import Similarity
from es_semantic.schema.binding import Binding

Clauses = Sequence[Mapping[str, Any]]

_COSINE = "Math.max(0.0, (cosineSimilarity(params.query_vector, params.field) + 1.0) / 2.0)"
_DOT = "Math.max(0.0, (dotProduct(params.query_vector, params.field) + 1.0) / 2.0)"
_L2 = "double d = l2norm(params.query_vector, params.field); return 1.0 / (1.0 + d * d);"
_PRODUCT = (
    "double product = dotProduct(params.query_vector, params.field); "
    "return product < 0 ? 1.0 / (1.0 - product) : product + 1.0;"
)

SCRIPTS: Mapping[Similarity, str] = {
    "cosine": _COSINE,
    "dot_product": _DOT,
    "l2_norm": _L2,
    "max_inner_product": _PRODUCT,
}
"""The scores that kNN search has (Elastic docs, "Dense vector field type", `similarity`), so that both compare."""


def exact_query(vector: Sequence[float], binding: Binding, name: str, filters: Clauses) -> dict[str, Any]:
    """Return the query that scores every document of the semantic field ``name`` by its distance to ``vector``.

    As for the approximate leg only vectors under the binding's stamp count, of a document's chunks the nearest one, and
    filters look at the document itself. Its cost grows with the number of vectors (Elastic docs, "Exact kNN").
    """
    stamped = [{"term": {f"{name}.model": binding.stamp}}, *filters]
    if binding.chunking is None:
        return scored_by_vector(vector, binding.similarity, f"{name}.vector", stamped)
    nested = {
        "path": f"{name}.chunks",
        "score_mode": "max",
        "ignore_unmapped": True,
        "query": scored_by_vector(vector, binding.similarity, f"{name}.chunks.vector", []),
    }
    return {"bool": {"must": [{"nested": nested}], "filter": stamped}}


def scored_by_vector(vector: Sequence[float], similarity: Similarity, field: str, filters: Clauses) -> dict[str, Any]:
    """Return the query that scores every document with a vector in ``field`` by its distance to ``vector``."""
    # A document without a vector would make the script fail.
    there = {"bool": {"filter": [{"exists": {"field": field}}, *filters]}}
    script = {
        "source": SCRIPTS[similarity],
        "params": {"query_vector": list(vector), "field": field},
    }
    return {"script_score": {"query": there, "script": script}}
