"""What a fusion returns: documents with their fused score and their place in each leg."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one leg puts a document: ``rank`` from 1, and the leg's own ``score``."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Fused(Generic[K]):
    """One document after fusion; ``places`` has one entry per leg, None where the leg did not find it."""

    key: K
    score: float
    places: tuple[Place | None, ...]


def named(places: Sequence[Place | None], names: Sequence[str]) -> Mapping[str, Place]:
    """Return the places by leg name, without the legs that did not find the document."""
    return {name: place for name, place in zip(names, places, strict=True) if place is not None}
