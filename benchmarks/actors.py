"""What a second Ray actor is worth: the same job on one and on two, each with one core for its model.

``two_vs_one`` compares documents a second between the first window and the last, so that starting the actors, which
takes as long for ten documents as for ten million, does not count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.backfill import check
from benchmarks.harness import Rows, alternate, arguments, medians, report, texts
from benchmarks.node import FIELD, Node, open_node
from es_semantic import Embedder, RayEngine, cancel_reindex, load_embedder, reindex
from es_semantic.config import (
    Config,
    ConnectionSettings,
    EmbeddingCacheSettings,
    RaySettings,
    SentenceTransformersModel,
)
from es_semantic.reindex.report import ReindexReport

GOALS = {"two_vs_one": 1.7}

VECTOR = "semantic.vector"


class Clock:
    """Remembers when the first window of the first pass was counted, and the last."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def __call__(self, report: ReindexReport) -> None:
        """Look at the watch where there are more documents than before."""
        if report.counts.copied > (self.seen[-1][1] if self.seen else 0):
            self.seen.append((time.perf_counter(), report.counts.copied))

    @property
    def rate(self) -> float:
        """Documents a second after the first window."""
        (began, first), (ended, last) = self.seen[0], self.seen[-1]
        return (last - first) / (ended - began)


def ours(node: Node, embedder: Embedder, part: Sequence[str], actors: int) -> float:
    """Return documents a second of a job on so many actors."""
    engine = RayEngine(ConnectionSettings(url=node.url), RaySettings(actors=actors))
    clock = Clock()
    with node.scratch() as index:
        node.fill(index, part)
        new = f"{index}-new"
        reindex(
            node.client,
            index,
            new,
            fields=FIELD,
            model=SentenceTransformersModel(),
            config=Config(embedding_cache=EmbeddingCacheSettings(max_size="0")),
            chunk="never",
            switch="none",
            engine=engine,
            slices=2,
            progress=clock,
        )
        check(node, embedder, new, FIELD, VECTOR, len(part))
        cancel_reindex(node.client, new)
    return clock.rate


def main() -> None:
    """Measure and report."""
    options = arguments("Re-indexing on Ray actors", documents=6000).parse_args()
    part = texts(options.documents, dataset=options.dataset, seed=options.seed)
    with open_node() as node:
        embedder = load_embedder()
        rates = medians(
            alternate(
                {f"{n} actors": lambda n=n: ours(node, embedder, part, n) for n in (1, 2)},  # type: ignore[misc]
                options.rounds,
            )
        )
    ratios = {"two_vs_one": rates["2 actors"] / rates["1 actors"]}
    rows = [[name, f"{options.documents}", f"{rate:.1f}"] for name, rate in rates.items()]
    report("actors", Rows(("way", "documents", "docs/s"), rows), ratios, GOALS)


if __name__ == "__main__":
    main()
