"""Bindings and targets for tests that need no server."""

from __future__ import annotations

from typing import Any

from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.target import Gives, Kind, Target
from tests.embedder import TinyEmbedder

TEXT = {"type": "text"}


def binding(*source: str, dims: int = 64) -> Binding:
    fingerprint = TinyEmbedder(dims=dims).profile.fingerprint
    options = {"type": "int8_hnsw", "m": 16}
    return Binding(source=list(source), fingerprint=fingerprint, similarity="cosine", index_options=options)


def bindings(owner: str | None = None, **fields: Binding) -> Bindings:
    return Bindings(owner_final_pipeline=owner, fields=fields)


def index(mapping: dict[str, Any], *, name: str = "books", **settings: str) -> Target:
    """An index with this mapping; settings by the last part of their name, such as ``final_pipeline``."""
    flat = {f"index.{key}": value for key, value in settings.items()}
    return Target("index", name, mapping, flat, indices={name: Gives(mapping, flat)})


def templated(kind: Kind, body: dict[str, Any], mapping: dict[str, Any], *, final: str | None = None) -> Target:
    """An index template, or a data stream of one index that is made from it."""
    settings = {"index.final_pipeline": final} if final else {}
    gives = Gives(mapping, settings)
    indices = {".ds-logs-000001": gives} if kind == "data stream" else {}
    return Target(kind, "logs", mapping, settings, "logs-template", body, gives, indices)
