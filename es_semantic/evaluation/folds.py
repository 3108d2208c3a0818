"""Choose on some queries, judge on the others: cross-validation as pure functions over a table of values."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
"""Values of shape (candidates, queries)."""


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """``held_out`` has for each query the value of the candidate that was chosen without it; ``chosen`` is that
    candidate for each fold, ``best`` the one chosen by all queries."""

    held_out: tuple[float, ...]
    chosen: tuple[int, ...]
    best: int


def cross_validate(table: Table, folds: Sequence[Sequence[int]]) -> CrossValidated:
    """Choose for each fold the candidate with the highest mean over the queries of all other folds.

    The first of several equally good ones is chosen.
    """
    queries = table.shape[1]
    held_out = np.zeros(queries)
    chosen = []
    for fold in folds:
        rest = np.setdiff1d(np.arange(queries), np.asarray(fold))
        winner = best(table[:, rest])
        held_out[list(fold)] = table[winner, list(fold)]
        chosen.append(winner)
    return CrossValidated(tuple(held_out.tolist()), tuple(chosen), best(table))


def best(table: Table) -> int:
    """Return the candidate with the highest mean."""
    # Rounded, so that the order in which floating-point numbers were added does not decide.
    return int(np.argmax(np.round(table.mean(axis=1), 9)))


def split(count: int, folds: int, *, seed: int) -> list[list[int]]:
    """Return the numbers below ``count`` in so many parts, shuffled, whose sizes differ by one at most."""
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    return [sorted(numbers[start::folds]) for start in range(folds)]
