"""What a caller who is not trusted with the whole query language may send: a grammar in which the rest is refused.

Left out is what runs code (scripts), what parses a language of its own (``query_string``), what reads documents other
than those it finds (lookups, joins, percolation), what hides a query (``wrapper``), and what looks at all documents
whatever the query (global and significant aggregations, suggesters).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.nodes import Json, Rescorer, Retriever, Standard, walk
from es_semantic.retrieval.tree.plain import ILLEGAL_ARGUMENT, MAX_JSON_DEPTH, PARSING, short

HINT = "This key may not use it; whoever runs the service can make one that may (--raw)."

Looking = Callable[[Any, str], None]


def require_permitted(root: Retriever, body: Mapping[str, Any]) -> None:
    """Make sure that a retriever tree and the rest of its search request stay within the grammar.

    Raises:
        InvalidRetriever: they do not; the path tells where.
    """
    for path, node in walk(root):
        _queries(list(node.filter), f"{path}.filter")
        match node:
            case Standard():
                if node.query is not None:
                    require_query(node.query, f"{path}.query")
                _plain_sort(node.sort, f"{path}.sort")
                _collapse(node.collapse, f"{path}.collapse")
            case Rescorer():
                for number, each in enumerate(node.rescore):
                    _rescorer(each, f"{path}.rescore[{number}]")
    for name, value in body.items():
        _BODY.get(name, _refused(name))(value, name)


def require_filters(filters: Sequence[Json], path: str) -> None:
    """Make sure that filters stay within the grammar; raises as :func:`require_query`."""
    _queries(filters, path)


def require_query(value: Any, path: str) -> None:
    """Make sure that a query stays within the grammar.

    Raises:
        InvalidRetriever: it does not, or it is no query.
    """
    if not isinstance(value, Mapping) or len(value) != 1:
        raise InvalidRetriever(path, PARSING, "a query is an object with one key, its type")
    if path.count(".") + path.count("[") > MAX_JSON_DEPTH:
        raise InvalidRetriever(path, ILLEGAL_ARGUMENT, f"queries are nested deeper than [{MAX_JSON_DEPTH}]")
    ((name, inside),) = value.items()
    here = f"{path}.{short(name)}"
    if name in _INSIDE:
        if not isinstance(inside, Mapping):
            raise InvalidRetriever(here, PARSING, f"[{name}] is an object")
        for part, each in inside.items():
            looking = _INSIDE[name].get(part)
            if looking is not None:
                looking(each, f"{here}.{short(part)}")
            elif isinstance(each, Mapping | list) and part not in _PLAIN_PARTS:
                raise _not_permitted(f"{here}.{short(part)}", part)
    elif name in _LEAVES:
        _LEAVES[name](inside, here)
    else:
        raise _not_permitted(here, name)


def _queries(value: Any, path: str) -> None:
    if not isinstance(value, list | tuple):
        require_query(value, path)
        return
    for place, each in enumerate(value):
        require_query(each, f"{path}[{place}]")


def _any(value: Any, path: str) -> None:
    """A part that cannot hold a query, script or lookup."""


def _no_objects(value: Any, path: str) -> None:
    """``{"<field>": values}`` with plain values: an object would be a lookup in another document."""
    for field, each in _items(value, path):
        values = each if isinstance(each, list | tuple) else [each]
        if field != "boost" and any(isinstance(one, Mapping) for one in values):
            raise _not_permitted(f"{path}.{short(field)}", "lookup")


def _no_script(value: Any, path: str) -> None:
    for key, each in _items(value, path):
        if "script" in str(key) or key in ("indexed_shape",):
            raise _not_permitted(f"{path}.{short(key)}", key)
        if isinstance(each, Mapping):
            _no_script(each, f"{path}.{short(key)}")
        elif isinstance(each, list | tuple):
            for place, one in enumerate(each):
                if isinstance(one, Mapping):
                    _no_script(one, f"{path}.{short(key)}[{place}]")


def _functions(value: Any, path: str) -> None:
    for place, function in enumerate(value if isinstance(value, list | tuple) else [value]):
        here = f"{path}[{place}]"
        for name, inside in _items(function, here):
            if name == "filter":
                require_query(inside, f"{here}.filter")
            elif name not in _FUNCTIONS:
                raise _not_permitted(f"{here}.{short(name)}", name)


def _inner_hits(value: Any, path: str) -> None:
    for place, each in enumerate(value if isinstance(value, list | tuple) else [value]):
        here = f"{path}[{place}]" if isinstance(value, list | tuple) else path
        for name, inside in _items(each, here):
            if name == "sort":
                _plain_sort(inside, f"{here}.sort")
            elif name == "collapse":
                _collapse(inside, f"{here}.collapse")
            elif name == "highlight":
                _highlight(inside, f"{here}.highlight")
            elif name not in _HIT_PARTS:
                raise _not_permitted(f"{here}.{short(name)}", name)


def _collapse(value: Any, path: str) -> None:
    if value is not None:
        for name, inside in _items(value, path):
            if name == "inner_hits":
                _inner_hits(inside, f"{path}.inner_hits")
            elif name == "collapse":
                _collapse(inside, f"{path}.collapse")


def _plain_sort(value: Any, path: str) -> None:
    """Fields, or objects of fields; neither a script nor a filter of its own."""
    for place, each in enumerate(value if isinstance(value, list | tuple) else [value]):
        if isinstance(each, Mapping):
            for field, options in each.items():
                if field == "_script" or (
                    isinstance(options, Mapping) and options.keys() & {"nested", "nested_filter"}
                ):
                    raise _not_permitted(f"{path}[{place}].{short(field)}", field)


def _rescorer(value: Mapping[str, Any], path: str) -> None:
    for name, inside in value.items():
        if name == "query":
            for part, each in _items(inside, f"{path}.query"):
                if part == "rescore_query":
                    require_query(each, f"{path}.query.rescore_query")
        elif name != "window_size":
            raise _not_permitted(f"{path}.{short(name)}", name)


def _highlight(value: Any, path: str) -> None:
    for name, inside in _items(value, path):
        if name == "highlight_query":
            require_query(inside, f"{path}.highlight_query")
        elif name == "fields":
            for group in inside if isinstance(inside, list | tuple) else [inside]:
                for field, options in _items(group, f"{path}.fields"):
                    if isinstance(options, Mapping) and "highlight_query" in options:
                        require_query(options["highlight_query"], f"{path}.fields.{short(field)}.highlight_query")


def _aggregations(value: Any, path: str) -> None:
    for name, aggregation in _items(value, path):
        here = f"{path}.{short(name)}"
        for kind, inside in _items(aggregation, here):
            at = f"{here}.{short(kind)}"
            if kind in ("aggs", "aggregations"):
                _aggregations(inside, at)
            elif kind == "filter":
                require_query(inside, at)
            elif kind in ("filters", "adjacency_matrix"):
                given = inside.get("filters") if isinstance(inside, Mapping) else None
                _queries(list(given.values()) if isinstance(given, Mapping) else given, f"{at}.filters")
            elif kind == "top_hits":
                _inner_hits(inside, at)
            elif kind in _AGGREGATIONS:
                _no_script(inside, at)
                if kind in TERMS and not counts_found_alone(inside):
                    raise _not_permitted(f"{at}.min_doc_count", "min_doc_count")
            elif kind != "meta":
                raise _not_permitted(at, kind)


def counts_found_alone(terms: Any) -> bool:
    """Return whether an aggregation by terms lists only terms of documents that were found.

    With a ``min_doc_count`` below 1 Elasticsearch adds those of all others.
    """
    least = terms.get("min_doc_count", 1) if isinstance(terms, Mapping) else 1
    return isinstance(least, int) and not isinstance(least, bool) and least >= 1


def _refused(name: str) -> Looking:
    def refuse(_: Any, path: str) -> None:
        raise _not_permitted(path, name)

    return refuse


def _not_permitted(path: str, name: Any) -> InvalidRetriever:
    return InvalidRetriever(path, ILLEGAL_ARGUMENT, f"[{short(name)}] is not permitted here", hint=HINT)


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise InvalidRetriever(path, PARSING, "an object is wanted here")
    return list(value.items())


TERMS = frozenset(["terms", "multi_terms", "rare_terms"])
"""Aggregations by the terms of a field."""

_PLAIN_PARTS = frozenset(["_name", "boost", "query_vector", "rescore_vector"])

_INSIDE: Mapping[str, Mapping[str, Looking]] = {
    "bool": dict.fromkeys(("must", "must_not", "should", "filter"), _queries),
    "boosting": {"positive": require_query, "negative": require_query},
    "constant_score": {"filter": require_query},
    "dis_max": {"queries": _queries},
    "function_score": {
        "query": require_query,
        "functions": _functions,
        **dict.fromkeys(("field_value_factor", "random_score", "gauss", "linear", "exp"), _any),
    },
    "knn": {"filter": _queries},
    "nested": {"query": require_query, "inner_hits": _inner_hits},
}
"""Queries inside of queries, and other parts that are objects, by the parameter that holds them."""

_LEAVES: Mapping[str, Looking] = {
    **dict.fromkeys(
        (
            *("match_all", "match_none", "exists", "ids", "prefix", "range", "regexp", "term", "wildcard", "fuzzy"),
            *("match", "match_phrase", "match_phrase_prefix", "match_bool_prefix", "multi_match", "combined_fields"),
            *("simple_query_string", "distance_feature", "rank_feature", "geo_bounding_box", "geo_distance"),
            *("geo_grid", "geo_polygon", "semantic"),
        ),
        _any,
    ),
    "terms": _no_objects,
    "terms_set": _no_script,
    "intervals": _no_script,
    "geo_shape": _no_script,
    "shape": _no_script,
}
"""Queries without queries inside."""

_FUNCTIONS = frozenset(["weight", "random_score", "field_value_factor", "gauss", "linear", "exp"])

_HIT_PARTS = frozenset(
    ["name", "from", "size", "_source", "fields", "docvalue_fields", "version", "seq_no_primary_term"]
)

_AGGREGATIONS = frozenset(
    [
        *("terms", "multi_terms", "rare_terms", "composite", "missing", "histogram", "date_histogram", "range"),
        *("auto_date_histogram", "variable_width_histogram", "date_range", "ip_range", "ip_prefix", "geo_distance"),
        *("geohash_grid", "geotile_grid", "geohex_grid", "nested", "reverse_nested", "sampler", "diversified_sampler"),
        *("avg", "sum", "min", "max", "stats", "extended_stats", "value_count", "cardinality", "percentiles"),
        *("percentile_ranks", "median_absolute_deviation", "weighted_avg", "top_metrics", "geo_bounds", "geo_centroid"),
        *("avg_bucket", "sum_bucket", "min_bucket", "max_bucket", "stats_bucket", "percentiles_bucket", "bucket_sort"),
        *("cumulative_sum", "derivative", "serial_diff", "extended_stats_bucket", "cumulative_cardinality"),
    ]
)

_BODY: Mapping[str, Looking] = {
    **dict.fromkeys(("_source", "fields", "docvalue_fields", "min_score", "track_total_hits", "timeout"), _any),
    **dict.fromkeys(("version", "seq_no_primary_term", "track_scores"), _any),
    "highlight": _highlight,
    "collapse": _collapse,
    "post_filter": require_query,
    "aggs": _aggregations,
}
