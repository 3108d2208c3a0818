"""The JSON of Elastic's ``retriever`` becomes a tree of nodes, or an error that names the path to what is wrong.

Rules that look at more than one retriever are in :mod:`~es_semantic.retrieval.tree.rules`. What is accepted and what
errors say is measured on Elasticsearch 9.4.3; for ``rrf``, ``linear`` and ``pinned`` it follows Elastic's documentation
and public tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree import parts
from es_semantic.retrieval.tree.nodes import NAMES, Container, LinearEntry, Retriever, RrfEntry
from es_semantic.retrieval.tree.plain import ILLEGAL_ARGUMENT, PARSING, X_CONTENT_PARSE, native, refuse, short
from es_semantic.retrieval.tree.reading import (
    NUMBER,
    STRING,
    STRINGS,
    TRUTH,
    WHOLE,
    At,
    Fields,
    Reader,
    an_object,
    each_of,
    java_float,
    objects,
    read_object,
    suggestion,
    token,
)

MAX_DEPTH = 8
"""Retrievers one inside the other."""

ROOT = "retriever"
"""The path of an error in what holds the root."""


def parse(tree: Any) -> Retriever:
    """Return the root of a retriever tree, ``{"rrf": {...}}`` for instance.

    Numeric strings are numbers, as for Elasticsearch. Nothing of the input is kept: later changes to it do no harm.

    Raises:
        InvalidRetriever: it is malformed, or nested deeper than 8 retrievers or 100 levels of JSON in a query.
    """
    tree = native(tree, ROOT)
    if not isinstance(tree, Mapping):
        raise InvalidRetriever(ROOT, PARSING, f"Unknown key for a {token(tree)} in [retriever].")
    try:
        return _contained(tree, "", 1)
    except ValidationError as error:
        # Whatever the readers let through and the nodes do not.
        first = error.errors(include_input=False, include_url=False)[0]
        raise InvalidRetriever(".".join(map(str, first["loc"])), ILLEGAL_ARGUMENT, first["msg"]) from None


def _contained(value: Mapping[Any, Any], path: str, depth: int) -> Retriever:
    """Read ``{"<name>": {...}}`` at ``path``, which is empty for the root."""
    here = path or ROOT
    if not value:
        raise InvalidRetriever(here, PARSING, "retriever malformed, empty clause found")
    if depth > MAX_DEPTH:
        raise InvalidRetriever(here, ILLEGAL_ARGUMENT, f"retrievers are nested more than [{MAX_DEPTH}] levels deep")
    name, body = next(iter(value.items()))
    if not isinstance(name, str):
        refuse(here, "has a key that is not a string")
    below = f"{path}.{short(name)}" if path else short(name)
    body = native(body, below)
    if depth == 1 and not isinstance(body, Mapping):
        reason = f"[{short(name)}] retriever malformed, no [START_OBJECT] after retriever name"
        raise InvalidRetriever(below, PARSING, reason)
    if name not in NAMES:
        raise InvalidRetriever(
            below, PARSING, f"unknown retriever [{short(name)}]{suggestion(short(name), NAMES)}", hint=_KNOWN
        )
    node = _retriever(name, body, below, depth)
    if len(value) > 1:
        reason = f"[{name}] malformed retriever, expected [END_OBJECT] but found [FIELD_NAME]"
        raise InvalidRetriever(here, PARSING, reason)
    return node


def _retriever(name: str, body: Any, path: str, depth: int) -> Retriever:
    fields, required = _RETRIEVERS[name]
    at = At(name, "", path, depth, PARSING if name in _WRAPPING else X_CONTENT_PARSE)
    found = read_object(body, at, fields, required)
    check = parts.CHECKS.get(name)
    if check is not None:
        check(found, at)
    return NAMES[name](**found)


def _child(value: Any, at: At) -> Container:
    """Read the field ``retriever``."""
    node = _contained(value, at.path, at.depth + 1)
    return Container(**{next(iter(value)): node})


def _entry(value: Any, at: At) -> Container:
    """Read an entry of ``retrievers`` that is a retriever."""
    if not isinstance(value, Mapping):
        at.malformed(f"expected object but found [{token(value)}]")
    return _child(value, at)


def _rrf_entry(value: Any, at: At) -> RrfEntry:
    """Read an entry of ``rrf``: a retriever, or one under ``retriever`` with its ``weight``."""
    if not isinstance(value, Mapping):
        at.malformed(f"expected object but found [{token(value)}]")
    first = next(iter(value), None)
    if first is None:
        at.malformed("retriever component must contain a retriever")
    if first not in ("retriever", "weight"):
        # One retriever, and nothing after it.
        node = _contained({first: value[first]}, at.path, at.depth + 1)
        if len(value) > 1:
            at.malformed(f"unknown field [{short(list(value)[1])}] after retriever")
        return RrfEntry(**{first: node})
    unknown = [name for name in value if name not in ("retriever", "weight")]
    if unknown:
        at.malformed(f"unknown field [{short(unknown[0])}], expected [retriever] or [weight]")
    if "retriever" not in value:
        at.malformed("retriever component must contain a retriever")
    if not isinstance(value["retriever"], Mapping):
        replace(at, path=f"{at.path}.retriever").malformed("retriever must be an object")
    found = read_object(value, replace(at, owner="rrf"), _RRF_ENTRY)
    if found.get("weight", 0.0) < 0:
        here = replace(at, path=f"{at.path}.weight")
        here.illegal(f"[weight] must be non-negative, found [{java_float(found['weight'])}]")
    return RrfEntry(**found)


def _linear_entry(value: Any, at: At) -> LinearEntry:
    found = read_object(value, replace(at, owner="retriever-component"), _LINEAR_ENTRY, ("retriever",))
    if found.get("weight", 0.0) < 0:
        replace(at, path=f"{at.path}.weight").illegal("[weight] must be non-negative")
    return LinearEntry(**found)


_CHILD = an_object(_child)
_RRF_ENTRY: Fields = {"retriever": _CHILD, "weight": NUMBER}
_LINEAR_ENTRY: Fields = {"retriever": _CHILD, "weight": NUMBER, "normalizer": Reader(STRING.tokens, parts.normalizer)}

_BASE: Fields = {"filter": objects(each_of(parts.clause)), "min_score": NUMBER, "_name": STRING}
_FORMAT: Fields = {"query": STRING, "fields": STRINGS, "rank_window_size": WHOLE}
_VECTOR: Fields = {"query_vector": parts.QUERY_VECTOR, "query_vector_builder": parts.QUERY_VECTOR_BUILDER}


def _retrievers(read: Callable[[Any, At], Any]) -> Fields:
    return {"retrievers": objects(each_of(read))}


_WRAPPING = frozenset(["rescorer", "pinned"])
"""Retrievers whose own errors Elasticsearch turns into a ``parsing_exception``."""

_RETRIEVERS: Mapping[str, tuple[Fields, tuple[str, ...]]] = {
    "standard": (
        {
            **_BASE,
            "query": an_object(parts.clause),
            "search_after": objects(parts.search_after),
            "terminate_after": Reader(WHOLE.tokens, parts.terminate_after),
            "sort": objects(parts.sort),
            "collapse": an_object(parts.collapse),
        },
        (),
    ),
    "knn": (
        {
            **_BASE,
            **_VECTOR,
            "field": STRING,
            "k": WHOLE,
            "num_candidates": WHOLE,
            "visit_percentage": NUMBER,
            "similarity": NUMBER,
            "rescore_vector": an_object(parts.rescore_vector),
        },
        ("field", "k", "num_candidates"),
    ),
    "rrf": ({**_BASE, **_FORMAT, **_retrievers(_rrf_entry), "rank_constant": WHOLE}, ()),
    "linear": (
        {
            **_BASE,
            **_FORMAT,
            **_retrievers(_linear_entry),
            "normalizer": Reader(STRING.tokens, parts.normalizer),
        },
        (),
    ),
    "auto": ({**_BASE, **_retrievers(_entry), "rank_window_size": WHOLE}, ("retrievers",)),
    "text_similarity_reranker": (
        {
            **_BASE,
            "retriever": _CHILD,
            "inference_id": STRING,
            "inference_text": STRING,
            # A list of fields is our own addition.
            "field": Reader(STRINGS.tokens, parts.field_or_fields),
            "rank_window_size": WHOLE,
            "allow_rerank_failures": TRUTH,
            "chunk_rescorer": an_object(parts.chunk_rescorer),
        },
        ("retriever", "inference_text", "field"),
    ),
    "rescorer": (
        {**_BASE, "retriever": _CHILD, "rescore": objects(each_of(parts.rescore))},
        ("retriever", "rescore"),
    ),
    "pinned": (
        {
            **_BASE,
            "retriever": _CHILD,
            "ids": STRINGS,
            "docs": objects(each_of(parts.pinned_document)),
            "rank_window_size": WHOLE,
        },
        ("retriever",),
    ),
    "diversify": (
        {
            **_BASE,
            **_VECTOR,
            "retriever": _CHILD,
            "type": Reader(STRING.tokens, parts.diversification),
            "field": STRING,
            "rank_window_size": WHOLE,
            "lambda": NUMBER,
            "size": WHOLE,
        },
        ("retriever", "type", "field"),
    ),
}

_KNOWN = f"Retrievers here are {', '.join(NAMES)}."
