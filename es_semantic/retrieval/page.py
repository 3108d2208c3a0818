"""From a ranking to the answer that ``_search`` would give: the searches for one page, and what is made of them. Pure.

Elasticsearch's compound retrievers end in one search, for the ranked documents by their scores and, where totals or
aggregations are asked for, for everything else that was matched, with score 0 (measured on 9.4.3). Only where that
search itself decides which documents stand on the page is it done so here. Else a page is fetched by its ids, several
times as fast, and beside it totals and aggregations are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.documents import documents_query, has_key, ranked_query
from es_semantic.retrieval.found import Key, Ranking, is_number, key_of, number_key, shown
from es_semantic.retrieval.fusion.ranked import Place
from es_semantic.retrieval.tree.nodes import Json

PAGE_KEYS = frozenset(
    [
        *("_source", "fields", "highlight", "docvalue_fields", "stored_fields", "script_fields", "runtime_mappings"),
        *("version", "seq_no_primary_term", "collapse", "post_filter", "ext"),
    ]
)
"""What shapes the hits of a page."""

MATCH_KEYS = frozenset(["aggs", "suggest", "runtime_mappings", "track_total_hits"])
"""What is computed over everything that the leaves have matched."""

LEAF_KEYS = frozenset(["runtime_mappings", "stats"])
"""What changes how the leaves search."""

IGNORED_KEYS = frozenset(["indices_boost", "track_scores"])
"""What Elasticsearch accepts beside a compound retriever and does not heed (measured on 9.4.3)."""

MAX_ORDERED = 1_000
"""Documents that Elasticsearch is told to order, one clause each (``indices.query.bool.max_clause_count``)."""

_SCORED = frozenset(["script", "top_hits", "top_metrics", "sampler", "diversified_sampler", "scripted_metric"])
"""In aggregations: what may look at scores."""

_NO_FIELDS = "_none_"

LOWEST_SENT = float(np.float32(1e-30))
"""What stands for scores that are nearly 0 where Elasticsearch must sort by them. Where it counts up to a limit only,
it loses documents with single precision's smallest numbers to others that score 0 (measured on 9.4.3)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a ranking is wanted, and how: ``body`` is the rest of the search request.

    ``size`` is None where the caller gave none; then it is as many as are ranked, as with Elastic's compound
    retrievers. ``explain`` adds how each score came about. ``named`` asks for the names of the queries that match.
    """

    size: int | None = None
    start: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)
    explain: bool = False
    named: bool = True

    @property
    def ordered_there(self) -> bool:
        """Whether Elasticsearch must know the ranking: to tell what stands on the page, or to compute with scores."""
        return not self.body.keys().isdisjoint(("collapse", "post_filter", "script_fields")) or has_key(
            self.body.get("aggs"), _SCORED
        )

    @property
    def total(self) -> bool | int:
        """``track_total_hits``: whether to count, and up to which number; Elasticsearch's default is true."""
        wanted: bool | int = self.body.get("track_total_hits", True)
        return wanted

    def of(self, ranking: Ranking) -> Ranking:
        """Return the part of a ranking that is wanted."""
        return ranking[self.start : self.start + self.length(len(ranking))]

    def length(self, ranked: int) -> int:
        """Return how many documents are wanted of so many that are ranked."""
        rest = max(0, ranked - self.start)
        return rest if self.size is None else min(self.size, rest)


def page_searches(
    page: Page, ranking: Ranking, matched: Sequence[Json], *, length: int, only_ranked: bool
) -> list[Json]:
    """Return the search that fetches the page's documents, and where there is need a second one, for all matched.

    Where Elasticsearch must know the ranking it goes by the scores, see :func:`in_order`. ``matched`` are queries for
    what the leaves have matched; with ``only_ranked`` nothing but what is ranked counts. ``length`` is that of the page
    before a ``min_score`` of the request.

    Raises:
        InvalidQuery: too many documents are ranked to tell Elasticsearch their order.
    """
    body: Json = {key: value for key, value in page.body.items() if key in PAGE_KEYS}
    if body.get("stored_fields") == _NO_FIELDS:
        # Without ids no hit could be told from others; they are taken away later.
        body |= {"stored_fields": [], "_source": False}
    # Highlights, inner hits and names are those of the leaves' queries.
    shows = frozenset(("_name", "inner_hits") if page.named else ("inner_hits",))
    context = matched if "highlight" in body or has_key(matched, shows) else []
    count = {key: value for key, value in page.body.items() if key in MATCH_KEYS}
    if page.ordered_there:
        lowest = {"min_score": LOWEST_SENT} if only_ranked else {}
        return [
            body | count | _ordered(page, ranking, matched, context) | lowest | {"from": page.start, "size": length}
        ]
    wanted = page.of(ranking)
    documents = documents_query(key for key, _ in wanted)
    query = {"bool": {"must": [documents], "should": list(context)}} if context else documents
    fetch = {**body, "size": len(wanted), "track_total_hits": False, "query": query}
    if any(is_number(key) for key, _ in wanted):
        fetch["seq_no_primary_term"] = True
    if page.total is False and count.keys() <= {"runtime_mappings", "track_total_hits"}:
        return [fetch]
    everything = _any_of([documents_query(key for key, _ in ranking), *([] if only_ranked else matched)])
    return [fetch, {**count, "size": 0, "query": {"bool": {"filter": [everything]}}}]


def read_hits(page: Page, ranking: Ranking, response: Mapping[str, Any]) -> list[tuple[Key, Json]]:
    """Return the page's hits in their order, with their scores, each with its document.

    One that was deleted since it was ranked is left out.
    """
    hits: list[Json] = response["hits"]["hits"]
    if page.ordered_there:
        return [(key_of(hit), hit) for hit in hits]
    wanted = page.of(ranking)
    numbered = any(is_number(key) for key, _ in wanted)
    fetched = {number_key(hit["_index"], hit["_seq_no"]) if numbered else key_of(hit): hit for hit in hits}
    return [(key, fetched[key] | {"_score": shown(score)}) for key, score in wanted if key in fetched]


def shaped(page: Page, hit: Json, places: Mapping[str, Place], explanation: Json | None) -> Json:
    """Return a hit as it is answered: with its place in every leaf as ``_legs``."""
    hidden = {"_id", "_routing", "_source"} if page.body.get("stored_fields") == _NO_FIELDS else set()
    kept = {name: value for name, value in hit.items() if name not in hidden}
    legs = {name: {"rank": place.rank, "score": place.score} for name, place in places.items()}
    return {**kept, **({"_explanation": explanation} if explanation is not None else {}), "_legs": legs}


def max_score(page: Page, ranking: Ranking, length: int, response: Mapping[str, Any]) -> float | None:
    """Return the highest score of all that is ranked; as in Elasticsearch none where the page's ``length`` is 0."""
    if page.ordered_there:
        best: float | None = response["hits"].get("max_score")
        return best
    return shown(max(score for _, score in ranking)) if ranking and length else None


def in_order(ranking: Ranking, tie: Callable[[Key], Any] | None) -> Ranking:
    """Return the ranking with scores that make Elasticsearch sort it so.

    Equal scores are told apart by the next numbers of single precision, from the last one upwards, unless Elasticsearch
    has the same order for them by itself, its own being that of ``tie``.
    """
    ordered: Ranking = []
    sent, after = np.float32(0), None
    for key, score in reversed(ranking):
        equal = after is not None and np.float32(after[1]) == np.float32(score)
        by_itself = equal and tie is not None and after is not None and tie(key) < tie(after[0])
        sent = max(np.float32(max(score, LOWEST_SENT)), sent if by_itself else np.nextafter(sent, np.float32(np.inf)))
        ordered.append((key, float(sent)))
        after = key, score
    return ordered[::-1]


def with_true_scores(value: Any, sent: Ranking, ranking: Ranking) -> Any:
    """Return an answer to a search by the scores of ``sent`` with those that the documents really have."""
    scores = zip(sent, ranking, strict=True)
    true = {score: shown(true) for (_, score), (_, true) in scores if shown(score) != shown(true)}
    return _restored(value, true) if true else value


def _restored(value: Any, true: Mapping[float, float]) -> Any:
    if isinstance(value, list):
        return [_restored(each, true) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: true.get(float(np.float32(each)), each)
        if name in ("_score", "max_score") and isinstance(each, float)
        else _restored(each, true)
        for name, each in value.items()
    }


def _ordered(page: Page, ranking: Ranking, matched: Sequence[Json], context: Sequence[Json]) -> Json:
    if len(ranking) > MAX_ORDERED:
        raise InvalidQuery(
            f"collapse, post_filter, and scripts and aggregations with scores work on at most {MAX_ORDERED:,} ranked "
            f"documents, not {len(ranking):,}",
            hint="Use a smaller rank_window_size, or put the filter into the retriever.",
        )
    counted = page.total is True or (page.total is not False and page.total > len(ranking))
    query = ranked_query(ranking)
    if matched and (counted or page.explain or "aggs" in page.body):
        query = _any_of([query, _unscored(matched)])
    elif context:
        query = {"bool": {"must": [query], "should": [_unscored(context)]}}
    return {"query": query}


def _any_of(queries: Sequence[Json]) -> Json:
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


def _unscored(queries: Sequence[Json]) -> Json:
    """Let queries add nothing to scores. A filter would do, but lets go of optional clauses, which highlights show."""
    return {"function_score": {"query": _any_of(queries), "weight": 0, "boost_mode": "replace"}}
