"""nDCG@10 of fusions that need no judgements, on judged collections in BEIR's layout.

``python -m benchmarks.fusion ../shared/datasets/*``. Each folder becomes a scratch index with the fields ``title`` and
``text`` and one vector a document, which is removed afterwards. The legs of a query are fetched once; fusions, smaller
windows and bad legs, which are another query's, are made of them. ``gain`` is of ``auto`` over the better leg, with
its interval of 95 %.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from elasticsearch.helpers import bulk

from benchmarks.harness import DATASETS, Rows, report
from benchmarks.node import Node, open_node
from es_semantic import attach, search, sync
from es_semantic.evaluation.beir import read_beir, read_corpus
from es_semantic.evaluation.metrics import NDCG, mean, measurer
from es_semantic.evaluation.statistics import paired
from es_semantic.retrieval.fusion.auto import auto
from es_semantic.retrieval.fusion.linear import linear
from es_semantic.retrieval.fusion.ranked import Fused
from es_semantic.retrieval.fusion.rrf import rrf

Leg = list[tuple[str, float]]
Legs = Mapping[str, Sequence[Leg]]
"""By query: the hits of BM25 and of kNN, best first."""

FLOOR = -0.005
"""How far ``auto`` may be below the better leg."""

WINDOWS = (100, 10, 50, 200)
"""Hits of each leg; the first one is what a search fetches by default."""

FUSIONS: Mapping[str, Callable[[Sequence[Leg]], list[Fused[str]]]] = {
    "rrf": rrf,
    "minmax": partial(linear, normalizers=("minmax", "minmax")),
    "auto": auto,
}
SYSTEMS = ("bm25", "knn", *FUSIONS)

CJK = ("zh", "ja", "ko")
"""How the names of folders with Chinese, Japanese or Korean texts end."""


@dataclass(frozen=True, slots=True)
class Line:
    """What came out for one way to make the legs: mean nDCG@10 by system, and ``auto`` against the better leg."""

    means: Mapping[str, float]
    difference: float
    low: float
    high: float


def main() -> None:
    """Measure and report."""
    given = _arguments()
    rows, ratios = [], {}
    with open_node() as running:
        for folder in given.folders:
            for legs, line in measured(running, folder, given):
                interval = f"{short(line.difference)} [{short(line.low)}, {short(line.high)}]"
                rows.append([folder.name, legs, *(short(line.means[system], "") for system in SYSTEMS), interval])
                if legs == str(WINDOWS[0]):
                    ratios[f"{folder.name}_auto_minus_better_leg"] = round(line.difference, 4)
    columns = ["collection", "legs", *SYSTEMS, "gain"]
    report("fusion", Rows(columns, rows), ratios, dict.fromkeys(ratios, FLOOR))


def measured(running: Node, folder: Path, given: argparse.Namespace) -> Iterator[tuple[str, Line]]:
    """Yield what the legs are, a number of hits or which of them is bad, and what came of them."""
    judged = read_beir(folder, given.qrels)
    queries = dict(judged.queries)
    if given.queries and len(queries) > given.queries:
        queries = {query: queries[query] for query in random.Random(given.seed).sample(sorted(queries), given.queries)}
    ndcg = measurer({query: judged.grades[query] for query in queries}, (NDCG,))
    legs = fetched(running, folder, queries, given.analyzer or _analyzer(folder))
    for window in WINDOWS:
        cut = {query: [leg[:window] for leg in some] for query, some in legs.items()}
        yield str(window), measure(cut, ndcg)
        if window == WINDOWS[0]:
            for number, name in enumerate(("bm25", "knn")):
                yield f"bad {name}", measure(mixed_up(cut, number, given.seed), ndcg)


def fetched(running: Node, folder: Path, queries: Mapping[str, str], analyzer: str) -> Legs:
    """Fill a scratch index and return the legs of every query, as many hits as the largest window."""
    field = {"type": "text", "analyzer": analyzer}
    with running.scratch() as index:
        running.client.indices.create(
            index=index,
            mappings={"properties": {"title": field, "text": field}},
            settings={"number_of_shards": 1, "number_of_replicas": 0},
        )
        bulk(running.client, ({"_index": index, "_id": i, "_source": source} for i, source in read_corpus(folder)))
        # The figures that are published for such collections are of one vector a document.
        attach(running.client, index, ["title", "text"], chunk="never")
        done = sync(running.client, index)
        running.client.indices.refresh(index=index)
        print(f"{folder.name}: {done.embedded} documents embedded, {len(queries)} queries", file=sys.stderr)
        ask = partial(search, running.client, index, size=max(WINDOWS), source=False)
        return {
            query: [[(hit.id, hit.score) for hit in ask(text, mode=mode).hits] for mode in ("bm25", "knn")]
            for query, text in queries.items()
        }


def mixed_up(legs: Legs, number: int, seed: int) -> Legs:
    """Give each query one of its legs from another query: scores as good as before, and wrong."""
    order = list(legs)
    random.Random(seed).shuffle(order)
    follower = dict(zip(order, order[1:] + order[:1], strict=True))
    return {
        query: [legs[follower[query]][i] if i == number else leg for i, leg in enumerate(some)]
        for query, some in legs.items()
    }


def measure(legs: Legs, ndcg: Callable[[Mapping[str, Sequence[str]]], dict[str, dict[str, float]]]) -> Line:
    """Fuse in every way and compare ``auto`` with the leg that is better on the mean."""
    runs = {
        name: {query: [key for key, _ in some[i]] for query, some in legs.items()} for i, name in enumerate(SYSTEMS[:2])
    }
    for name, fuse in FUSIONS.items():
        runs[name] = {query: [document.key for document in fuse(some)] for query, some in legs.items()}
    values = {name: ndcg(run)[NDCG] for name, run in runs.items()}
    means = {name: mean(some) for name, some in values.items()}
    better = max(SYSTEMS[:2], key=means.__getitem__)
    compared = paired(values["auto"], values[better])
    return Line(means, compared.difference, compared.interval.low, compared.interval.high)


def short(number: float, sign: str = "+") -> str:
    """Return the number with four digits and without the zero before the point."""
    return f"{number:{sign}.4f}".replace("0.", ".", 1)


def _analyzer(folder: Path) -> str:
    return "cjk" if folder.name.endswith(CJK) else "english"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    there = sorted(path.parent for path in DATASETS.glob("*/corpus.jsonl"))
    parser.add_argument("folders", nargs="*", type=Path, default=there, metavar="DIR", help="collections")
    parser.add_argument("--qrels", default="test", help="which judgements")
    parser.add_argument("--queries", type=int, default=0, metavar="N", help="a sample of so many; 0: all")
    parser.add_argument("--analyzer", help="for all folders; without it cjk where the name ends so, else english")
    parser.add_argument("--seed", type=int, default=1, help="which queries are drawn, and how legs are mixed up")
    given = parser.parse_args()
    if not given.folders:
        raise SystemExit(f"no collection in {DATASETS}; name folders with corpus.jsonl, queries.jsonl and qrels/")
    return given


if __name__ == "__main__":
    main()
