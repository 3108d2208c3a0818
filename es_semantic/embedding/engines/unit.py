"""Unit length, restored where an engine rounded it away."""

from __future__ import annotations

import numpy as np

from es_semantic.embedding.protocol import Vectors


def unit_length(vectors: Vectors) -> Vectors:
    """Return the vectors, shape (texts, dims), at length 1; none may be zero.

    A model that normalises does so in the engine's number format: in bfloat16, lengths are off by a thousandth.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    found: Vectors = (vectors / lengths).astype(np.float32)
    return found
