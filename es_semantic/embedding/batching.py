"""Batches by token budget, and the checks that every vector must pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import BadVector

TOKEN_BUDGET = 4096
"""Padded tokens per batch: a batch's cost is its longest text times its size."""

SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)


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


def spread_batches(lengths: Sequence[int], *, streams: int, budget: int = TOKEN_BUDGET) -> list[list[int]]:
    """Group positions as :func:`plan_batches` does, for a model that runs ``streams`` batches at once.

    The batches are as many as keep all streams busy to the end, at least two for each, as far as there are texts; and
    as small as that allows, so that none is waited for alone.
    """
    needed = len(plan_batches(lengths, budget=budget))
    wanted = max(2, math.ceil(needed / streams)) * streams
    low, high = 1, budget
    while low < high:
        middle = (low + high) // 2
        if len(plan_batches(lengths, budget=middle)) <= wanted:
            high = middle
        else:
            low = middle + 1
    return plan_batches(lengths, budget=low)


def embed_in_batches(
    texts: Sequence[str], batches: list[list[int]], encode: Callable[[list[str]], Vectors], *, dims: int | None
) -> Vectors:
    """Encode batch by batch and return all vectors in the order of the texts, shape (texts, dims).

    Without ``dims``, the first batch tells their size and the others must have the same.

    Raises:
        BadVector: see :func:`checked`.
    """
    vectors = np.empty((len(texts), dims or 0), dtype=np.float32)
    for batch in batches:
        part = checked(encode([texts[i] for i in batch]), len(batch), dims)
        if dims is None:
            dims = part.shape[1]
            vectors = np.empty((len(texts), dims), dtype=np.float32)
        vectors[batch] = part
    return vectors


def checked(vectors: Any, count: int, dims: int | None) -> Vectors:
    """Return the vectors, an array or lists of real numbers, as a float32 array of shape (count, dims).

    Raises:
        BadVector: wrong number, wrong size, a value that is not a number or not finite in float32, or a vector whose
            squared length is zero or infinite in float32, in which Elasticsearch computes it.
    """
    array = _float32(vectors, count)
    if array.ndim != 2 or array.shape[0] != count or (dims is not None and array.shape[1] != dims):
        wanted = f"({count}, {dims if dims is not None else 'dims'})"
        raise BadVector(f"the model returned an array of shape {array.shape}, wanted {wanted}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise BadVector(f"the model returned NaN or infinity for text {int(np.argmin(finite))} of a batch of {count}")
    squares = np.einsum("ij,ij->i", array, array, dtype=np.float64)
    usable = (squares >= SMALLEST) & (squares <= LARGEST)
    if not usable.all():
        worst = int(np.argmin(usable))
        kind = "zero vector" if squares[worst] < SMALLEST else "vector too long for float32"
        raise BadVector(f"the model returned a {kind} for text {worst} of a batch of {count}")
    return array


def _float32(vectors: Any, count: int) -> Vectors:
    try:
        array = np.asarray(vectors)
    except (TypeError, ValueError) as error:
        raise BadVector(f"the model returned something that is not {count} vectors of one size") from error
    if array.dtype.kind not in "fiu":
        raise BadVector(f"the model returned something that is not numbers (numpy type {array.dtype})")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)
