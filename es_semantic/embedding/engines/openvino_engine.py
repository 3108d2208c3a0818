"""OpenVINO on the CPU: several batches in flight, each of similar length."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from es_semantic.embedding.batching import checked, spread_batches
from es_semantic.embedding.engines.openvino_model import Converted
from es_semantic.embedding.engines.protocol import LoadedModel
from es_semantic.embedding.engines.tokens import DocumentTokenizer, Features, Tokenised
from es_semantic.embedding.engines.unit import unit_length
from es_semantic.embedding.protocol import Embeddings, Vectors
from es_semantic.embedding.unicode import encodable
from es_semantic.errors import InputRejected

TOKEN_BUDGET = 1024
"""Padded tokens per batch: small enough for the caches, large enough for full matrix products."""

WIDTHS = 8
"""Batches are padded to a multiple of so many tokens: OpenVINO compiles kernels for each shape that it meets, and keeps
thousands of them."""

SLICE = 512
"""Texts that are tokenised and sorted by length together: tokenising one slice overlaps with the inference of the one
before, and no more than these texts' tokens are held."""


class OpenVinoEngine:
    """One compiled model. Safe to use from several threads: each call has its own queue of requests."""

    def __init__(self, loaded: LoadedModel, converted: Converted, *, precision: str, name: str) -> None:
        """Compile the model; ``precision`` is OpenVINO's name of the number format: ``f32`` or ``bf16``."""
        self.name = name
        self._loaded = loaded
        self._converted = converted
        self._tokenizer = DocumentTokenizer(loaded, converted.window)
        self._compiled = _core().compile_model(
            converted.model,
            "CPU",
            {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision, **_threads(os.environ)},
        )
        self._streams = int(self._compiled.get_property("NUM_STREAMS"))

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.engines.Engine`."""
        import openvino

        found: list[tuple[list[int], Vectors]] = []
        over_long: list[int] = []

        def keep(request: Any, positions: list[int]) -> None:
            found.append((positions, request.get_output_tensor(0).data.copy()))

        queue = openvino.AsyncInferQueue(self._compiled)
        queue.set_callback(keep)
        try:
            for start in range(0, len(texts), SLICE):
                tokenised = self._tokenizer.tokenise(encodable(texts[start : start + SLICE]))
                over_long.extend(start + i for i in tokenised.over_long)
                for batch in spread_batches(tokenised.lengths, streams=self._streams, budget=TOKEN_BUDGET):
                    queue.start_async(self._features(tokenised, batch), [start + i for i in batch])
        finally:
            # Also after a failure: no request may outlive the queue.
            _wait(queue, self._loaded.name)
        return Embeddings(self._in_order(found, len(texts)), tuple(over_long))

    def _features(self, tokenised: Tokenised, batch: list[int]) -> Features:
        longest = max(tokenised.lengths[i] for i in batch)
        width = min(-(-longest // WIDTHS) * WIDTHS, self._converted.window)
        features = self._tokenizer.padded([tokenised.rows[i] for i in batch], width=width)
        if int(features["input_ids"].max()) >= self._converted.vocabulary:
            raise InputRejected(
                f"model {self._loaded.name!r} fails for one of {len(batch)} texts: it has no embedding for one of its "
                "tokens"
            )
        return {name: features[name] for name in self._converted.inputs}

    def _in_order(self, found: list[tuple[list[int], Vectors]], count: int) -> Vectors:
        dims = self._compiled.output(0).partial_shape[1].get_max_length()
        vectors = np.empty((count, dims), dtype=np.float32)
        for positions, part in found:
            vectors[positions] = checked(part, len(positions), dims)
        return unit_length(vectors) if self._loaded.normalized else vectors


def bf16_on_cpu() -> bool:
    """Whether OpenVINO computes in bfloat16 with this CPU's own instructions."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _wait(queue: Any, model: str) -> None:
    try:
        queue.wait_all()
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or [""]
        raise InputRejected(f"model {model!r} fails in OpenVINO: {lines[-1][:300]}") from error


@lru_cache(maxsize=1)
def _core() -> Any:
    import openvino

    return openvino.Core()


def _threads(environ: Mapping[str, str]) -> dict[str, int]:
    """OpenVINO has threads of its own; whoever limits those of OpenMP, as torch has them, means these as well."""
    number = environ.get("OMP_NUM_THREADS", "")
    return {"INFERENCE_NUM_THREADS": int(number)} if number.isdigit() and int(number) else {}
