"""Vectors as base64 of big-endian float32: the string form of a dense_vector, from Elasticsearch 9.3 on."""

from __future__ import annotations

import numpy as np
import pybase64
from numpy.typing import NDArray


def encode_vector(vector: NDArray[np.float32]) -> str:
    """Return the base64 string of a vector of shape (dims,)."""
    return pybase64.b64encode(np.ascontiguousarray(vector, dtype=">f4").tobytes()).decode("ascii")


def decode_vector(text: str) -> NDArray[np.float32]:
    """Return the vector, shape (dims,), of a base64 string.

    Raises:
        ValueError: the string is not base64 of whole float32 numbers.
    """
    return np.frombuffer(pybase64.b64decode(text, validate=True), dtype=">f4").astype(np.float32)
