"""Maximal marginal relevance: which documents stay, so that no two say the same. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_semantic.retrieval.found import Key, Ranking
from es_semantic.retrieval.tree.nodes import Diversify

Rows = NDArray[np.float32]


def diversified(node: Diversify, ranking: Ranking, carried: Mapping[Key, Mapping[str, Any]]) -> Ranking:
    """Return the documents that maximal marginal relevance keeps, in the order they had.

    One after the other the document is taken with the highest ``lambda * similarity to the query - (1 - lambda) *
    highest similarity to one already taken`` (Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for
    Reordering Documents and Producing Summaries", SIGIR 1998); the first is the most similar to the query. Without a
    query vector that similarity is 0. As in Elasticsearch similarity is Lucene's scaled maximum inner product, and
    documents without a vector are left out. Of a document in chunks the most similar chunk counts.
    """
    rows = [vectors_of(carried[key], node.field) for key, _ in ranking]
    numbers = [number for number, row in enumerate(rows) if len(row)]
    if not numbers:
        return []
    query = np.asarray(node.query_vector, dtype=np.float32)[None] if isinstance(node.query_vector, tuple) else None
    to_query = [0.0 if query is None else similarity(rows[number], query) for number in numbers]
    weight = node.lambda_ or 0.0
    taken = [max(range(len(numbers)), key=to_query.__getitem__)]
    to_taken = [-np.inf] * len(numbers)
    while len(taken) < min(node.wanted, len(numbers)):
        last, rest = rows[numbers[taken[-1]]], [each for each in range(len(numbers)) if each not in taken]
        for each in rest:
            to_taken[each] = max(to_taken[each], similarity(rows[numbers[each]], last))
        taken.append(max(rest, key=lambda each: weight * to_query[each] - (1 - weight) * to_taken[each]))
    return [ranking[numbers[each]] for each in sorted(taken)]


def similarity(some: Rows, others: Rows) -> float:
    """Return the highest of Lucene's ``MAXIMUM_INNER_PRODUCT`` between rows: ``dot + 1``, ``1 / (1 - dot)`` below 0."""
    dot = float((some @ others.T).max())
    return 1.0 / (1.0 - dot) if dot < 0 else dot + 1.0


def vectors_of(fields: Mapping[str, Any], name: str) -> Rows:
    """Return the vectors under a field's name, one a row; those of all chunks where it is nested."""
    if name in fields:
        return np.asarray(fields[name], dtype=np.float32).reshape(1, -1)
    for path, entries in fields.items():
        if name.startswith(f"{path}."):
            below = [vectors_of(entry, name[len(path) + 1 :]) for entry in entries if isinstance(entry, Mapping)]
            below = [rows for rows in below if len(rows)]
            return np.concatenate(below) if below else _NONE
    return _NONE


_NONE: Rows = np.empty((0, 0), dtype=np.float32)
