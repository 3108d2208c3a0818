"""How vectors are indexed: the explicit choice behind every semantic field (docs/decisions/index-options.md)."""

from __future__ import annotations

from typing import Any

from es_semantic.cluster.capabilities import Version

BBQ_FROM_DIMS = 768
BBQ_SINCE: Version = (8, 18)
STORED_RESCORING_SINCE: Version = (9, 1)
OVERSAMPLE = 3.0
M = 16
EF_CONSTRUCTION = 100


def index_options(dims: int, version: Version | None) -> dict[str, Any]:
    """Return the dense_vector ``index_options`` for vectors of this size (Elastic docs, "Dense vector field type").

    ``int8_hnsw`` (1 byte a dimension in memory) below 768 dimensions, ``bbq_hnsw`` (1 bit) from there on. Where the
    server can (9.1), both re-score the best ``3 * k`` candidates with the original float32 vectors. An unknown version
    gets what every supported server takes.
    """
    known = version or (0, 0)
    kind = "bbq_hnsw" if dims >= BBQ_FROM_DIMS and known >= BBQ_SINCE else "int8_hnsw"
    options: dict[str, Any] = {"type": kind, "m": M, "ef_construction": EF_CONSTRUCTION}
    if known >= STORED_RESCORING_SINCE:
        options["rescore_vector"] = {"oversample": OVERSAMPLE}
    return options
