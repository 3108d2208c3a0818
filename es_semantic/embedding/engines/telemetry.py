"""OpenVINO and NNCF without their usage statistics."""

from __future__ import annotations

import sys
from typing import Any


def silence_telemetry() -> None:
    """Make sure that neither OpenVINO nor NNCF sends anything from this process. Call it before importing them.

    Both send through the package openvino_telemetry: without a consent file in the home folder they take silence for
    consent when a model is converted or quantised. Both do without that package where it cannot be imported, so its
    name is blocked. Where the program has imported it before us, its one way out, the sender, is closed instead.
    """
    # Blocking the name is a documented effect of None (Python docs, "The import system", "The module cache").
    module = sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if module is not None:
        from openvino_telemetry.utils import sender

        sender.TelemetrySender.send = _nothing


def _nothing(*_: Any, **__: Any) -> None:
    return None
