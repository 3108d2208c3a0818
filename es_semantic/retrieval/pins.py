"""Documents that stand first, whatever they score: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from es_semantic.retrieval.found import Ranking
from es_semantic.retrieval.tree.nodes import PinnedDocument

MAX_ORGANIC_SCORE = 2.0**127
"""Above it lie the scores of pinned documents (Elastic docs, "Pinned query"); others are cut off there."""


def pinned(pins: Sequence[PinnedDocument], there: Ranking, others: Ranking) -> Ranking:
    """Return the pinned documents that are ``there``, in the order of ``pins``, then the others.

    A pin without an index stands for the document of that id in every index, in the order in which they were found.
    """
    first = [key for pin in pins for key, _ in there if key[1] == pin.id and (pin.index is None or pin.index == key[0])]
    first = list(dict.fromkeys(first))
    scores = _scores(len(first))
    return [
        *zip(first, scores, strict=True),
        *((key, min(score, MAX_ORGANIC_SCORE)) for key, score in others if key not in first),
    ]


def _scores(count: int) -> list[float]:
    """The next numbers of single precision above the best that is not pinned, the first the highest."""
    score, scores = np.float32(MAX_ORGANIC_SCORE), []
    for _ in range(count):
        score = np.nextafter(score, np.float32(math.inf))
        scores.append(float(score))
    return scores[::-1]
