"""``POST /search``: a text in the short form, or a retriever tree in Elastic's own language."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from es_semantic.api_search import search
from es_semantic.chosen import models_for, rerankers_for
from es_semantic.cluster.steps import Steps
from es_semantic.config import DEFAULT_FIELD_NAME, Config, ServeSettings
from es_semantic.errors import InvalidQuery, InvalidRetriever
from es_semantic.retrieval.engine import Answer, Query, bound_steps
from es_semantic.retrieval.query import DEFAULT_SIZE
from es_semantic.retrieval.request import read_request
from es_semantic.retrieval.results import Hit, SearchResult, read_hit
from es_semantic.retrieval.tree.nodes import Json, Knn, TextSimilarityReranker, kind, walk
from es_semantic.retrieval.tree.permitted import require_filters, require_permitted
from es_semantic.retrieval.tree.plain import ILLEGAL_ARGUMENT, plain
from es_semantic.schema.ranking import Normalizer, Ranking
from es_semantic.server.access import Access
from es_semantic.server.answers import json_answer
from es_semantic.server.callers import Caller, Parts
from es_semantic.server.service import Reach, Service, Timings, all_vectors
from es_semantic.server.vectors import without_vectors

Clause = dict[str, Any]
Index = Annotated[str | list[str], Field(examples=["articles"], description="A name, a list or a pattern.")]
Deadline = Annotated[float | None, Field(gt=0, le=3600, description="Seconds for each leg, embedding and reranking.")]

router = APIRouter(tags=["search"])


class Body(BaseModel):
    """A request body; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class RankingBody(Body):
    """How legs are fused, see docs/fusion.md; ``weights`` by leg, ``bm25`` and ``knn``."""

    method: Literal["auto", "rrf", "linear"] = "auto"
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    rank_constant: Annotated[int, Field(ge=1)] = 60
    normalizer: Normalizer = "minmax"

    @model_validator(mode="after")
    def _usable(self) -> RankingBody:
        self.ranking()
        return self

    def ranking(self) -> Ranking:
        """Return it as a search takes it.

        Raises:
            ValidationError: a weight is of no known leg, or too large, or all are 0.
        """
        return Ranking(**self.model_dump())


class TextSearch(Body):
    """A text to search for by words, by meaning, or both."""

    index: Index
    query: str = Field(examples=["how do I cancel my subscription?"])
    mode: Literal["hybrid", "knn", "bm25", "exact"] = "hybrid"
    size: int = Field(default=DEFAULT_SIZE, ge=1)
    from_: int = Field(default=0, ge=0, alias="from")
    rank_window_size: int | None = Field(default=None, ge=1)
    filters: list[Clause] = Field(default_factory=list, description="Query clauses that every hit must match.")
    fields: list[str] | None = Field(default=None, min_length=1, description="What BM25 looks at.")
    name: str | list[str] = DEFAULT_FIELD_NAME
    ranking: RankingBody | None = None
    rerank: str | None = Field(default=None, min_length=1)
    highlight: bool = False
    passages: int = Field(default=0, ge=0, le=100)
    source: bool = True
    deadline: Deadline = None
    allow_degraded: bool = True


class TreeSearch(Body):
    """A search request with a ``retriever``, as Elasticsearch takes it."""

    index: Index
    retriever: dict[str, Any] = Field(examples=[{"standard": {"query": {"match": {"title": "cancel"}}}}])
    size: int = Field(default=DEFAULT_SIZE, ge=0)
    from_: int = Field(default=0, ge=0, alias="from")
    source: Any = Field(default=None, alias="_source", validation_alias=AliasChoices("_source", "source"))
    fields: list[str | dict[str, Any]] | None = None
    docvalue_fields: list[str | dict[str, Any]] | None = None
    highlight: dict[str, Any] | None = None
    aggs: dict[str, Any] | None = None
    collapse: dict[str, Any] | None = None
    post_filter: Clause | None = None
    min_score: float | None = None
    track_total_hits: bool | int | None = None
    deadline: Deadline = None
    allow_degraded: bool = True


class LegPlace(BaseModel):
    """A document's rank in a leg, from 1, and its score there."""

    rank: int
    score: float | None


class PassageBody(BaseModel):
    """A part of a document's text; ``start`` and ``end`` are code points of it."""

    text: str
    start: int
    end: int
    score: float | None
    field: str


class HitBody(BaseModel):
    """One document. What a tree asks for beyond these keys stands in ``more``, under Elasticsearch's names."""

    index: str
    id: str | None
    score: float | None
    legs: dict[str, LegPlace]
    source: dict[str, Any] = Field(default_factory=dict)
    highlights: dict[str, list[str]] = Field(default_factory=dict)
    passages: list[PassageBody] = Field(default_factory=list)
    routing: str | None = None
    more: dict[str, Any] = Field(default_factory=dict)


class DegradedBody(BaseModel):
    """A part that failed and is missing in the answer."""

    leg: str
    reason: str


class TimingsBody(BaseModel):
    """Milliseconds waited for models and for Elasticsearch, and the requests to it."""

    model_ms: float
    elasticsearch_ms: float
    requests: int


class SearchAnswer(BaseModel):
    """Hits, best first; ``took_ms`` is the whole time here.

    ``total`` and ``aggregations`` are Elasticsearch's, where a tree asked for them.
    """

    took_ms: float
    timings: TimingsBody
    hits: list[HitBody]
    degraded: list[DegradedBody] = Field(default_factory=list)
    total: dict[str, Any] | None = None
    aggregations: dict[str, Any] | None = None


@router.post("/search", response_model=SearchAnswer)
async def post_search(asked: TextSearch | TreeSearch, service: Parts, access: Caller) -> Response:
    """Search for a text (``query``), or rank by a ``retriever`` tree."""
    access.require("search")
    started = time.perf_counter()
    index = asked.index if isinstance(asked.index, str) else ",".join(asked.index)
    if isinstance(asked, TextSearch):
        plain(asked.model_dump(by_alias=True), "body")
        require_text_limits(asked, service.config.serve)
        if not access.raw:
            require_filters(asked.filters, "filters")
            require_rerankers(service.config, [] if asked.rerank is None else [asked.rerank])
        reach = await service.reach(access, index)
        timings = Timings()
        result = await service.run(access, text_steps(asked, service, reach), timings)
        answer = text_answer(result, timings)
        if not access.admin:
            vectors = all_vectors(reach)
            for hit in answer["hits"]:
                hit["source"] = without_vectors({"_id": hit["id"], "_source": hit["source"]}, vectors)["_source"]
    else:
        reach = await service.reach(access, index)
        timings = Timings()
        query = tree_query(asked, service, access, reach)
        found = await service.run(access, tree_steps(query, service), timings)
        body = found.body if access.admin else without_vectors(found.body, all_vectors(reach))
        answer = tree_answer(replace(found, body=body), kind(query.root), asked.from_, timings)
    answer["took_ms"] = round((time.perf_counter() - started) * 1000, 2)
    if answer["degraded"]:
        service.metrics.degraded()
    return json_answer(answer)


def text_steps(asked: TextSearch, service: Service, reach: Reach) -> Steps[SearchResult]:
    """Return the procedure of a text's search."""
    return search.steps(
        reach.index,
        asked.query,
        mode=asked.mode,
        size=asked.size,
        from_=asked.from_,
        rank_window_size=asked.rank_window_size,
        filters=asked.filters,
        fields=asked.fields,
        ranking=None if asked.ranking is None else asked.ranking.ranking(),
        rerank=asked.rerank,
        highlight=asked.highlight,
        passages=asked.passages,
        source=asked.source,
        deadline=service.deadline(asked.deadline),
        allow_degraded=asked.allow_degraded,
        model=service.models,
        config=service.config,
        name=asked.name,
    )


def tree_query(asked: TreeSearch, service: Service, access: Access, reach: Reach) -> Query:
    """Return the checked query of a tree.

    Raises:
        InvalidRetriever: it is malformed, too large, or says what this key may not.
    """
    given = asked.model_dump(exclude={"index", "deadline", "allow_degraded"}, exclude_none=True, by_alias=True)
    query = read_request(reach.index, plain(given, "body"), allow_scripts=access.raw)
    require_tree_limits(query, service.config.serve)
    if not access.raw:
        require_permitted(query.root, query.page.body)
        rerankers = [node for _, node in walk(query.root) if isinstance(node, TextSimilarityReranker)]
        require_rerankers(service.config, [node.inference_id for node in rerankers])
    return replace(
        query,
        # Elasticsearch's own compound retrievers have no one place for a key's filter.
        execution="client" if access.filters and query.root.children else "auto",
        deadline=service.deadline(asked.deadline),
        allow_degraded=asked.allow_degraded,
    )


def tree_steps(query: Query, service: Service) -> Steps[Answer]:
    """Return the procedure of a tree's search."""
    return bound_steps(query, models_for(service.models, service.config, query.index), rerankers_for(service.config))


def require_text_limits(asked: TextSearch, limits: ServeSettings) -> None:
    """Make sure that a text's search is no larger than allowed.

    Raises:
        InvalidQuery: it is.
    """
    require_at_most("size", asked.size, limits.max_size)
    require_at_most("from + size", asked.from_ + asked.size, limits.max_window)
    require_at_most("rank_window_size", asked.rank_window_size or 0, limits.max_window)


def require_tree_limits(query: Query, limits: ServeSettings) -> None:
    """Make sure that no part of a tree is larger than allowed.

    Raises:
        InvalidQuery, InvalidRetriever: one is.
    """
    require_at_most("size", query.page.size or 0, limits.max_size)
    require_at_most("from + size", query.page.start + (query.page.size or 0), limits.max_window)
    for path, node in walk(query.root):
        sizes = {"rank_window_size": node.window}
        if isinstance(node, Knn):
            sizes = {"k": node.k, "num_candidates": node.num_candidates}
        for name, value in sizes.items():
            if value > limits.max_window:
                reason = f"[{name}] cannot exceed [{limits.max_window}] here"
                raise InvalidRetriever(f"{path}.{name}", ILLEGAL_ARGUMENT, reason)


def require_rerankers(config: Config, names: Sequence[str]) -> None:
    """Make sure that rerankers are configured here; any other would be an inference endpoint of the cluster.

    Raises:
        InvalidQuery: one is not.
    """
    for name in names:
        if name not in config.rerankers:
            known = ", ".join(sorted(config.rerankers)) or "none"
            raise InvalidQuery(f"there is no reranker {name!r}", hint=f"Rerankers are: {known}.")


def require_at_most(name: str, value: int, most: int) -> None:
    """Make sure that a number is at most so large.

    Raises:
        InvalidQuery: it is larger.
    """
    if value > most:
        raise InvalidQuery(f"{name} must be at most {most:,} here, not {value:,}", hint="Ask for less, page by page.")


def text_answer(result: SearchResult, timings: Timings) -> Json:
    """Return the answer to a text, of the form of :class:`SearchAnswer`."""
    return {
        "timings": _timings(timings),
        "hits": [_hit(hit) for hit in result.hits],
        "degraded": [asdict(each) for each in result.degraded],
    }


def tree_answer(found: Answer, root: str, start: int, timings: Timings) -> Json:
    """Return the answer to a tree, whose root is a retriever of this kind, of the form of :class:`SearchAnswer`."""
    hits = []
    for rank, each in enumerate(found.body["hits"]["hits"], start=start + 1):
        more = {name.removeprefix("_"): value for name, value in each.items() if name in _MORE}
        known = {"_id": None, "_score": None, **each}
        hits.append({**_hit(read_hit(known, rank, root)), "more": more})
    totals = {"total": found.body["hits"].get("total"), "aggregations": found.body.get("aggregations")}
    return {
        "timings": _timings(timings),
        "hits": hits,
        "degraded": [asdict(each) for each in found.degraded],
        **{name: value for name, value in totals.items() if value is not None},
    }


_MORE = frozenset(["fields", "inner_hits", "sort", "matched_queries", "_version", "_seq_no", "_primary_term"])


def _hit(hit: Hit) -> Json:
    return {
        "index": hit.index,
        "id": hit.id,
        "score": hit.score,
        "legs": {name: {"rank": place.rank, "score": place.score} for name, place in hit.legs.items()},
        "source": hit.source,
        "highlights": hit.highlights,
        "passages": [asdict(each) for each in hit.passages],
        **({"routing": hit.routing} if hit.routing is not None else {}),
    }


def _timings(timings: Timings) -> Json:
    return {
        "model_ms": round(timings.model_ms, 2),
        "elasticsearch_ms": round(timings.elasticsearch_ms, 2),
        "requests": timings.requests,
    }
