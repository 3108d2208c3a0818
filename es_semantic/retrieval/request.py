"""The arguments of elasticsearch-py's ``client.search(retriever=...)``, read: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_semantic.errors import InvalidQuery, InvalidRetriever
from es_semantic.retrieval.engine import Query
from es_semantic.retrieval.page import LEAF_KEYS, MATCH_KEYS, PAGE_KEYS, Page
from es_semantic.retrieval.tree.nodes import Json
from es_semantic.retrieval.tree.parse import parse
from es_semantic.retrieval.tree.rules import check

BODY_KEYS = PAGE_KEYS | MATCH_KEYS | LEAF_KEYS | {"track_total_hits", "track_scores", "min_score", "timeout"}
PARAMS = frozenset(
    [
        *("allow_no_indices", "expand_wildcards", "ignore_unavailable", "preference", "request_cache", "routing"),
        *("search_type", "ccs_minimize_roundtrips"),
    ]
)
_EXCLUDED = ("query", "knn", "sub_searches", "search_after", "terminate_after", "sort", "rank", "rescore")
_RENAMED = {"source": "_source", "from_": "from"}


def read_request(index: str | list[str], arguments: Mapping[str, Any], *, allow_scripts: bool = True) -> Query:
    """Return the query that the arguments of ``client.search`` ask for; ``body`` may hold some of them.

    Raises:
        InvalidRetriever: the tree is malformed, or does not go together with another argument.
        InvalidQuery: an argument is not known here.
    """
    given: Json = {_RENAMED.get(name, name): value for name, value in arguments.items() if value is not None}
    given = {**(given.pop("body", None) or {}), **given}
    if "retriever" not in given:
        raise InvalidQuery("there is no [retriever]", hint="Use es_semantic.search() for a text.")
    specified = [name for name in _EXCLUDED if name in given]
    if specified:
        reason = f"Validation Failed: 1: cannot specify [retriever] and [{', '.join(specified)}];"
        raise InvalidRetriever("", "action_request_validation_exception", reason)
    root = parse(given.pop("retriever"))
    size, start = given.pop("size", None), given.pop("from", 0)
    check(root, size=size, from_=start, allow_scripts=allow_scripts)
    explain = bool(given.pop("explain", False))
    given |= _source_filters(given)
    unknown = sorted(given.keys() - BODY_KEYS - PARAMS)
    if unknown:
        raise InvalidQuery(
            f"cannot search with {', '.join(unknown)} and a retriever here",
            hint="Leave it out, or ask Elasticsearch itself where the cluster's licence allows.",
        )
    body = {name: value for name, value in given.items() if name in BODY_KEYS}
    if "aggregations" in body:
        body["aggs"] = body.pop("aggregations")
    params = {name: _as_text(value) for name, value in given.items() if name in PARAMS}
    target = index if isinstance(index, str) else ",".join(index)
    return Query(target, root, Page(size, start, body, explain), params)


def _source_filters(given: Json) -> Json:
    """``source_includes`` and ``source_excludes`` stand beside the body in the client."""
    includes, excludes = given.pop("source_includes", None), given.pop("source_excludes", None)
    if includes is None and excludes is None:
        return {}
    parts = {"includes": includes, "excludes": excludes}
    return {"_source": {name: value for name, value in parts.items() if value is not None}}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
