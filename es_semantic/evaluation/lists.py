"""Ranked lists of single legs, and what is missing from an index."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import InvalidRetriever, RequestFailed
from es_semantic.evaluation.judgements import NAMED
from es_semantic.evaluation.metrics import DEPTH, Runs
from es_semantic.evaluation.prepared import PreparedQueries
from es_semantic.evaluation.watch import Watch
from es_semantic.retrieval.query import Mode
from es_semantic.retrieval.search import search_steps

List = list[tuple[tuple[str, str], float]]
"""Documents by index and id, and their scores, best first."""

IDS_AT_ONCE = 250
COPIES = 4
"""Documents of one id that are allowed for: with custom routing, or several indices behind a name, more than one."""

SAMPLE = 100
"""Queries by which the approximate leg is judged; an exact search looks at every vector."""

SEED = 1


@dataclass(frozen=True, slots=True)
class AnnRecall:
    """Which part of the exactly nearest documents the approximate leg finds, the mean over ``queries``."""

    at_10: float
    at_100: float
    queries: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Judged documents that are not in the index: how many of how many, and the first five of their ids."""

    count: int
    judged: int
    first: tuple[str, ...] = ()


def ranked_lists(
    index: str,
    queries: Mapping[str, str],
    embedder: PreparedQueries,
    mode: Mode,
    watch: Watch,
    *,
    name: str,
    fields: Sequence[str] | None,
) -> Steps[dict[str, List]]:
    """Return what one leg finds for each query, :data:`~.metrics.DEPTH` hits at most."""
    lists: dict[str, List] = {}
    for query, text in queries.items():
        watch(f"searching, {mode}", len(lists), len(queries))
        result = yield from search_steps(
            index, text, lambda _: embedder, mode=mode, size=DEPTH, fields=fields, name=name, source=False
        )
        # With custom routing one id may stand in several shards; the best counts.
        found: dict[tuple[str, str], float] = {}
        for hit in result.hits:
            found.setdefault((hit.index, hit.id), hit.score)
        lists[query] = list(found.items())
    watch(f"searching, {mode}", len(lists), len(queries))
    return lists


def missing_documents(index: str, ids: set[str]) -> Steps[Missing]:
    """Return which documents of these ids the index does not have."""
    ordered = sorted(ids)
    found: set[str] = set()
    for start in range(0, len(ordered), IDS_AT_ONCE):
        part = ordered[start : start + IDS_AT_ONCE]
        body = {
            "size": COPIES * len(part),
            "query": {"ids": {"values": part}},
            "_source": False,
            "track_total_hits": False,
        }
        params = {"allow_partial_search_results": "false", "filter_path": "hits.hits._id"}
        answer = yield Request("POST", url_path("/{}/_search", index), params, body)
        found |= {hit["_id"] for hit in answer.get("hits", {}).get("hits", [])}
    missing = [document for document in ordered if document not in found]
    return Missing(len(missing), len(ordered), tuple(missing[:NAMED]))


def ann_recall(
    index: str, approximate: Runs, queries: Mapping[str, str], embedder: PreparedQueries, watch: Watch, *, name: str
) -> Steps[AnnRecall | None]:
    """Compare what the approximate vector leg has found with the exact one, for a sample of the queries.

    None where the cluster runs no scripts or no expensive queries.
    """
    sample = random.Random(SEED).sample(sorted(queries), min(SAMPLE, len(queries)))
    drawn = {query: queries[query] for query in sample}
    try:
        exact = yield from ranked_lists(index, drawn, embedder, "exact", watch, name=name, fields=None)
    except InvalidRetriever:
        return None
    except RequestFailed as error:
        if error.status == 400:
            return None
        raise
    at = {
        depth: sum(recall(approximate[query], best, depth) for query, best in exact.items()) / len(exact)
        for depth in (10, DEPTH)
    }
    return AnnRecall(at[10], at[DEPTH], len(exact))


def recall(found: Sequence[str], exact: List, depth: int) -> float:
    """Return which part of the ``depth`` exactly nearest documents is among the first ``depth`` found.

    What is as near as the last of them counts as well, because which of several equals comes last is chance. 1 where
    there is nothing to find.
    """
    nearest = exact[:depth]
    if not nearest:
        return 1.0
    as_near = {document for (_, document), score in exact if score >= nearest[-1][1]}
    return min(len(nearest), len(as_near & set(found[:depth]))) / len(nearest)
