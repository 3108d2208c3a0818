"""Run a retriever tree: natively where Elasticsearch can, else all leaves in one request and the rest here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import orjson

from es_semantic.cluster.failures import LICENCE
from es_semantic.cluster.steps import Forget, Request, Steps, url_path
from es_semantic.deadline import in_milliseconds
from es_semantic.errors import ClusterError, EsSemanticError, InvalidQuery, RequestFailed
from es_semantic.retrieval.evaluate import Means, evaluate
from es_semantic.retrieval.explain import explanation
from es_semantic.retrieval.found import Degraded, Found, Ranking, at_least, labels_of
from es_semantic.retrieval.fresh import with_fresh_bindings
from es_semantic.retrieval.leaves import NUMBER, TIE, Leaf, leaf_body, leaves, lone_body
from es_semantic.retrieval.matched import matched, only_ranked_count
from es_semantic.retrieval.multi_field import expanded, has_multi_field
from es_semantic.retrieval.native import runs_natively, unheeded
from es_semantic.retrieval.page import (
    LEAF_KEYS,
    Page,
    in_order,
    max_score,
    page_searches,
    read_hits,
    shaped,
    with_true_scores,
)
from es_semantic.retrieval.query_vectors import Failed, Models, names_semantic_fields, with_vectors
from es_semantic.retrieval.refusals import CALLERS_FAULT, out_of_time, refused, refused_search
from es_semantic.retrieval.reranked import Rerankers
from es_semantic.retrieval.ties import STABLE, Tie, ties_of
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
from es_semantic.schema.binding import Bindings
from es_semantic.schema.lookup import bindings_of

Execution = Literal["auto", "native", "client"]

Header = dict[str, str]
"""Parameters of every search of a query."""

Search = tuple[bytes, bytes]
"""Two lines of an ``_msearch``: where to search, and what."""


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


def bound_steps(query: Query, models: Models, rerankers: Rerankers) -> Steps[Answer]:
    """Run a query as :func:`answer_steps` does, and again where the bindings that it went by have changed under it."""
    if not has_multi_field(query.root) and not names_semantic_fields(query.root):
        return answer_steps(query, models, rerankers)
    return with_fresh_bindings(
        query.index,
        lambda bindings: answer_steps(query, models, rerankers, bindings),
        lambda answer: {hit["_index"] for hit in answer.body["hits"]["hits"]},
    )


def answer_steps(
    query: Query, models: Models, rerankers: Rerankers, bindings: Mapping[str, Bindings] | None = None
) -> Steps[Answer]:
    """Run a query whose tree has been checked; ``bindings`` are read where they are needed and not given.

    Raises:
        InvalidRetriever: Elasticsearch refuses a leaf; the path tells which.
        InvalidQuery: the tree cannot be run as ``execution`` demands.
        ModelUnavailable, RerankerError, ClusterError: a part failed and ``allow_degraded`` is off, or nothing is left.
    """
    started = time.perf_counter()
    root, found = query.root, Found()
    failed: Failed = {}
    if has_multi_field(root) or names_semantic_fields(root):
        bindings = (yield from bindings_of(query.index)) if bindings is None else bindings
        root, failed = yield from with_vectors(expanded(root, bindings), bindings, models, query.deadline)
        _degrade(query, root, found, failed)
    if (yield from _natively(query, root, rerankers, found)):
        try:
            return (yield from _native(query, root, found))
        except ClusterError as error:
            if not (yield from _goes_on_here(query, root, error)):
                raise
    legs = [
        replace(leg, index=query.targets.get(leg.path, leg.index)) for leg in leaves(root) if leg.path not in failed
    ]
    if not legs:
        raise next(iter(failed.values()))
    means = Means(
        query.index, _header(query, root), _leaf_extras(query), rerankers, query.deadline, query.allow_degraded
    )
    for tie in (yield from ties_of(root, query.page, query.index, query.params)):
        attempt = Found(degraded=list(found.degraded))
        body = yield from _ranked(query, root, legs, attempt, means, tie)
        if body is not None:
            break
    assert body is not None
    body["took"] = round((time.perf_counter() - started) * 1000)
    return Answer(body, "client", tuple(attempt.degraded))


def _natively(query: Query, root: Retriever, rerankers: Rerankers, found: Found) -> Steps[bool]:
    """Decide; a tree that only we can run as it is documented is never sent."""
    if isinstance(root, Standard | Knn):
        # One search, and nothing to rank afterwards.
        return not found.degraded
    ours = unheeded(root) or any(
        isinstance(node, TextSimilarityReranker)
        and (rerankers.has(node.inference_id) or not isinstance(node.field, str))
        for _, node in walk(root)
    )
    if query.execution == "client" or ours or query.targets or found.degraded:
        if query.execution == "native":
            raise InvalidQuery(f"{query.index!r}: this query uses what only es-semantic can run", hint="Use 'auto'.")
        return False
    able: bool = yield from runs_natively(root)
    if query.execution == "native" and not able:
        raise InvalidQuery(
            f"this cluster does not run the {kind(root)!r} retriever as it stands here, by its version or licence",
            hint="Use execution 'auto' or 'client'.",
        )
    return able


def _goes_on_here(query: Query, root: Retriever, error: ClusterError) -> Steps[bool]:
    """Return whether what Elasticsearch could not rank is to be tried leaf by leaf.

    So a part that fails can be left out, and nothing fails when a licence ends.
    """
    if query.execution == "native" or isinstance(root, Standard | Knn):
        return False
    if LICENCE in error.what:
        yield Forget()
        return True
    return query.allow_degraded and error.status not in CALLERS_FAULT


def _native(query: Query, root: Retriever, found: Found) -> Steps[Answer]:
    """Let Elasticsearch answer; a leaf at the root is an ordinary search.

    One that is to answer from all its shards in time is refused like an overloaded one, and must not be sent again.
    """
    page, leaf = query.page, root if isinstance(root, Standard | Knn) else None
    body: Json = {**page.body, **({"retriever": to_json(root)} if leaf is None else lone_body(leaf))}
    if page.size is not None:
        body["size"] = page.size
    if page.start:
        body["from"] = page.start
    if page.explain:
        body["explain"] = True
    if query.deadline is not None:
        body["timeout"] = in_milliseconds(query.deadline)
    index = query.targets.get(kind(root), query.index)
    params = {**_same_copies(query, root), **query.params}
    if leaf is None:
        params["allow_partial_search_results"] = "false"
    patient = query.deadline is None
    try:
        path = url_path("/{}/_search", index)
        answer: Json = yield Request("POST", path, params, body, resend_refused=patient)
    except ClusterError as error:
        if not patient and out_of_time(error):
            raise _late(query, root.name or kind(root)) from error
        raise refused(error, kind(root)) from error
    if leaf is not None and leaf.name:
        for hit in answer["hits"]["hits"]:
            hit["matched_queries"] = [*hit.get("matched_queries", ()), leaf.name]
    if query.deadline is not None and answer.get("timed_out"):
        late = _late(query, root.name or kind(root))
        if not query.allow_degraded:
            raise late
        found.degraded.append(Degraded(root.name or kind(root), late.what))
    return Answer(answer, "native", tuple(found.degraded))


def _ranked(
    query: Query, root: Retriever, legs: Sequence[Leaf], found: Found, means: Means, tie: Tie
) -> Steps[Json | None]:
    """Search the leaves, rank, and fetch the page; None where documents by number are not those that were ranked."""
    yield from _search_leaves(query, root, legs, found, means, tie)
    if tie == NUMBER and found.most_shards != 1:
        return None
    ranking = yield from evaluate(root, kind(root), found, means)
    body: Json = yield from _page(query, root, ranking, legs, found, means.params)
    if tie == NUMBER and len(body["hits"]["hits"]) < len(query.page.of(ranking)):
        # Written since they were ranked, so that they have another number now; an id would find them.
        return None
    return body


def _search_leaves(
    query: Query, root: Retriever, legs: Sequence[Leaf], found: Found, means: Means, tie: Tie
) -> Steps[None]:
    """One ``_msearch`` with every leaf; ids and scores travel, and what retrievers above must read."""
    found.by_shard = tie == TIE
    header, extra = means.params, means.body
    searches = [
        (
            orjson.dumps({**header, "index": leg.index or query.index}),
            orjson.dumps({**extra, **leaf_body(leg, tie=tie, explain=query.page.explain)}),
        )
        for leg in legs
    ]
    try:
        kept = f"{_KEPT},responses._shards.total" if tie == NUMBER else _KEPT
        answer = yield _msearch(query, searches, {"filter_path": kept})
    except RequestFailed as error:
        raise (yield from _blamed(query, error, kind(root), legs, searches)) from error
    errors = []
    for leg, response in zip(legs, answer["responses"], strict=True):
        if "error" not in response and not response.get("timed_out"):
            found.add(leg, response)
            continue
        failure = refused_search(response, leg.path, _about(query)) if "error" in response else None
        if failure is None or out_of_time(failure):
            failure = _late(query, leg.name)
        errors.append(failure)
        if not query.allow_degraded or response.get("status") in CALLERS_FAULT:
            raise failure
        found.degraded.append(Degraded(leg.name, failure.what))
    if errors and not found.rankings:
        raise errors[0]


def _page(
    query: Query, root: Retriever, ranking: Ranking, legs: Sequence[Leaf], found: Found, header: Mapping[str, str]
) -> Steps[Json]:
    page, length = query.page, query.page.length(len(ranking))
    if "min_score" in page.body:
        ranking = at_least(ranking, page.body["min_score"])
    everything = matched(root, kind(root), {leg.path: leg for leg in legs}, found)
    sent = in_order(ranking, found.tie if found.by_shard else None) if page.ordered_there else ranking
    alone = only_ranked_count(root, page.body)
    searches = page_searches(page, sent, everything, length=length, only_ranked=alone)
    where = orjson.dumps({**header, "index": query.index})
    try:
        answer = yield _msearch(query, [(where, orjson.dumps(body)) for body in searches], {})
    except ClusterError as error:
        raise refused(error, "") from error
    for response in answer["responses"]:
        if "error" in response:
            raise refused_search(response, "", _about(query))
    responses = answer["responses"]
    if page.ordered_there:
        responses = with_true_scores(responses, sent, ranking)
    labels = labels_of(legs)
    hits = [
        shaped(page, hit, found.places(key, labels), explanation(root, key, found) if page.explain else None)
        for key, hit in read_hits(page, ranking, responses[0])
    ]
    first, last = responses[0], responses[-1]
    total = {"total": last["hits"]["total"]} if page.total is not False else {}
    return {
        "took": 0,
        "timed_out": any(response["timed_out"] for response in responses),
        "_shards": first["_shards"],
        "hits": {**total, "max_score": max_score(page, ranking, length, first), "hits": hits},
        **{name: last[name] for name in ("aggregations", "suggest") if name in last},
    }


def _msearch(query: Query, searches: Sequence[Search], params: Mapping[str, str]) -> Request:
    lines = [line for search in searches for line in search]
    return Request("POST", "/_msearch", {**params, **STABLE}, lines, about=_about(query))


def _blamed(
    query: Query, error: RequestFailed, path: str, legs: Sequence[Leaf], searches: Sequence[Search]
) -> Steps[EsSemanticError]:
    """Find the leaf for which Elasticsearch has refused all: it does so where it cannot read one of the searches."""
    if error.status == 400:
        for leg, search in zip(legs, searches, strict=True):
            try:
                yield _msearch(query, [search], {"filter_path": "took"})
            except RequestFailed as refusal:
                return refused(refusal, leg.path)
    return refused(error, path)


def _header(query: Query, root: Retriever) -> Header:
    """What every search has: all its shards or an error, and the same copies of them for the same query.

    Scores and order of other copies may differ, and they may not have seen the same refresh.
    """
    # Elasticsearch does not heed it below a compound retriever.
    params = {name: value for name, value in query.params.items() if name != "search_type"}
    return {**_same_copies(query, root), **params, "allow_partial_search_results": "false"}


def _same_copies(query: Query, root: Retriever) -> Header:
    tree = orjson.dumps([query.index, to_json(root)], option=orjson.OPT_SORT_KEYS)
    return {"preference": hashlib.blake2b(tree, digest_size=8).hexdigest()}


def _leaf_extras(query: Query) -> Json:
    extra: Json = {key: value for key, value in query.page.body.items() if key in LEAF_KEYS}
    if query.deadline is not None:
        extra["timeout"] = in_milliseconds(query.deadline)
    elif "timeout" in query.page.body:
        extra["timeout"] = query.page.body["timeout"]
    return extra


def _degrade(query: Query, root: Retriever, found: Found, failed: Mapping[str, EsSemanticError]) -> None:
    for path, node in walk(root):
        if path in failed:
            if not query.allow_degraded:
                raise failed[path]
            found.degraded.append(Degraded(node.name or path, failed[path].what))


def _late(query: Query, name: str) -> RequestFailed:
    allowed = query.page.body.get("timeout") if query.deadline is None else f"{query.deadline:g} seconds"
    return RequestFailed(f"{name}: not answered within {allowed}", status=408)


def _about(query: Query) -> str:
    return f"searching {query.index!r}"


_KEPT = ",".join(
    [
        "responses.error",
        "responses.status",
        "responses.timed_out",
        *(
            f"responses.hits.hits.{key}"
            for key in ("_index", "_id", "_routing", "_score", "sort", "fields", "matched_queries", "_explanation")
        ),
    ]
)
