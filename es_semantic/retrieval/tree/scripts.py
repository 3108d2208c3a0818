"""Finds scripts in what Elasticsearch is sent, wherever its query language lets one stand.

The grammar decides what is a script, not the word: ``{"term": {"script": "x"}}`` is about a field of that name. Inside
query types that are not known here whatever looks like a script counts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.plain import ILLEGAL_ARGUMENT, short

HINT = "Scripts are not allowed here: leave this out, or let whoever runs the service allow them."


class Script(NamedTuple):
    """A script: the path to it, and whether it is ``inline`` or ``stored``."""

    path: str
    kind: str


class _Look(NamedTuple):
    """A value to look into, and as what."""

    into: Callable[[Any, str], Iterator[Script | _Look]]
    value: Any
    path: str


Looking = Callable[[Any, str], Iterator[Script | _Look]]


def scripts_in(looking: Looking, value: Any, path: str) -> Iterator[Script]:
    """Yield the scripts in a value in their order; ``looking`` says what it is: :func:`query`, :func:`sort`, ..."""
    pending: list[Script | _Look] = [_Look(looking, value, path)]
    while pending:
        at = pending.pop()
        if isinstance(at, Script):
            yield at
        else:
            pending.extend(reversed(list(at.into(at.value, at.path))))


def refuse_scripts(looking: Looking, value: Any, path: str) -> None:
    """Make sure that there is no script.

    Raises:
        InvalidRetriever: there is one; the path leads to it.
    """
    for script in scripts_in(looking, value, path):
        raise InvalidRetriever(script.path, ILLEGAL_ARGUMENT, f"cannot execute [{script.kind}] scripts", hint=HINT)


def query(value: Any, path: str) -> Iterator[Script | _Look]:
    """A query, or several."""
    if isinstance(value, list | tuple):
        yield from _each(query, value, path)
    for name, inside in _items(value):
        here = f"{path}.{short(name)}"
        if name in _SCRIPT_QUERIES:
            yield _script(inside, here)
        elif name in _INSIDE:
            yield from _named(_INSIDE[name], inside, here)
        elif name in _UNDER_FIELDS:
            for field, each in _items(inside):
                yield _Look(anything, each, f"{here}.{short(field)}")
        elif name not in _WITHOUT:
            yield _Look(anything, inside, here)


def sort(value: Any, path: str) -> Iterator[Script | _Look]:
    """A sort, or several."""
    if isinstance(value, list | tuple):
        yield from _each(sort, value, path)
    for name, inside in _items(value):
        here = f"{path}.{short(name)}"
        if name == "_script":
            yield _script(inside, here)
        else:
            yield _Look(_nested_sort, inside, here)


def collapse(value: Any, path: str) -> Iterator[Script | _Look]:
    """How to collapse hits."""
    yield from _named({"inner_hits": _inner_hits, "collapse": collapse}, value, path)


def rescore(value: Any, path: str) -> Iterator[Script | _Look]:
    """A rescorer, or several."""
    if isinstance(value, list | tuple):
        yield from _each(rescore, value, path)
    yield from _named({"query": _rescore_query, "script": _one_script}, value, path)


def body(value: Any, path: str) -> Iterator[Script | _Look]:
    """The parts of a search request beside its retriever."""
    yield from _named(_BODY, value, path)


def aggregations(value: Any, path: str) -> Iterator[Script | _Look]:
    """Aggregations by name; the names are free."""
    for name, aggregation in _items(value):
        here = f"{path}.{short(name)}"
        for kind, inside in _items(aggregation):
            looking = _AGGREGATIONS.get(kind, anything)
            yield _Look(looking, inside, f"{here}.{short(kind)}")


def anything(value: Any, path: str) -> Iterator[Script | _Look]:
    """What has no grammar here: whatever looks like a script is one."""
    if isinstance(value, list | tuple):
        yield from _each(anything, value, path)
    for name, inside in _items(value):
        here = f"{path}.{short(name)}"
        if _is_script_name(name) and (isinstance(inside, str) or _SCRIPT_KEYS & _keys(inside)):
            yield _script(inside, here)
        else:
            yield _Look(anything, inside, here)


def _nested_sort(value: Any, path: str) -> Iterator[Script | _Look]:
    yield from _named({"nested": _nested_sort, "filter": query, "nested_filter": query}, value, path)


def _functions(value: Any, path: str) -> Iterator[Script | _Look]:
    """The functions of ``function_score``; those of decay name fields."""
    if isinstance(value, list | tuple):
        yield from _each(_functions, value, path)
    yield from _named({"filter": query, "script_score": _one_script}, value, path)


def _inner_hits(value: Any, path: str) -> Iterator[Script | _Look]:
    if isinstance(value, list | tuple):
        yield from _each(_inner_hits, value, path)
    inside = {"script_fields": _script_fields, "sort": sort, "collapse": collapse, "highlight": _highlight}
    yield from _named(inside, value, path)


def _highlight(value: Any, path: str) -> Iterator[Script | _Look]:
    yield from _named({"highlight_query": query}, value, path)
    fields = value.get("fields") if isinstance(value, Mapping) else None
    for each in fields if isinstance(fields, list | tuple) else [fields]:
        for field, options in _items(each):
            yield from _named({"highlight_query": query}, options, f"{path}.fields.{short(field)}")


def _knn(value: Any, path: str) -> Iterator[Script | _Look]:
    if isinstance(value, list | tuple):
        yield from _each(_knn, value, path)
    yield from _named(_INSIDE["knn"], value, path)


def _rescore_query(value: Any, path: str) -> Iterator[Script | _Look]:
    yield from _named({"rescore_query": query}, value, path)


def _one_script(value: Any, path: str) -> Iterator[Script | _Look]:
    yield _script(value, path)


def _script_fields(value: Any, path: str) -> Iterator[Script | _Look]:
    for field, inside in _items(value):
        yield _script(inside, f"{path}.{short(field)}")


def _runtime_fields(value: Any, path: str) -> Iterator[Script | _Look]:
    """Without a script a runtime field is read from ``_source``."""
    for field, inside in _items(value):
        yield from _named({"script": _one_script}, inside, f"{path}.{short(field)}")


def _named_queries(value: Any, path: str) -> Iterator[Script | _Look]:
    """``{"filters": {"<name>": query}}``, or an array of queries."""
    filters = value.get("filters") if isinstance(value, Mapping) else None
    if isinstance(filters, list | tuple):
        yield from _each(query, filters, f"{path}.filters")
    for name, each in _items(filters):
        yield _Look(query, each, f"{path}.filters.{short(name)}")


def _suggest(value: Any, path: str) -> Iterator[Script | _Look]:
    """A phrase suggester's ``collate`` is a template."""
    for name, inside in _items(value):
        here = f"{path}.{short(name)}"
        yield _script(inside, here) if name == "collate" else _Look(_suggest, inside, here)


def _each(looking: Looking, values: Any, path: str) -> Iterator[_Look]:
    for place, each in enumerate(values):
        yield _Look(looking, each, f"{path}[{place}]")


def _named(inside: Mapping[str, Looking], value: Any, path: str) -> Iterator[_Look]:
    for name, each in _items(value):
        if name in inside:
            yield _Look(inside[name], each, f"{path}.{name}")


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    return iter(value.items()) if isinstance(value, Mapping) else iter(())


def _keys(value: Any) -> frozenset[str]:
    return frozenset(value) if isinstance(value, Mapping) else frozenset()


def _is_script_name(name: str) -> bool:
    return name == "script" or name.endswith("_script") or name in ("script_score", "script_fields")


def _script(value: Any, path: str) -> Script:
    inside = value.get("script", value) if isinstance(value, Mapping) else value
    return Script(path, "stored" if "id" in _keys(inside) else "inline")


_SCRIPT_KEYS = frozenset(["source", "id", "inline", "stored", "lang", "params", "script"])

# What a wrapper holds is encoded, so that nobody sees whether it is a script.
_SCRIPT_QUERIES = frozenset(["script", "script_score", "wrapper"])

_INSIDE: Mapping[str, Mapping[str, Looking]] = {
    "bool": dict.fromkeys(("must", "must_not", "should", "filter"), query),
    "boosting": {"positive": query, "negative": query},
    "constant_score": {"filter": query},
    "dis_max": {"queries": query},
    "function_score": {"query": query, "functions": _functions, "script_score": _one_script},
    "has_child": {"query": query, "inner_hits": _inner_hits},
    "has_parent": {"query": query, "inner_hits": _inner_hits},
    "knn": {"filter": query, "inner_hits": _inner_hits},
    "nested": {"query": query, "inner_hits": _inner_hits},
    "pinned": {"organic": query},
    "rule": {"organic": query},
    "rule_query": {"organic": query},
}
"""Queries inside of queries, by the parameter that holds them."""

_UNDER_FIELDS = frozenset(["intervals", "terms_set"])
"""Queries that may hold scripts under the name of a field."""

_WITHOUT = frozenset(
    [
        *(
            "match_all",
            "match_none",
            "exists",
            "ids",
            "prefix",
            "range",
            "regexp",
            "term",
            "terms",
            "wildcard",
            "fuzzy",
        ),
        *("match", "match_phrase", "match_phrase_prefix", "match_bool_prefix", "multi_match", "combined_fields"),
        *("query_string", "simple_query_string", "more_like_this", "percolate", "distance_feature", "rank_feature"),
        *("geo_bounding_box", "geo_distance", "geo_grid", "geo_polygon", "geo_shape", "shape", "parent_id", "type"),
        *("semantic", "sparse_vector", "text_expansion", "weighted_tokens"),
        *("span_containing", "span_first", "span_multi", "span_near", "span_not", "span_or", "span_term"),
        *("span_field_masking", "field_masking_span", "span_within"),
    ]
)
"""Queries that cannot hold a script."""

_AGGREGATIONS: Mapping[str, Looking] = {
    "aggs": aggregations,
    "aggregations": aggregations,
    "filter": query,
    "filters": _named_queries,
    "adjacency_matrix": _named_queries,
    "bucket_script": _one_script,
    "bucket_selector": _one_script,
    "moving_fn": _one_script,
    "scripted_metric": _one_script,
    "top_hits": _inner_hits,
}

_BODY: Mapping[str, Looking] = {
    "query": query,
    "post_filter": query,
    "knn": _knn,
    "aggs": aggregations,
    "aggregations": aggregations,
    "sort": sort,
    "collapse": collapse,
    "rescore": rescore,
    "highlight": _highlight,
    "script_fields": _script_fields,
    "runtime_mappings": _runtime_fields,
    "suggest": _suggest,
}
