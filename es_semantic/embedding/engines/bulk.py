"""The engine of one embedder: prepared and checked at the first bulk call, then kept for the process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Literal

from es_semantic.embedding.engines.choice import MIN_COSINE, Trial, fastest
from es_semantic.embedding.engines.hardware import no_bf16
from es_semantic.embedding.engines.openvino_model import require_openvino
from es_semantic.embedding.engines.prepare import int8_engine, openvino_engines
from es_semantic.embedding.engines.protocol import Engine, LoadedModel
from es_semantic.embedding.engines.torch_bf16 import TorchBf16Engine
from es_semantic.embedding.engines.trial import timed, tried
from es_semantic.embedding.protocol import Vectors
from es_semantic.errors import BadVector, InputRejected, MissingExtra, ModelError, ModelUnavailable

BULK = 64
"""Texts in one call from which on preparing an engine (a few seconds) pays; smaller calls do not start it."""

EngineName = Literal["auto", "torch", "torch-bf16", "openvino", "openvino-int8"]

log = logging.getLogger("es_semantic.embedding")


def require_libraries(wanted: EngineName) -> None:
    """Check that what a configured engine needs is installed, without importing it; auto does with what there is.

    Raises:
        MissingExtra: with the command that installs it.
    """
    if wanted in ("openvino", "openvino-int8"):
        require_openvino(wanted)


class BulkEngine:
    """Chooses the engine for documents. Safe to use from several threads: one prepares, the others wait for it."""

    def __init__(self, wanted: EngineName, loaded: LoadedModel) -> None:
        """Nothing is prepared yet."""
        self._wanted = wanted
        self._loaded = loaded
        self._chosen: Engine | None = loaded.reference if wanted == "torch" else None
        self._failure: ModelError | None = None
        self._preparing = threading.Lock()

    def for_texts(self, count: int) -> Engine:
        """Return the engine for a call of ``count`` texts: torch in float32 until the first bulk call.

        Raises:
            ModelUnavailable: the configured engine cannot run here, or gives other vectors than torch in float32. It
                is raised by every later call too, so that no text is blamed for it.
        """
        if self._chosen is None and self._failure is None:
            if count < BULK:
                return self._loaded.reference
            with self._preparing:
                if self._chosen is None and self._failure is None:
                    self._prepare()
        if self._failure is not None:
            raise self._failure
        assert self._chosen is not None
        return self._chosen

    def _prepare(self) -> None:
        try:
            self._chosen = self._auto() if self._wanted == "auto" else self._explicit()
        except (MissingExtra, ModelUnavailable) as error:
            self._failure = error

    def _auto(self) -> Engine:
        try:
            wanted, speed = timed(self._loaded.reference)
        except (InputRejected, BadVector) as error:
            log.info("model %s: engine torch, because it cannot embed the probe texts: %s", self._name, error.what)
            return self._loaded.reference
        reference = Trial(self._loaded.reference.name, speed, 1.0, 1.0)
        engines: dict[str, Engine] = {reference.name: self._loaded.reference}
        trials: list[Trial] = []
        for name, make in self._candidates().items():
            for engine, trial in self._try(name, make, wanted):
                trials.append(trial)
                if engine is not None:
                    engines[trial.name] = engine
        chosen = engines[fastest(reference, trials)]
        log.info(
            "model %s: engine %s, the fastest on the probe texts (%s)",
            self._name,
            chosen.name,
            ", ".join(f"{t.name} {t.speed / speed:.2f}x torch" for t in (reference, *trials) if t.speed),
        )
        return chosen

    def _candidates(self) -> dict[str, Callable[[], Sequence[Callable[[], Engine]]]]:
        """What auto tries: only what is installed and what the hardware can do."""
        found: dict[str, Callable[[], Sequence[Callable[[], Engine]]]] = {}
        if not no_bf16(self._loaded.model.device):
            found["torch-bf16"] = lambda: [self._torch_bf16]
        if self._loaded.on_cpu:
            try:
                require_openvino("openvino")
            except MissingExtra as missing:
                log.info("model %s: openvino is not tried: %s (%s)", self._name, missing.what, missing.hint)
            else:
                found["openvino"] = lambda: openvino_engines(self._loaded)
        return found

    def _try(
        self, name: str, make: Callable[[], Sequence[Callable[[], Engine]]], wanted: Vectors
    ) -> list[tuple[Engine | None, Trial]]:
        """Try the number formats of one engine, fastest first, until one has the right vectors."""
        found: list[tuple[Engine | None, Trial]] = []
        try:
            for build in make():
                engine = build()
                trial = tried(engine, wanted)
                found.append((engine, trial))
                if not trial.problem:
                    break
                log.warning("model %s: engine %s is refused: %s", self._name, engine.name, trial.problem)
        except ModelUnavailable as error:
            log.info("model %s: engine %s is not available: %s", self._name, name, error.what)
            found.append((None, Trial(name, refusal=error.what)))
        return found

    def _explicit(self) -> Engine:
        if self._wanted == "openvino-int8":
            engine = int8_engine(self._loaded)
            self._show_loss(engine)
            return engine
        builds = [self._torch_bf16] if self._wanted == "torch-bf16" else openvino_engines(self._loaded)
        wanted = self._reference_vectors()
        refused = ""
        for build in builds:
            engine = build()
            trial = tried(engine, wanted)
            if not trial.problem:
                log.info("model %s: engine %s, min cosine %.6f", self._name, engine.name, trial.min_cosine)
                return engine
            log.warning("model %s: engine %s is refused: %s", self._name, engine.name, trial.problem)
            refused = f"{engine.name}: {trial.problem}"
        raise ModelUnavailable(
            f"model {self._name!r} cannot run with engine {self._wanted}: {refused}",
            hint="Set models.*.engine to auto or torch.",
        )

    def _show_loss(self, engine: Engine) -> None:
        trial = tried(engine, self._reference_vectors())
        if trial.refusal:
            raise ModelUnavailable(
                f"model {self._name!r} cannot run with engine {engine.name}: {trial.refusal}",
                hint="Set models.*.engine to auto or torch.",
            )
        log.warning(
            "model %s: engine %s gives other vectors than torch in float32: cosine at least %.4f, on average %.4f "
            "(the engines that auto chooses from: at least %s)",
            *(self._name, engine.name, trial.min_cosine, trial.mean_cosine, MIN_COSINE),
        )

    def _reference_vectors(self) -> Vectors:
        try:
            return timed(self._loaded.reference)[0]
        except (InputRejected, BadVector) as error:
            raise ModelUnavailable(
                f"model {self._name!r}: engine {self._wanted} cannot be checked, because torch fails on the probe "
                f"texts: {error.what}",
                hint="Set models.*.engine to torch.",
            ) from error

    def _torch_bf16(self) -> Engine:
        return TorchBf16Engine(self._loaded, self._loaded.reference.embed)

    @property
    def _name(self) -> str:
        return self._loaded.name
