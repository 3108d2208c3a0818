"""Queries for documents that are already known: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from es_semantic.retrieval.found import Key, Ranking, is_number
from es_semantic.retrieval.tree.nodes import Json


def documents_query(keys: Iterable[Key]) -> Json:
    """Return the query that matches exactly these documents, none where there are none; it scores nothing."""
    wanted = list(keys)
    groups = _groups((key, 0.0) for key in wanted if not is_number(key))
    those = [_in(place, [{"ids": {"values": [doc_id for doc_id, _ in ids]}}]) for place, ids in groups.items()]
    numbers: dict[str, list[int]] = {}
    for index, _, number in filter(is_number, wanted):
        numbers.setdefault(index, []).append(int(number))
    those += [
        {"bool": {"filter": [{"term": {"_index": index}}, {"terms": {"_seq_no": some}}]}}
        for index, some in numbers.items()
    ]
    return {"bool": {"filter": [{"bool": {"should": those}}]}} if those else {"match_none": {}}


def ranked_query(ranking: Ranking) -> Json:
    """Return the query that gives these documents these scores, as Elasticsearch's compound retrievers do inside.

    Scores must be above 0. Documents of one index share its clause: a clause for each would make it five times as slow.
    """
    groups = _groups(ranking)
    those = [
        _in(place, [], [{"bool": {"should": [{"ids": {"values": [doc_id], "boost": score}} for doc_id, score in ids]}}])
        for place, ids in groups.items()
    ]
    return {"bool": {"should": those}} if those else {"match_none": {}}


def has_key(value: Any, names: frozenset[str]) -> bool:
    """Return whether one of the names is a key anywhere in a query."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Mapping):
            if not names.isdisjoint(here):
                return True
            waiting.extend(here.values())
        elif isinstance(here, list | tuple):
            waiting.extend(here)
    return False


def _groups(ranking: Iterable[tuple[Key, float]]) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """Ids and scores by index and routing."""
    groups: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for (index, doc_id, routing), score in ranking:
        groups.setdefault((index, routing), []).append((doc_id, score))
    return groups


def _in(place: tuple[str, str], filters: list[Json], scored: list[Json] | None = None) -> Json:
    """Documents of one index and routing, or of none: their ids may stand in another shard with one."""
    index, routing = place
    query: Json = {"filter": [{"term": {"_index": index}}, *filters]}
    if scored:
        query["must"] = scored
    if routing:
        query["filter"].append({"term": {"_routing": routing}})
    else:
        query["must_not"] = [{"exists": {"field": "_routing"}}]
    return {"bool": query}
