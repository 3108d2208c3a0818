"""Batches by token budget, and the checks that every vector must pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import BadVector

TOKEN_BUDGET = 4096
"""Padded tokens per batch: a batch's cost is its longest text times its size."""


def plan_batches(
    lengths: Sequence[int], *, budget: int = TOKEN_BUDGET, max_texts: int | None = None
) -> list[list[int]]:
    """Group positions into batches of similar length, longest first.

    Every position is in exactly one batch; the longest length of a batch times its size is at most ``budget``, except
    for a text that alone is longer; a batch holds at most ``max_texts``.
    """
    batches: list[list[int]] = []
    longest = 0
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        full = not batches or (len(batches[-1]) + 1) * longest > budget or len(batches[-1]) == max_texts
        if full:
            batches.append([])
            longest = max(lengths[position], 1)
        batches[-1].append(position)
    return batches


def embed_in_batches(
    texts: Sequence[str], batches: list[list[int]], encode: Callable[[list[str]], Vectors], *, dims: int | None
) -> Vectors:
    """Encode batch by batch and return all vectors in the order of the texts, shape (texts, dims).

    Raises:
        BadVector: see :func:`checked`.
    """
    parts = [checked(encode([texts[i] for i in batch]), len(batch), dims) for batch in batches]
    if not parts:
        return np.empty((0, dims or 0), dtype=np.float32)
    vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
    for batch, part in zip(batches, parts, strict=True):
        vectors[batch] = part
    return vectors


def checked(vectors: Vectors, count: int, dims: int | None) -> Vectors:
    """Return the vectors as a float32 array of shape (count, dims).

    Raises:
        BadVector: wrong number, wrong size, a value that is not finite in float32, or a vector of length zero.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BadVector(f"the model returned something that is not {count} vectors of one size") from error
    if array.ndim != 2 or array.shape[0] != count or (dims is not None and array.shape[1] != dims):
        wanted = f"({count}, {dims if dims is not None else 'dims'})"
        raise BadVector(f"the model returned an array of shape {array.shape}, wanted {wanted}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise BadVector(f"the model returned NaN or infinity for text {int(np.argmin(finite))} of a batch of {count}")
    norms = np.linalg.norm(array.astype(np.float64), axis=1)
    if not (norms > 0).all():
        raise BadVector(f"the model returned a zero vector for text {int(np.argmin(norms))} of a batch of {count}")
    return array
