"""From a ranking to the answer that ``_search`` would give: the request for one page, and what is made of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.documents import documents_query, has_key, ranked_query
from es_semantic.retrieval.found import Found, Key, Ranking, key_of
from es_semantic.retrieval.leaves import Leaf, matching
from es_semantic.retrieval.tree.nodes import Json

PAGE_KEYS = frozenset(
    [
        *("_source", "fields", "highlight", "docvalue_fields", "stored_fields", "script_fields", "runtime_mappings"),
        *("version", "seq_no_primary_term", "collapse", "post_filter", "ext"),
    ]
)
"""What shapes the hits of a page."""

MATCH_KEYS = frozenset(["aggs", "aggregations", "suggest", "runtime_mappings"])
"""What is computed over everything that the leaves have matched."""

LEAF_KEYS = frozenset(["runtime_mappings", "indices_boost", "stats"])
"""What changes how the leaves search."""

MAX_ORDERED = 1_000
"""Documents that Elasticsearch can be told to order, one clause each (``indices.query.bool.max_clause_count``)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a ranking is wanted, and how: ``body`` is the rest of the search request.

    ``size`` is None where the caller gave none; then it is as many as are ranked, as with Elastic's compound
    retrievers. ``explain`` adds how each score came about.
    """

    size: int | None = None
    start: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)
    explain: bool = False

    @property
    def ordered_there(self) -> bool:
        """Whether only Elasticsearch can tell which documents stand on the page."""
        return "collapse" in self.body or "post_filter" in self.body

    def of(self, ranking: Ranking) -> Ranking:
        """Return the part of a ranking that is wanted."""
        return ranking[self.start :] if self.size is None else ranking[self.start : self.start + self.size]


def page_body(page: Page, ranking: Ranking, legs: Sequence[Leaf]) -> Json:
    """Return the search that fetches the page's documents.

    The queries of the leaves take part, without scores, where highlights, inner hits or names need them.

    Raises:
        InvalidQuery: too many documents are ranked to be collapsed or filtered afterwards.
    """
    body: Json = {key: value for key, value in page.body.items() if key in PAGE_KEYS}
    body["track_total_hits"] = False
    if page.ordered_there:
        if len(ranking) > MAX_ORDERED:
            raise InvalidQuery(
                f"collapse and post_filter work on at most {MAX_ORDERED:,} ranked documents, not {len(ranking):,}",
                hint="Use a smaller rank_window_size, or put the filter into the retriever.",
            )
        query = ranked_query([(key, float(len(ranking) - place)) for place, (key, _) in enumerate(ranking)])
        body |= {"from": page.start, "size": len(ranking) if page.size is None else page.size}
    else:
        wanted = page.of(ranking)
        query = documents_query(key for key, _ in wanted)
        body["size"] = len(wanted)
    context = _context(page, legs)
    body["query"] = {"bool": {"must": [query], "should": context}} if context else query
    return body


def match_body(page: Page, ranking: Ranking, found: Found, legs: Sequence[Leaf]) -> Json | None:
    """Return the search over everything that the leaves have matched, for aggregations and the total; None if unasked.

    As in Elasticsearch a ``standard`` leaf counts with all that its query matches, a ``knn`` leaf with its ``k``, and
    under the request's own ``min_score`` only what is ranked counts.
    """
    body: Json = {key: value for key, value in page.body.items() if key in MATCH_KEYS}
    total = page.body.get("track_total_hits", True)
    if total is False and not body.keys() - {"runtime_mappings"}:
        return None
    if "track_total_hits" in page.body:
        body["track_total_hits"] = total
    queries = [documents_query(key for key, _ in ranking)] if ranking else []
    for leg in legs if "min_score" not in page.body else ():
        query = matching(leg)
        nearest = found.rankings.get(leg.path, [])
        if query is not None and leg.path in found.rankings:
            queries.append(query)
        elif query is None and nearest:
            queries.append(documents_query(key for key, _ in nearest))
    matched = {"bool": {"filter": [{"bool": {"should": queries}}]}} if queries else {"match_none": {}}
    return {**body, "size": 0, "query": matched}


def read_hits(
    page: Page, ranking: Ranking, found: Found, legs: Sequence[Leaf], response: Mapping[str, Any]
) -> list[Json]:
    """Return the page's hits in their order, with their scores and their place in every leaf as ``_legs``.

    A document that was deleted since it was ranked is left out.
    """
    scores = dict(ranking)
    fetched = {key_of(hit): hit for hit in response["hits"]["hits"]}
    wanted = list(fetched) if page.ordered_there else [key for key, _ in page.of(ranking) if key in fetched]
    return [_hit(fetched[key], key, scores[key], found, legs) for key in wanted]


def shown(score: float) -> float:
    """Return a score of single precision by the shortest digits that tell it, as Elasticsearch prints it.

    >>> shown(0.8333333730697632)
    0.8333334
    """
    return float(str(np.float32(score)))


def _hit(fetched: Json, key: Key, score: float, found: Found, legs: Sequence[Leaf]) -> Json:
    hit = {name: value for name, value in fetched.items() if name not in ("sort", "matched_queries", "_explanation")}
    hit["_score"] = shown(score)
    places = found.places(key, legs)
    names = fetched.get("matched_queries", [])
    nearest = [leg.node.name for leg in legs if matching(leg) is None and leg.node.name and leg.name in places]
    if names or nearest:
        hit["matched_queries"] = sorted({*names, *nearest})
    hit["_legs"] = {name: {"rank": place.rank, "score": place.score} for name, place in places.items()}
    return hit


def _context(page: Page, legs: Sequence[Leaf]) -> list[Json]:
    context = []
    for leg in legs:
        query = matching(leg)
        if query is None or not (
            "highlight" in page.body or leg.node.name or has_key(query, frozenset(("_name", "inner_hits")))
        ):
            continue
        named = {"_name": leg.node.name} if leg.node.name else {}
        context.append({"bool": {"filter": [query], **named}})
    return context
