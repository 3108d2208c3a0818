"""The arguments of elasticsearch-py's ``client.search(retriever=...)``, read: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_semantic.errors import InvalidQuery, InvalidRetriever
from es_semantic.retrieval.engine import Query
from es_semantic.retrieval.page import IGNORED_KEYS, LEAF_KEYS, MATCH_KEYS, PAGE_KEYS, Page
from es_semantic.retrieval.tree.nodes import Json, kind
from es_semantic.retrieval.tree.parse import parse
from es_semantic.retrieval.tree.rules import check
from es_semantic.retrieval.tree.scripts import body as body_of_search
from es_semantic.retrieval.tree.scripts import refuse_scripts

BODY_KEYS = PAGE_KEYS | MATCH_KEYS | LEAF_KEYS | IGNORED_KEYS | {"aggregations", "min_score", "timeout"}
PARAMS = frozenset(
    [
        *("allow_no_indices", "expand_wildcards", "ignore_unavailable", "preference", "request_cache", "routing"),
        *("search_type", "ccs_minimize_roundtrips", "allow_partial_search_results"),
    ]
)
HINTS = frozenset(
    [
        *("batched_reduce_size", "max_concurrent_shard_requests", "pre_filter_shard_size"),
        *("error_trace", "human", "pretty"),
    ]
)
"""What changes no answer: how fast it comes, and how it looks to people."""

_EXCLUDED = ("query", "knn", "sub_searches", "search_after", "terminate_after", "sort", "rank", "rescore")
_RENAMED = {"source": "_source", "from_": "from", "aggregations": "aggs"}
_SOURCE = {
    "source_includes": "includes",
    "source_excludes": "excludes",
    "source_exclude_vectors": "exclude_vectors",
}


def read_request(index: str | list[str], arguments: Mapping[str, Any], *, allow_scripts: bool = True) -> Query:
    """Return the query that the arguments of ``client.search`` ask for; ``body`` may hold some of them.

    Raises:
        InvalidRetriever: the tree is malformed, or does not go together with another argument, or there is a script
            anywhere in the request and ``allow_scripts`` is off.
        InvalidQuery: an argument is not known here.
    """
    given = _given(arguments)
    if "retriever" not in given:
        raise InvalidQuery("there is no [retriever]", hint="Use es_semantic.search() for a text.")
    specified = [name for name in _EXCLUDED if name in given]
    if specified:
        raise _invalid(f"cannot specify [retriever] and [{', '.join(specified)}]")
    root = parse(given.pop("retriever"))
    size, start = given.pop("size", None), given.pop("from", 0)
    check(root, size=size, from_=start, allow_scripts=allow_scripts)
    if not allow_scripts:
        _refuse_scripts(given)
    explain = bool(given.pop("explain", False))
    unknown = sorted(given.keys() - BODY_KEYS - PARAMS - HINTS)
    if unknown:
        raise InvalidQuery(
            f"cannot search with {', '.join(unknown)} and a retriever here",
            hint="Leave it out, or ask Elasticsearch itself where the cluster's licence allows.",
        )
    body = {name: value for name, value in given.items() if name in BODY_KEYS}
    params = {name: _as_text(value) for name, value in given.items() if name in PARAMS}
    if root.children and params.get("allow_partial_search_results") == "true":
        raise _invalid(f"cannot specify [{kind(root)}] and [allow_partial_search_results]")
    target = index if isinstance(index, str) else ",".join(index)
    return Query(target, root, Page(size, start, body, explain), params)


def _given(arguments: Mapping[str, Any]) -> Json:
    """Return the arguments by their names in a search request; what is not set is left out."""
    together = {**(arguments.get("body") or {}), **{name: value for name, value in arguments.items() if name != "body"}}
    given = {_RENAMED.get(name, name): value for name, value in together.items() if value is not None}
    beside = {_SOURCE[name]: given.pop(name) for name in _SOURCE if name in given}
    if beside:
        # They stand beside the body in the client, and go before what it holds.
        own = given.get("_source")
        given["_source"] = {**(own if isinstance(own, Mapping) else {}), **{k: _several(v) for k, v in beside.items()}}
    return given


def _refuse_scripts(given: Json) -> None:
    try:
        refuse_scripts(body_of_search, given, "")
    except InvalidRetriever as error:
        raise InvalidRetriever(error.path.removeprefix("."), error.type, error.reason, hint=error.hint) from None


def _several(value: Any) -> Any:
    """Names as a list: beside the body commas part them."""
    return value.split(",") if isinstance(value, str) else value


def _invalid(reason: str) -> InvalidRetriever:
    return InvalidRetriever("", "action_request_validation_exception", f"Validation Failed: 1: {reason};")


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
