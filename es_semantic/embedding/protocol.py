"""What every embedding model looks like to the other rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from es_semantic.embedding.fingerprint import Fingerprint

Vectors = NDArray[np.float32]
Similarity = Literal["cosine", "dot_product", "l2_norm", "max_inner_product"]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """``vectors`` has shape (texts, dims), float32, every row finite and non-zero, in the order of the texts.

    ``over_long`` holds the positions of texts that are longer than the model's window: their vector stands for their
    beginning only.
    """

    vectors: Vectors
    over_long: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What an index needs to know of a model.

    ``similarity`` is the dense_vector similarity that the model was trained for; ``max_tokens`` its window, None where
    the provider does not tell.
    """

    fingerprint: Fingerprint
    similarity: Similarity
    max_tokens: int | None

    @property
    def dims(self) -> int:
        """Length of every vector."""
        return self.fingerprint.dims


class Embedder(Protocol):
    """An embedding model. Documents and queries are apart because many models put different prompts before them."""

    @property
    def profile(self) -> ModelProfile:
        """The model's profile; computing it may run the model once, on the probe text."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts that will be searched.

        Raises:
            InputRejected: the model refuses one of the texts.
            ModelUnavailable: the provider does not answer.
            BadVector: the model returned an unusable vector.
        """
        ...

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts to search with; raises as :meth:`embed_documents`."""
        ...
