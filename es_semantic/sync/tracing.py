"""OpenTelemetry spans of a worker, where the application has OpenTelemetry; nothing at all where it has not.

Spans are recorded when what they measure has ended, so that a procedure needs no context: ``es_semantic.pass`` over a
pass, ``es_semantic.embed`` over one batch, ``es_semantic.bulk`` over one request. Attributes are numbers and names.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any


def record_span(name: str, seconds: float, **attributes: str | int) -> None:
    """Record a span that ends now and began so many seconds ago; attributes get the prefix ``es_semantic.``."""
    tracer = _tracer()
    if tracer is None:
        return
    end = time.time_ns()
    named = {f"es_semantic.{key}": value for key, value in attributes.items()}
    tracer.start_span(f"es_semantic.{name}", attributes=named, start_time=end - int(seconds * 1e9)).end(end)


@cache
def _tracer() -> Any:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer("es_semantic")
