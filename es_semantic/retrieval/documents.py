"""Queries for documents that are already known: pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from es_semantic.retrieval.found import Key, Ranking
from es_semantic.retrieval.tree.nodes import Json


def documents_query(keys: Iterable[Key]) -> Json:
    """Return the query that matches exactly these documents; it scores nothing."""
    return {"bool": {"filter": [{"bool": {"should": [_those(*group) for group in _groups(keys)]}}]}}


def ranked_query(ranking: Ranking) -> Json:
    """Return the query that gives these documents these scores, as Elasticsearch's compound retrievers do inside."""
    return {
        "bool": {
            "should": [
                {"constant_score": {"filter": _those(index, routing, [doc_id]), "boost": score}}
                for (index, doc_id, routing), score in ranking
            ]
        }
    }


def _groups(keys: Iterable[Key]) -> list[tuple[str, str, list[str]]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for index, doc_id, routing in keys:
        groups.setdefault((index, routing), []).append(doc_id)
    return [(index, routing, ids) for (index, routing), ids in groups.items()]


def _those(index: str, routing: str, ids: list[str]) -> Json:
    clauses: list[Json] = [{"term": {"_index": index}}, {"ids": {"values": ids}}]
    if routing:
        return {"bool": {"filter": [*clauses, {"term": {"_routing": routing}}]}}
    return {"bool": {"filter": clauses, "must_not": [{"exists": {"field": "_routing"}}]}}


def has_key(value: Any, names: frozenset[str]) -> bool:
    """Return whether one of the names is a key anywhere in a query."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            if not names.isdisjoint(here):
                return True
            waiting.extend(here.values())
        elif isinstance(here, list | tuple):
            waiting.extend(here)
    return False
