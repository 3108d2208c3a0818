"""A whole SentenceTransformers model (transformer, pooling, normalise, dense) as one OpenVINO model."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from es_semantic.embedding.engines.probes import PROBES
from es_semantic.embedding.engines.protocol import LoadedModel
from es_semantic.embedding.engines.telemetry import silence_telemetry
from es_semantic.embedding.engines.tokens import TASK, library_features
from es_semantic.errors import MissingExtra, ModelUnavailable

EXAMPLES = [PROBES[2], PROBES[40]]
"""Texts of different length, so that the traced batch has padding and its mask stays part of the model."""

INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


@dataclass(frozen=True, slots=True)
class Converted:
    """An OpenVINO ``model`` with ``inputs`` of shape (texts, tokens), int64, and one output (texts, dims).

    Tokens must be below ``vocabulary``: OpenVINO reads past the table of embeddings where torch raises.
    """

    model: Any
    inputs: tuple[str, ...]
    window: int
    vocabulary: int


def require_openvino(engine: str) -> None:
    """Check that the libraries of an engine are installed, without importing them.

    Raises:
        MissingExtra: with the command that installs them.
    """
    needed = ("openvino", "nncf") if engine == "openvino-int8" else ("openvino",)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"engine {engine} needs {' and '.join(missing)}, which is not installed",
            hint=f"pip install 'es-semantic[{engine}]', or set models.*.engine to auto or torch",
        )


def unsupported(loaded: LoadedModel) -> str:
    """Return why this model cannot be converted; empty if that can be tried."""
    modules = {type(module).__name__ for module in loaded.model.modules()}
    first = loaded.model[0]
    if not loaded.on_cpu:
        return f"the model is on device {loaded.model.device}, and this engine is for CPUs"
    if modules & {"Router", "Asym"}:
        return "it has different modules for documents and queries (Router)"
    if type(first).__name__ != "Transformer" or "message" in getattr(first, "modality_config", {}):
        return f"it does not begin with a plain text Transformer but with {type(first).__name__}"
    if loaded.window is None:
        return "it has no window, so nothing bounds the length of a batch"
    positions = getattr(first.auto_model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and 0 < positions < loaded.window:
        return f"its window ({loaded.window} tokens) is longer than its {positions} positions"
    return ""


def convert(loaded: LoadedModel) -> Converted:
    """Convert the model; takes about a second for a small one, during which queries wait.

    Raises:
        MissingExtra: OpenVINO is not installed.
        ModelUnavailable: the model cannot be converted.
    """
    require_openvino("openvino")
    reason = unsupported(loaded)
    if reason:
        raise _cannot(loaded, reason)
    silence_telemetry()
    import openvino

    features = library_features(loaded, EXAMPLES)
    tensors = {name: value for name, value in features.items() if hasattr(value, "shape")}
    if not tensors.keys() <= INPUTS:
        raise _cannot(loaded, f"it takes inputs that this engine does not know: {sorted(tensors.keys() - INPUTS)}")
    names = tuple(tensors)
    constants = {name: value for name, value in features.items() if name not in tensors}
    try:
        with loaded.turn, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = openvino.convert_model(
                _forward(loaded.model, names, constants), example_input=tuple(tensors[name] for name in names)
            )
    except Exception as error:
        # Tracing runs the model's own code and the converter's, so any class may come.
        raise _cannot(loaded, f"{type(error).__name__}: {str(error).strip()[:300]}") from error
    for name, port in zip(names, model.inputs, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_element_type(openvino.Type.i64)
        port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
    model.validate_nodes_and_infer_types()
    assert loaded.window is not None
    rows = loaded.model[0].auto_model.get_input_embeddings().num_embeddings
    return Converted(model, names, loaded.window, int(rows))


def quantised(converted: Converted, batches: list[dict[str, Any]]) -> Converted:
    """Return the model with its matrix products in int8, their ranges learnt from the batches; takes some seconds.

    Raises:
        MissingExtra: NNCF is not installed.
        ModelUnavailable: the model cannot be quantised.
    """
    require_openvino("openvino-int8")
    silence_telemetry()
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _no_progress_bars():
            warnings.simplefilter("ignore")
            model = nncf.quantize(
                converted.model,
                nncf.Dataset(batches),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(batches),
            )
    except Exception as error:
        raise ModelUnavailable(
            f"the model cannot be quantised to int8: {type(error).__name__}: {str(error).strip()[:300]}",
            hint="Set models.*.engine to auto.",
        ) from error
    return Converted(model, converted.inputs, converted.window, converted.vocabulary)


def _forward(model: Any, names: tuple[str, ...], constants: dict[str, Any]) -> Any:
    """The model as a torch module from tensors to the sentence embedding."""
    import torch

    class Forward(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            features = {**constants, **dict(zip(names, tensors, strict=True))}
            found = self.model(features, task=TASK)["sentence_embedding"]
            return found if model.truncate_dim is None else found[..., : model.truncate_dim]

    return Forward().eval()


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """NNCF draws bars on stdout, and only its own class knows the switch."""
    from nncf.common.logging.track_progress import track

    draw = track.__init__

    def hide(self: Any, *args: Any, **kwargs: Any) -> None:
        draw(self, *args, **{**kwargs, "disable": True})

    track.__init__ = hide
    try:
        yield
    finally:
        track.__init__ = draw


def _cannot(loaded: LoadedModel, reason: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"model {loaded.name!r} cannot run with OpenVINO: {reason}",
        hint="Set models.*.engine to auto, which takes the fastest engine that gives the same vectors.",
    )
