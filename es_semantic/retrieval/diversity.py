"""Maximal marginal relevance: which documents stay, so that no two say the same. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    Reordering Documents and Producing Summaries", SIGIR 1998). The first is the most similar to the query; without a
    query vector that similarity is 0. Of equal ones the one that was ranked higher is taken. As in Elasticsearch
    similarity is Lucene's scaled maximum inner product in single precision, and documents without a vector are left
    out. Of a document in chunks the most similar chunk counts.

    Raises:
        ValueError: the query vector has other dimensions than the documents'.
    """
    rows = [vectors_of(carried[key], node.field) for key, _ in ranking]
    places = [place for place, row in enumerate(rows) if len(row)]
    if not places:
        return []
    vectors = _Vectors([rows[place] for place in places])
    weight = np.float32(node.lambda_ or 0.0)
    to_query = np.zeros(len(places), dtype=np.float32)
    if isinstance(node.query_vector, tuple):
        to_query = vectors.similarity(np.asarray(node.query_vector, dtype=np.float32)[None])
    taken = _taken(vectors, to_query, weight, min(node.wanted, len(places)))
    return [ranking[places[number]] for number in sorted(taken)]


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


class _Vectors:
    """The vectors of all documents, one after the other, and where each document's begin."""

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._all = np.concatenate(rows)
        self._ends = np.cumsum([len(each) for each in rows])

    def of(self, number: int) -> Rows:
        return self._all[self._ends[number - 1] if number else 0 : self._ends[number]]

    def similarity(self, others: Rows) -> NDArray[np.float32]:
        """Each document's similarity to the most similar of these vectors."""
        if others.shape[1] != self._all.shape[1]:
            raise ValueError(f"vector dimensions differ: {self._all.shape[1]}!={others.shape[1]}")
        dots = (self._all @ others.T).max(axis=1)
        best = np.maximum.reduceat(dots, np.r_[0, self._ends[:-1]])
        with np.errstate(divide="ignore"):
            return np.where(best < 0, np.float32(1) / (np.float32(1) - best), best + np.float32(1)).astype(np.float32)


def _taken(vectors: _Vectors, to_query: NDArray[np.float32], weight: np.float32, wanted: int) -> list[int]:
    """Return the numbers of the documents that are taken, in the order in which they are."""
    taken = [int(np.argmax(to_query))]
    to_taken = np.full(len(to_query), -np.inf, dtype=np.float32)
    while len(taken) < wanted:
        to_taken = np.maximum(to_taken, vectors.similarity(vectors.of(taken[-1])))
        marginal = weight * to_query - (np.float32(1) - weight) * to_taken
        marginal[taken] = -np.inf
        taken.append(int(np.argmax(marginal)))
    return taken


_NONE: Rows = np.empty((0, 0), dtype=np.float32)
