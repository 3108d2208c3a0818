"""The parts of retrievers that have rules of their own: queries, sorts, query vectors, rescorers, pinned documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.chunking import read_chunking
from es_semantic.retrieval.tree.nodes import PinnedDocument, QueryVectorBuilder, RescoreVector, TextEmbedding
from es_semantic.retrieval.tree.plain import X_CONTENT_PARSE, native, plain, refuse, short, text
from es_semantic.retrieval.tree.reading import (
    KEPT,
    MAX_FLOAT,
    NUMBER,
    STRING,
    WHOLE,
    At,
    Fields,
    Reader,
    an_object,
    anything_but_null,
    java_float,
    number,
    read_object,
    string,
    strings,
    token,
    whole,
)

MAX_CANDIDATES = 10_000
"""Elasticsearch's limit of ``num_candidates``, and so of ``k``."""

MAX_PINS = 100
"""Elasticsearch's limit of pinned documents."""

NORMALIZERS = ("none", "minmax", "l2_norm")
SCORE_MODES = ("avg", "max", "min", "multiply", "total")


def clause(value: Any, at: At) -> dict[str, Any]:
    """Return one query, ``{"<type>": {...}}``; what is in it Elasticsearch itself will check."""
    if not isinstance(value, Mapping):
        at.malformed("[_na] query malformed, must start with start_object")
    if not value:
        at.illegal("query malformed, empty clause found")
    name, body = next(iter(value.items()))
    if not isinstance(native(body, at.path), Mapping):
        at.malformed(f"[{short(name)}] query malformed, no start_object after query name")
    if len(value) > 1:
        at.malformed(f"[{short(name)}] malformed query, expected [END_OBJECT] but found [FIELD_NAME]")
    query: dict[str, Any] = plain(value, at.path)
    return query


def search_after(value: Any, at: At) -> list[Any]:
    """Return the sort values to go on after."""
    if isinstance(value, Mapping):
        at.malformed("Expected [START_ARRAY] in [search_after] but found [START_OBJECT] inside search_after")
    for each in value:
        if token(native(each, at.path)).startswith("START"):
            kinds = "[VALUE_STRING] or [VALUE_NUMBER] or [VALUE_BOOLEAN] or [VALUE_NULL]"
            at.malformed(f"Expected {kinds} but found [{token(native(each, at.path))}] inside search_after.")
    if not value:
        at.illegal("Values must contains at least one value.")
    values: list[Any] = plain(value, at.path)
    return values


def sort(value: Any, at: At) -> Any:
    """Return a sort, None for an empty one."""
    for each in value if not isinstance(value, Mapping) else ():
        if not isinstance(each, str | Mapping):
            at.illegal("malformed sort format, within the sort array, an object, or an actual string are allowed")
    return plain(value, at.path) or None


def collapse(value: Any, at: At) -> dict[str, Any]:
    """Return how to collapse, which names a field."""
    for name in value:
        if name not in ("field", "inner_hits", "max_concurrent_group_searches"):
            here = f"{at.path}.{short(name)}"
            raise InvalidRetriever(here, X_CONTENT_PARSE, f"[collapse] unknown field [{short(name)}]")
    if "field" not in value:
        at.illegal("no collapse field specified")
    kept: dict[str, Any] = plain(value, at.path)
    return kept


def terminate_after(value: Any, at: At) -> int:
    """Return after how many documents a shard stops."""
    count = whole(value, at)
    if count < 0:
        at.illegal("terminateAfter must be > 0")
    return count


def query_vector(value: Any, at: At) -> tuple[float, ...] | str:
    """Return the numbers of a vector; Elasticsearch's hex and base64 strings as they are."""
    if isinstance(value, str):
        return text(value, at.path)
    if isinstance(value, Mapping):
        at.malformed("Unknown type [START_OBJECT] for parsing vector")
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        refuse(at.path, "must not be empty")
    if set(map(type, values)) == {float}:
        vector: tuple[float, ...] = tuple(values)
    else:
        vector = tuple(_component(native(each, at.path), at) for each in values)
    if not (all(map(math.isfinite, vector)) and max(map(abs, vector)) <= MAX_FLOAT):
        place = next(place for place, each in enumerate(vector) if not abs(each) <= MAX_FLOAT)
        refuse(f"{at.path}[{place}]", "must be a finite number of single precision")
    return vector


def query_vector_builder(value: Any, at: At) -> QueryVectorBuilder:
    """Return how to make a query vector: of a text. Elasticsearch's other builders run models of its own."""
    name = next(iter(value), at.field)
    if name != "text_embedding":
        reason = f"unknown field [{short(name)}]"
        raise InvalidRetriever(at.path, "named_object_not_found_exception", reason, hint=_BUILDERS)
    if len(value) > 1:
        reason = "parser for [query_vector_builder] did not end on END_OBJECT"
        raise InvalidRetriever(at.path, "illegal_state_exception", reason)
    here = At("text_embedding", "", f"{at.path}.text_embedding")
    found = read_object(native(value[name], here.path), here, _TEXT_EMBEDDING, ("model_text",))
    return QueryVectorBuilder(text_embedding=TextEmbedding(**found))


def rescore_vector(value: Any, at: At) -> RescoreVector:
    """Return how quantised vectors are scored again."""
    found = read_object(value, replace(at, owner="rescore_vector"), {"oversample": NUMBER}, ("oversample",))
    if found["oversample"] < 1 and found["oversample"] != 0:
        replace(at, path=f"{at.path}.oversample").illegal("[oversample] must be >= 1.0 or 0")
    return RescoreVector(**found)


def rescore(value: Any, at: At) -> dict[str, Any]:
    """Return one rescorer and its ``window_size``, an integer where it is there."""
    if not isinstance(value, Mapping):
        at.failed()
    found: dict[str, Any] = {}
    for name, each in value.items():
        here = replace(at, field=short(name), path=f"{at.path}.{short(name)}")
        each = native(each, here.path)
        kind = token(each)
        if name == "window_size" and kind in WHOLE.tokens:
            found[name] = whole(each, replace(here, field="rescore"))
        elif kind in ("VALUE_NULL", "START_ARRAY"):
            here.malformed(f"unexpected token [{kind}] after [{short(name)}]")
        elif kind == "VALUE_BOOLEAN" and name == "window_size":
            reason = f"Current token (VALUE_{str(each).upper()}) not numeric, can not use numeric value accessors"
            raise InvalidRetriever(here.path, X_CONTENT_PARSE, reason)
        elif kind != "START_OBJECT":
            here.malformed(f"rescore doesn't support [{short(name)}]")
        elif found.keys() - {"window_size"}:
            here.malformed("Can't have more than one rescore type in a [rescore] object")
        elif name not in _RESCORERS:
            raise InvalidRetriever(here.path, "named_object_not_found_exception", f"unknown field [{short(name)}]")
        else:
            found[name] = _RESCORERS[name](each, here)
    if not found.keys() - {"window_size"}:
        at.malformed("missing rescore type")
    return found


def field_or_fields(value: Any, at: At) -> str | tuple[str, ...]:
    """Return a field's name, or the names of several."""
    names = strings(value, at)
    if not names:
        refuse(at.path, "must name at least one field")
    return names[0] if len(names) == 1 else names


def chunk_rescorer(value: Any, at: At) -> dict[str, Any]:
    """Return how texts are cut before they are reranked; unknown fields are no error to Elasticsearch."""
    settings = Reader(KEPT.tokens | {"VALUE_NULL"}, KEPT.read)
    known = {name: value[name] for name in ("size", "chunking_settings") if name in value}
    here = replace(at, owner="chunk_rescorer", type=X_CONTENT_PARSE)
    found = read_object(known, here, {"size": WHOLE, "chunking_settings": settings})
    if found.get("size", 1) < 1:
        replace(at, path=f"{at.path}.size").illegal(f"size must be greater than 0, was: {found['size']}")
    kept = {**plain(value, at.path), **found}
    read_chunking(kept, at.path)
    return kept


def pinned_document(value: Any, at: At) -> PinnedDocument:
    """Return a document to pin."""
    here = replace(at, owner="item", type=X_CONTENT_PARSE)
    found = read_object(value, here, {"_index": STRING, "_id": STRING}, ("_id",))
    if "*" in found.get("_index", ""):
        replace(at, path=f"{at.path}._index").illegal("Item index cannot contain wildcard expressions")
    return PinnedDocument(**found)


def diversification(value: Any, at: At) -> str:
    """Return the kind of diversification in lower case."""
    if value.lower() != "mmr":
        at.illegal(f"unknown result diversification type [{short(value)}]")
    return "mmr"


def normalizer(value: Any, at: At) -> str:
    """Return the normalizer in lower case."""
    if value.lower() not in NORMALIZERS:
        raise InvalidRetriever(
            at.path, "illegal_argument_exception", f"Unknown normalizer [{short(value)}]", hint=_NORMALIZERS
        )
    return string(value, at).lower()


def _check_knn(found: Mapping[str, Any], at: At) -> None:
    given = ("query_vector" in found) + ("query_vector_builder" in found)
    if given == 0:
        at.illegal("either [query_vector] or [query_vector_builder] must be provided")
    if given == 2:
        at.illegal("only one of [query_vector] and [query_vector_builder] must be provided")
    if found["k"] < 1:
        replace(at, path=f"{at.path}.k").illegal("[k] must be greater than 0")
    candidates = replace(at, path=f"{at.path}.num_candidates")
    if found["num_candidates"] < found["k"]:
        candidates.illegal("[num_candidates] cannot be less than [k]")
    if found["num_candidates"] > MAX_CANDIDATES:
        candidates.illegal(f"[num_candidates] cannot exceed [{MAX_CANDIDATES}]")
    if not 0 <= found.get("visit_percentage", 0.0) <= 100:
        replace(at, path=f"{at.path}.visit_percentage").illegal("[visit_percentage] must be between 0 and 100")


def _check_rrf(found: Mapping[str, Any], at: At) -> None:
    if found.get("rank_constant", 1) < 1:
        here = replace(at, path=f"{at.path}.rank_constant")
        here.illegal("[rank_constant] must be greater or equal to [1] for [rrf]")
    _check_fields(found, at)


def _check_linear(found: Mapping[str, Any], at: At) -> None:
    if found.get("min_score", 0.0) < 0:
        lowest = java_float(found["min_score"])
        here = replace(at, path=f"{at.path}.min_score")
        here.illegal(f"[min_score] must be greater than or equal to 0, was: [{lowest}]")
    _check_fields(found, at)


def _check_fields(found: Mapping[str, Any], at: At) -> None:
    """Weights in ``fields``, as in ``title^2``; an empty array, which a node could not tell from none."""
    if "fields" in found and not found["fields"]:
        wrong = (
            "[fields] cannot be empty" if "query" in found else "[query] must be provided when [fields] is specified"
        )
        reason = f"Validation Failed: 1: [{at.owner}] {wrong};"
        raise InvalidRetriever(at.path, "action_request_validation_exception", reason)
    for place, field in enumerate(found.get("fields", ())):
        _, weighted, weight = field.partition("^")
        if weighted and number(weight, At(at.owner, "fields", f"{at.path}.fields[{place}]")) < 0:
            here = replace(at, path=f"{at.path}.fields[{place}]")
            here.illegal(f"[{at.owner}] per-field weights must be non-negative")


def _check_auto(found: Mapping[str, Any], at: At) -> None:
    if not found["retrievers"]:
        replace(at, path=f"{at.path}.retrievers").illegal("[auto] [retrievers] cannot be empty")


def _check_rescorer(found: Mapping[str, Any], at: At) -> None:
    if not found["rescore"]:
        replace(at, path=f"{at.path}.rescore").illegal("Missing rescore definition")


def _check_pinned(found: Mapping[str, Any], at: At) -> None:
    ids, docs = found.get("ids"), found.get("docs")
    if ids is not None and docs is not None:
        at.malformed("Both 'ids' and 'docs' cannot be specified at the same time")
    if not ids and not docs:
        at.malformed("Either 'ids' or 'docs' must be provided and non-empty for pinned retriever")
    name, pins = ("id", ids) if ids else ("doc", docs or ())
    here = replace(at, path=f"{at.path}.{name}s")
    if len(pins) > MAX_PINS:
        here.illegal(f"[pinned] Max of {MAX_PINS} {name}s exceeded: {len(pins)} provided.")
    _check_once(name, pins, here)


def _check_once(name: str, pins: Collection[Any], at: At) -> None:
    seen = set()
    for place, pin in enumerate(pins):
        key = pin if isinstance(pin, str) else (pin.index, pin.id)
        if key in seen:
            shown = short(pin if isinstance(pin, str) else pin.id)
            replace(at, path=f"{at.path}[{place}]").illegal(f"[pinned] duplicate {name} found in list: {shown}")
        seen.add(key)


def _float(value: float) -> float:
    return float(value) if isinstance(value, float) or abs(value) <= MAX_FLOAT else math.inf


def _component(value: Any, at: At) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        at.malformed(f"Type [{token(value)}] not supported for query vector")
    return number(value, at) if isinstance(value, str) else _float(value)


def _rescore_query(value: Any, at: At) -> dict[str, Any]:
    found = read_object(value, At("query", "", at.path), _RESCORE_QUERY)
    if "rescore_query" not in found:
        at.illegal("rescore_query cannot be null")
    return found


def _score_mode(value: Any, at: At) -> str:
    mode = string(value, at)
    if mode.lower() not in SCORE_MODES:
        at.illegal(f"illegal score_mode [{short(mode)}]")
    return mode


_TEXT_EMBEDDING: Fields = {"model_id": STRING, "model_text": STRING}
_RESCORE_QUERY: Fields = {
    "rescore_query": an_object(clause),
    "query_weight": NUMBER,
    "rescore_query_weight": NUMBER,
    "score_mode": Reader(STRING.tokens, _score_mode),
}
_RESCORERS: Mapping[Any, Callable[[Any, At], Any]] = {
    "query": _rescore_query,
    "script": KEPT.read,
    "learning_to_rank": KEPT.read,
}
_BUILDERS = 'Give a text to embed, {"text_embedding": {"model_text": "..."}}, or a [query_vector].'
_NORMALIZERS = f"Use one of: {', '.join(NORMALIZERS)}."

QUERY_VECTOR = anything_but_null(query_vector)
QUERY_VECTOR_BUILDER = an_object(query_vector_builder)

CHECKS: Mapping[str, Callable[[Mapping[str, Any], At], None]] = {
    "knn": _check_knn,
    "rrf": _check_rrf,
    "linear": _check_linear,
    "auto": _check_auto,
    "rescorer": _check_rescorer,
    "pinned": _check_pinned,
}
"""What is checked of a retriever once all its fields are read."""
