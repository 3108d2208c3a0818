"""What every fusion takes and returns: ranked lists, and documents with their place in each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from es_semantic.errors import UsageError

K = TypeVar("K", bound=Hashable)

Legs = Sequence[Sequence[tuple[K, float]]]
"""Ranked lists of (key, score), best first."""

Tie = Callable[[K], Any]
"""What decides between equal scores: the smaller one goes first."""


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


def placed(legs: Legs[K]) -> dict[K, list[Place | None]]:
    """Return each key's place in every leg, keys in the order of their first appearance.

    Raises:
        UsageError: a leg names a key twice.
    """
    rows: dict[K, list[Place | None]] = {}
    for number, leg in enumerate(legs):
        for rank, (key, score) in enumerate(leg, start=1):
            row = rows.setdefault(key, [None] * len(legs))
            if row[number] is not None:
                raise UsageError(f"leg {number} names {key!r} twice")
            row[number] = Place(rank, score)
    return rows


def ordered(fused: Iterable[Fused[K]], tie: Tie[K] | None) -> list[Fused[K]]:
    """Return the documents by score, best first.

    Equal scores are ordered by ``tie``. Without one the first leg that has either document decides: for the one it has,
    or for the one it ranks higher.
    """
    return sorted(
        fused, key=lambda document: (-document.score, _first_places(document) if tie is None else tie(document.key))
    )


def single(number: float) -> float:
    """Round to single precision, in which Elasticsearch keeps and adds scores.

    >>> single(1 / 61)
    0.016393441706895828
    """
    return float(np.float32(number))


def summed(legs: Legs[K], terms: Sequence[NDArray[np.floating[Any]]], tie: Tie[K] | None) -> list[Fused[K]]:
    """Return the documents by the sum of their ``terms``: what each leg adds for each of its ranks.

    Sums are made leg by leg in the precision of the terms: with single precision, as Elasticsearch's own fusion has it,
    what is a tie there is one here, and from the third leg on the last digit may depend on the order of the legs. With
    double precision it does not, because the sum is rounded once.

    Raises:
        UsageError: a leg names a key twice.
    """
    rows = placed(legs)
    totals = np.zeros(len(rows), dtype=np.result_type(np.float32, *terms))
    numbers = {key: number for number, key in enumerate(rows)}
    for leg, added in zip(legs, terms, strict=True):
        totals[[numbers[key] for key, _ in leg]] += added
    scores = totals.astype(np.float32).tolist()
    return ordered([Fused(key, score, tuple(row)) for (key, row), score in zip(rows.items(), scores, strict=True)], tie)


def require_weights(weights: Sequence[float] | None, legs: Legs[K]) -> Sequence[float]:
    """Return one weight for each leg; 1 where none are given.

    Raises:
        UsageError: their number is not that of the legs, or one is negative or not finite.
    """
    if weights is None:
        return [1.0] * len(legs)
    if len(weights) != len(legs):
        raise UsageError(f"there are {len(legs)} legs and {len(weights)} weights")
    for weight in weights:
        if not (math.isfinite(weight) and weight >= 0):
            raise UsageError(f"a weight must be 0 or more, not {weight}")
    return weights


def _first_places(document: Fused[K]) -> tuple[float, ...]:
    return tuple(math.inf if place is None else place.rank for place in document.places)
