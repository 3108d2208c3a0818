"""What the leaves of a tree have matched, their best documents and all others: pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from es_semantic.retrieval.documents import documents_query
from es_semantic.retrieval.found import Found
from es_semantic.retrieval.leaves import PINS, Leaf
from es_semantic.retrieval.tree.nodes import Json, Knn, Pinned, Retriever, Standard, kind, walk


def matched(node: Retriever, path: str, legs: Mapping[str, Leaf], found: Found) -> list[Json]:
    """Return queries that together match what the leaves below have matched, under the names of their retrievers.

    As in Elasticsearch a ``standard`` leaf counts with all that its query matches, a ``knn`` leaf and pins with what
    was found. ``legs`` are by path; one that has failed matches nothing.
    """
    name = {"_name": node.name} if node.name else {}
    if isinstance(node, Standard | Knn):
        return [{"bool": {**clause, **name}} for clause in _of_leaf(path, legs, found)]
    below = [
        clause for way, child in node.children for clause in matched(child, f"{path}.{way}.{kind(child)}", legs, found)
    ]
    if isinstance(node, Pinned):
        below += [{"bool": clause} for clause in _of_leaf(f"{path}.{PINS}", legs, found)]
    return [{"bool": {"should": below, **name}}] if name and below else below


def only_ranked_count(root: Retriever, body: Mapping[str, object]) -> bool:
    """Return whether totals and aggregations are about ranked documents alone: where there is a ``min_score``."""
    return "min_score" in body or any(node.min_score is not None for _, node in walk(root))


def _of_leaf(path: str, legs: Mapping[str, Leaf], found: Found) -> list[Json]:
    """The parts of the ``bool`` query for what a leaf has matched; none for one that has failed."""
    leg = legs.get(path)
    if leg is None or path not in found.rankings:
        return []
    if not isinstance(leg.node, Standard):
        keys = [key for key, _ in found.rankings[path]]
        return [{"filter": [documents_query(keys), *leg.filters]}] if keys else []
    query = leg.node.query or {"match_all": {}}
    # As a filter it would lose its optional clauses, for highlights; with filters beside it, Elasticsearch does that.
    return [{"filter": [query, *leg.filters]}] if leg.filters else [{"must": [query]}]
