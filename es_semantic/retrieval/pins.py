"""Documents that stand first, whatever they score: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from es_semantic.retrieval.found import Key, Ranking
from es_semantic.retrieval.leaves import pin_name
from es_semantic.retrieval.tree.nodes import PinnedDocument

MAX_ORGANIC_SCORE = 2.0**127
"""Above it lie the scores of pinned documents (Elastic docs, "Pinned query"); others are cut off there."""

IsPinned = Callable[[PinnedDocument, Key], bool]
"""Whether this is the document that a pin means."""


def pinned(
    pins: Sequence[PinnedDocument], there: Ranking, others: Ranking, is_pinned: IsPinned, tie: Callable[[Key], Any]
) -> Ranking:
    """Return the pinned documents that are ``there``, in the order of ``pins``, then the others.

    A pin without an index stands for the document of that id in every index: these score the same, and ``tie`` orders
    them. Each pin's score is the next number of single precision above that of the pin after it, as in Elasticsearch.
    """
    best = int(np.float32(MAX_ORGANIC_SCORE).view(np.int32)) + 1 + len(pins)
    first: dict[Key, float] = {}
    for place, pin in enumerate(pins):
        meant = sorted((key for key, _ in there if key not in first and is_pinned(pin, key)), key=tie)
        first |= dict.fromkeys(meant, float(np.int32(best - place).view(np.float32)))
    return [*first.items(), *((key, min(score, MAX_ORGANIC_SCORE)) for key, score in others if key not in first)]


def by_name(named: Callable[[Key], Sequence[str]]) -> IsPinned:
    """Return how to tell by the names of the queries that have found a document (see ``leaves.pinned_query``)."""

    def is_pinned(pin: PinnedDocument, key: Key) -> bool:
        return pin.id == key[1] and pin_name(pin.index) in named(key)

    return is_pinned
