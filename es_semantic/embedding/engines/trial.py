"""Run an engine on the probe texts, beside torch in float32."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from es_semantic.embedding.engines.choice import Trial
from es_semantic.embedding.engines.probes import PROBES
from es_semantic.embedding.engines.protocol import Engine
from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import BadVector, InputRejected, ModelUnavailable

WARM_UP = slice(36, 44)
"""Probes that an engine embeds before it is timed: short and middle ones, so that the first call's allocations and
compilations are not counted."""


def timed(engine: Engine, texts: Sequence[str] = PROBES) -> tuple[Vectors, float]:
    """Return the vectors of the texts, shape (texts, dims), and texts a second, after a warm-up.

    Raises:
        InputRejected: the engine refuses a probe text.
        BadVector: the engine made an unusable vector.
        ModelUnavailable: the engine does not run.
    """
    engine.embed(PROBES[WARM_UP])
    start = time.perf_counter()
    vectors = engine.embed(texts).vectors
    return vectors, len(texts) / max(time.perf_counter() - start, 1e-9)


def tried(engine: Engine, wanted: Vectors, texts: Sequence[str] = PROBES) -> Trial:
    """Return how the engine did against the ``wanted`` vectors of the same texts; a failure becomes its refusal."""
    try:
        vectors, speed = timed(engine, texts)
    except (InputRejected, BadVector, ModelUnavailable) as error:
        return Trial(engine.name, refusal=error.what)
    if vectors.shape != wanted.shape:
        return Trial(engine.name, refusal=f"it makes vectors of shape {vectors.shape}, torch {wanted.shape}")
    found = cosines(vectors, wanted)
    return Trial(engine.name, speed, float(found.min()), float(found.mean()))


def cosines(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows, shape (rows,), computed in float64."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    found: NDArray[np.float64] = np.einsum("ij,ij->i", x, y) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    return found
