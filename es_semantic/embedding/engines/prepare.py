"""From a loaded model to its OpenVINO engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from es_semantic.embedding.engines.openvino_engine import OpenVinoEngine, bf16_on_cpu
from es_semantic.embedding.engines.openvino_model import Converted, convert, quantised
from es_semantic.embedding.engines.probes import PROBES, calibration_texts
from es_semantic.embedding.engines.protocol import Engine, LoadedModel
from es_semantic.embedding.engines.tokens import DocumentTokenizer, library_features
from es_semantic.embedding.unicode import encodable
from es_semantic.errors import ModelUnavailable


def openvino_engines(loaded: LoadedModel) -> list[Callable[[], Engine]]:
    """Convert the model and return what makes its engines, fastest number format first.

    Raises:
        MissingExtra: OpenVINO is not installed.
        ModelUnavailable: the model cannot be converted, or its tokens are not those that the library makes.
    """
    converted = _converted(loaded)
    formats = ("bf16", "f32") if bf16_on_cpu() else ("f32",)
    return [
        partial(OpenVinoEngine, loaded, converted, precision=number, name=f"openvino ({number})") for number in formats
    ]


def int8_engine(loaded: LoadedModel) -> Engine:
    """Convert and quantise the model; raises as :func:`openvino_engines`, MissingExtra also for NNCF."""
    converted = _converted(loaded)
    tokenizer = DocumentTokenizer(loaded, converted.window)
    rows = tokenizer.tokenise(calibration_texts()).rows
    batches: list[dict[str, Any]] = [dict(tokenizer.padded([row])) for row in rows]
    small = quantised(converted, [{name: batch[name] for name in converted.inputs} for batch in batches])
    return OpenVinoEngine(loaded, small, precision="bf16" if bf16_on_cpu() else "f32", name="openvino-int8")


def _converted(loaded: LoadedModel) -> Converted:
    converted = convert(loaded)
    require_same_tokens(loaded, DocumentTokenizer(loaded, converted.window))
    return converted


def require_same_tokens(loaded: LoadedModel, tokenizer: DocumentTokenizer) -> None:
    """Check that the tokens of all probe texts are the ones that SentenceTransformers makes.

    Raises:
        ModelUnavailable: the model prepares its texts in a way of its own.
    """
    texts = encodable(PROBES)
    ours = tokenizer.padded(tokenizer.tokenise(texts).rows)
    theirs = library_features(loaded, texts)
    for name, tokens in ours.items():
        if name not in theirs or not np.array_equal(tokens, theirs[name].cpu().numpy()):
            raise ModelUnavailable(
                f"model {loaded.name!r} cannot run with OpenVINO: it prepares texts in a way of its own ({name})",
                hint="Set models.*.engine to auto, which takes the fastest engine that gives the same vectors.",
            )
