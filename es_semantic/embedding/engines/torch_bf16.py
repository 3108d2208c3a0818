"""torch with bfloat16 matrix products, where the hardware has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from es_semantic.embedding.engines.hardware import no_bf16
from es_semantic.embedding.engines.protocol import LoadedModel
from es_semantic.embedding.engines.unit import unit_length
from es_semantic.embedding.protocol import Embeddings, Vectors
from es_semantic.errors import ModelUnavailable


class TorchBf16Engine:
    """The torch path under autocast; weights stay float32, so queries are not touched."""

    name = "torch-bf16"

    def __init__(self, loaded: LoadedModel, embed: Callable[[Sequence[str]], Embeddings]) -> None:
        """``embed`` is the float32 path of the same model.

        Raises:
            ModelUnavailable: no hardware for bfloat16.
        """
        self._loaded = loaded
        self._embed = embed
        reason = no_bf16(loaded.model.device)
        if reason:
            raise ModelUnavailable(
                f"model {loaded.name!r} cannot run with engine torch-bf16: {reason}",
                hint="Set models.*.engine to auto, which takes the fastest engine that this machine has.",
            )

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.engines.Engine`."""
        import torch

        with torch.autocast(self._loaded.model.device.type, dtype=torch.bfloat16):
            found = self._embed(texts)
        vectors: Vectors = found.vectors.astype(np.float32, copy=False)
        return Embeddings(unit_length(vectors) if self._loaded.normalized else vectors, found.over_long)
