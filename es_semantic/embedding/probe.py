"""The first text that a model embeds: it tells a broken model from a bad text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from es_semantic.embedding.fingerprint import MAX_DIMS, PROBE_TEXT
from es_semantic.embedding.protocol import Embeddings, Vectors
from es_semantic.errors import BadVector, InputRejected, ModelUnavailable


def probe_vector(embed: Callable[[Sequence[str]], Embeddings], model: str) -> Vectors:
    """Return the document vector of the probe sentence, shape (dims,), float32.

    Raises:
        ModelUnavailable: the model cannot embed it, or its vectors are longer than a dense_vector field may be.
    """
    try:
        vector: Vectors = embed([PROBE_TEXT]).vectors[0]
    except (InputRejected, BadVector) as error:
        raise ModelUnavailable(
            f"model {model!r} cannot embed even a plain English sentence: {error.what}",
            hint="Check models.*.name, models.*.url and models.*.dimensions.",
        ) from error
    if vector.shape[0] > MAX_DIMS:
        raise ModelUnavailable(
            f"model {model!r} makes vectors of {vector.shape[0]} dimensions; Elasticsearch takes at most {MAX_DIMS}",
            hint="Choose another model, or ask for shorter vectors with models.*.dimensions where its provider can.",
        )
    return vector
