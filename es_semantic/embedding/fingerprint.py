"""The identity of a model's output. Query and index must agree on it, or similarity means nothing."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from es_semantic.embedding.encoding import decode_vector, encode_vector
from es_semantic.errors import FingerprintMismatch

PROBE_TEXT = "A fixed sentence by which es-semantic recognises an embedding model."

MIN_PROBE_COSINE = 0.99
"""Engines and number formats move a probe vector by less than this (bfloat16 0.998, int8 0.991 measured on
all-MiniLM-L6-v2); other weights move it much farther."""


MAX_DIMS = 4096
"""The longest vector that a dense_vector field takes (Elastic docs, "Dense vector field type")."""


class Fingerprint(BaseModel):
    """What must be equal for two vectors to be comparable.

    ``probe`` is the document vector of :data:`PROBE_TEXT` as base64 of big-endian float32. ``revision``, ``pooling``
    and ``normalized`` are None where the provider does not tell.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    model: str
    revision: str | None = None
    dims: int = Field(ge=1, le=MAX_DIMS)
    pooling: str | None = None
    normalized: bool | None = None
    document_prompt: str = ""
    query_prompt: str = ""
    probe: str

    @cached_property
    def id(self) -> str:
        """Short name for documents and tables: the model's last name and 12 hex digits over all but the probe."""
        identity = orjson.dumps(self.model_dump(exclude={"probe"}), option=orjson.OPT_SORT_KEYS)
        return f"{self.model.rstrip('/').rsplit('/', 1)[-1]}-{hashlib.sha256(identity).hexdigest()[:12]}"


def probe_of(vector: NDArray[np.float32]) -> str:
    """Return a probe vector in the form that a fingerprint keeps."""
    return encode_vector(vector)


def require_same_model(bound: Fingerprint, loaded: Fingerprint, *, index: str) -> None:
    """Check that the model at hand makes vectors comparable with those of the index.

    Raises:
        FingerprintMismatch: with both sides shown.
    """
    names = [name for name in Fingerprint.model_fields if name != "probe"]
    different = [name for name in names if getattr(bound, name) != getattr(loaded, name)]
    if different:
        rows = "\n".join(
            f"  {name}: index {getattr(bound, name)!r}, here {getattr(loaded, name)!r}" for name in different
        )
        raise FingerprintMismatch(
            f"index {index!r} is bound to model {bound.id}, but this is {loaded.id}:\n{rows}",
            hint="Use the model that the index is bound to, or attach another semantic field for this model.",
        )
    cosine = _probe_cosine(bound, loaded)
    if cosine is None:
        raise FingerprintMismatch(
            f"index {index!r} is bound to model {bound.id}, but the probe vector stored in its mapping is unusable, so "
            "nothing tells whether the model here is the same",
            hint="Was _meta.es_semantic edited? Detach the semantic field and attach it again.",
        )
    if cosine < MIN_PROBE_COSINE:
        raise FingerprintMismatch(
            f"index {index!r} is bound to model {bound.id}; the model here has the same name, but its vector of the "
            f"probe sentence differs (cosine {cosine:.4f}, at least {MIN_PROBE_COSINE} wanted)",
            hint="The weights differ: pin models.*.revision to the revision that the index was attached with.",
        )


def is_same_model(bound: Fingerprint, loaded: Fingerprint) -> bool:
    """Say whether :func:`require_same_model` passes."""
    try:
        require_same_model(bound, loaded, index="")
    except FingerprintMismatch:
        return False
    return True


def _probe_cosine(bound: Fingerprint, loaded: Fingerprint) -> float | None:
    """Return the cosine of the two probe vectors, None where one of them is broken."""
    try:
        a, b = (decode_vector(side.probe).astype(np.float64) for side in (bound, loaded))
    except ValueError:
        return None
    if a.shape != (bound.dims,) or b.shape != (loaded.dims,):
        return None
    with np.errstate(all="ignore"):
        cosine = float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))
    return cosine if np.isfinite(cosine) else None
