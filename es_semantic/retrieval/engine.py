"""Run a retriever tree: natively where Elasticsearch can, else all leaves in one request and the rest here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from es_semantic.cluster.failures import failure, reason_of
from es_semantic.cluster.steps import Remember, Request, Steps, url_path
from es_semantic.errors import EsSemanticError, InvalidQuery, InvalidRetriever, RequestFailed
from es_semantic.retrieval.evaluate import Means, evaluate
from es_semantic.retrieval.explain import explained
from es_semantic.retrieval.found import Degraded, Found, Ranking, key_of
from es_semantic.retrieval.leaves import Leaf, leaf_body, leaves
from es_semantic.retrieval.multi_field import expanded, has_multi_field
from es_semantic.retrieval.native import runs_natively
from es_semantic.retrieval.page import LEAF_KEYS, Page, match_body, page_body, read_hits, shown
from es_semantic.retrieval.query_vectors import Failed, Models, has_texts, with_vectors
from es_semantic.retrieval.reranked import Rerankers
from es_semantic.retrieval.tree.nodes import (
    Json,
    Knn,
    Retriever,
    Standard,
    TextSimilarityReranker,
    kind,
    to_json,
    walk,
)
from es_semantic.schema.lookup import bindings_of

Execution = Literal["auto", "native", "client"]


@dataclass(frozen=True, slots=True)
class Query:
    """What to search and how.

    ``params`` are Elasticsearch's own for the target (``routing``, ``preference``, ``ignore_unavailable``, ...).
    ``targets`` names another index for single leaves, by their path. ``deadline`` is in seconds, for each leaf, for
    embedding and for each reranking. With ``allow_degraded`` what fails is left out and named in the answer.
    """

    index: str
    root: Retriever
    page: Page = field(default_factory=Page)
    params: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    execution: Execution = "auto"
    deadline: float | None = None
    allow_degraded: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``_search`` would answer, how it was run, and what was left out."""

    body: Json
    execution: Literal["native", "client"]
    degraded: tuple[Degraded, ...] = ()


def answer_steps(query: Query, models: Models, rerankers: Rerankers) -> Steps[Answer]:
    """Run a query whose tree has been checked.

    Raises:
        InvalidRetriever: Elasticsearch refuses a leaf; the path tells which.
        InvalidQuery: the tree cannot be run as ``execution`` demands.
        ModelUnavailable, RerankerError, ClusterError: a part failed and ``allow_degraded`` is off.
    """
    started = time.perf_counter()
    root, found = query.root, Found()
    failed: Failed = {}
    if has_multi_field(root) or has_texts(root):
        bindings = yield from bindings_of(query.index)
        root, failed = yield from with_vectors(expanded(root, bindings), bindings, models, query.deadline)
        _degrade(query, found, failed)
    if (yield from _natively(query, root, rerankers, found)):
        body = yield from _native(query, root)
        return Answer(body, "native")
    legs = [
        leg if leg.path not in query.targets else _aimed(leg, query.targets[leg.path])
        for leg in leaves(root, query.page.size or 10)
        if leg.path not in failed
    ]
    yield from _search_leaves(query, root, legs, found)
    means = Means(query.index, dict(query.params), rerankers, query.deadline, query.allow_degraded)
    ranking = yield from evaluate(root, kind(root), found, means, legs)
    lowest = query.page.body.get("min_score")
    if lowest is not None:
        ranking = [(key, score) for key, score in ranking if score >= lowest]
    body = yield from _page(query, root, ranking, legs, found)
    body["took"] = round((time.perf_counter() - started) * 1000)
    return Answer(body, "client", tuple(found.degraded))


def _natively(query: Query, root: Retriever, rerankers: Rerankers, found: Found) -> Steps[bool]:
    """Decide; a tree that only we can run is never sent."""
    ours = [
        path
        for path, node in walk(root)
        if isinstance(node, TextSimilarityReranker)
        and (rerankers(node.inference_id) is not None or not isinstance(node.field, str))
    ]
    possible = not ours and not query.targets and not found.degraded
    if query.execution == "client" or not possible:
        if query.execution == "native":
            raise InvalidQuery(f"{query.index!r}: this query uses what only es-semantic can run", hint="Use 'auto'.")
        return False
    if isinstance(root, Standard | Knn):
        return True
    able: bool = yield from runs_natively(root)
    if query.execution == "native" and not able:
        raise InvalidQuery(
            f"this cluster does not run the {kind(root)!r} retriever as it stands here, by its version or licence",
            hint="Use execution 'auto' or 'client'.",
        )
    return able


def _native(query: Query, root: Retriever) -> Steps[Json]:
    page = query.page
    body: Json = {**page.body, "retriever": to_json(root)}
    if page.size is not None:
        body["size"] = page.size
    if page.start:
        body["from"] = page.start
    if page.explain:
        body["explain"] = True
    params = {**query.params, **({} if isinstance(root, Standard | Knn) else {"allow_partial_search_results": "false"})}
    try:
        answer: Json = yield Request("POST", url_path("/{}/_search", query.index), params, body)
    except RequestFailed as error:
        if error.status == 400:
            reason = error.what.split("_search: ", 1)[-1]
            raise InvalidRetriever(kind(root), error.error_type, reason, hint=error.hint) from error
        raise
    return answer


def _search_leaves(query: Query, root: Retriever, legs: Sequence[Leaf], found: Found) -> Steps[None]:
    """One ``_msearch`` with every leaf; ids and scores travel, and what retrievers above must read."""
    if not legs:
        return
    tie = yield Remember(("tie",), 3_600.0, lambda: _tie(query.index))
    timeout = None if query.deadline is None else f"{max(1, round(query.deadline * 1000))}ms"
    extra = {key: value for key, value in query.page.body.items() if key in LEAF_KEYS}
    header = {"allow_partial_search_results": False, "preference": _preference(query, root), **query.params}
    lines = []
    for leg in legs:
        body = leaf_body(leg, tie=tie, explain=query.page.explain, timeout=timeout)
        lines += [orjson.dumps({**header, "index": leg.index or query.index}), orjson.dumps({**body, **extra})]
    answer = yield Request("POST", "/_msearch", {"filter_path": _KEPT}, lines, about=_about(query))
    errors = []
    for leg, response in zip(legs, answer["responses"], strict=True):
        if "error" not in response and not response.get("timed_out"):
            found.add(leg, response)
            continue
        error = _failed(query, leg, response)
        errors.append(error)
        if not query.allow_degraded or response.get("status") in _CALLERS_FAULT:
            raise error
        found.degraded.append(Degraded(leg.name, error.what))
    if errors and not found.rankings:
        raise errors[0]


def _page(query: Query, root: Retriever, ranking: Ranking, legs: Sequence[Leaf], found: Found) -> Steps[Json]:
    page = query.page
    searches = [page_body(page, ranking, legs)]
    matched = match_body(page, ranking, found, legs)
    if matched is not None:
        searches.append(matched)
    header = orjson.dumps({"index": query.index, "allow_partial_search_results": False, **query.params})
    lines = [line for body in searches for line in (header, orjson.dumps(body))]
    answer = yield Request("POST", "/_msearch", body=lines, about=_about(query))
    for response in answer["responses"]:
        if "error" in response:
            raise failure(int(response.get("status", 500)), response, _about(query))
    first, *others = answer["responses"]
    hits = read_hits(page, ranking, found, legs, first)
    if page.explain:
        for hit in hits:
            hit["_explanation"] = explained(root, kind(root), key_of(hit), found)
    body: Json = {"took": 0, "timed_out": found.timed_out, "_shards": first["_shards"], "hits": {}}
    for other in others:
        body |= {name: other[name] for name in ("aggregations", "suggest") if name in other}
        if "total" in other["hits"]:
            body["hits"]["total"] = other["hits"]["total"]
    body["hits"] |= {"max_score": shown(ranking[0][1]) if ranking else None, "hits": hits}
    return body


def _tie(index: str) -> Steps[str]:
    """Which order of documents this server can sort by: old ones know ``_shard_doc`` in a point in time only."""
    body = {"size": 0, "sort": ["_shard_doc"], "track_total_hits": False}
    try:
        yield Request("POST", url_path("/{}/_search", index), {"filter_path": "took"}, body)
    except RequestFailed as error:
        if error.status == 400:
            return "_doc"
        raise
    return "_shard_doc"


def _preference(query: Query, root: Retriever) -> str:
    """The same query goes to the same copies of the shards, whose scores and order may differ from the others'."""
    tree = orjson.dumps([query.index, to_json(root)], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(tree, digest_size=8).hexdigest()


def _degrade(query: Query, found: Found, failed: Mapping[str, EsSemanticError]) -> None:
    for path, error in failed.items():
        if not query.allow_degraded:
            raise error
        found.degraded.append(Degraded(path, error.what))


def _aimed(leg: Leaf, index: str) -> Leaf:
    return Leaf(leg.path, leg.node, leg.size, leg.filters, leg.carry, leg.rescore, index)


def _failed(query: Query, leg: Leaf, response: Mapping[str, Any]) -> EsSemanticError:
    if "error" not in response:
        return RequestFailed(f"{leg.name}: not answered within {query.deadline:g} seconds", status=408)
    status = int(response.get("status", 500))
    error = failure(status, response, _about(query))
    return InvalidRetriever(leg.path, *reason_of(response), hint=error.hint) if status == 400 else error


def _about(query: Query) -> str:
    return f"searching {query.index!r}"


_CALLERS_FAULT = (400, 401, 403, 404)
"""A degraded answer would hide them."""

_KEPT = ",".join(
    [
        "responses.error",
        "responses.status",
        "responses.timed_out",
        *(
            f"responses.hits.hits.{key}"
            for key in ("_index", "_id", "_routing", "_score", "sort", "fields", "_explanation")
        ),
    ]
)
