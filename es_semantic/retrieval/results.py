"""What a search answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from es_semantic.retrieval.fusion.ranked import Place
from es_semantic.retrieval.query import Mode


@dataclass(frozen=True, slots=True)
class Hit:
    """One document: ``score`` after fusion (of the leg itself where there is one leg), ``legs`` by name."""

    index: str
    id: str
    score: float
    legs: Mapping[str, Place]
    source: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first. ``took_ms`` is the wall time of the whole call, embedding included; loading
    the model, which happens once a process, is not."""

    index: str
    mode: Mode
    took_ms: float
    hits: tuple[Hit, ...]
