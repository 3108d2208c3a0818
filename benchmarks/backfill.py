"""How fast an existing index gets its vectors: against the model alone, and against other libraries.

``end_to_end_vs_embed`` compares ``sync`` of a plain index that was just attached with embedding the very same batches
and writing nothing. ``vs_best_peer`` compares the whole way from texts to a searchable index of texts and vectors:
create, index, attach and sync here, and what each peer's own documentation shows there.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import Rows, alternate, arguments, medians, report, texts
from benchmarks.node import FIELD, Node, open_node
from benchmarks.peers import MODULES, Peer, load
from es_semantic import Embedder, Embeddings, ModelProfile, load_embedder, sync

GOALS = {"end_to_end_vs_embed": 0.95, "vs_best_peer": 4.0}
OURS = "es-semantic"

SAMPLE = 16
SAME_MODEL = 0.999
"""Cosine below which two vectors of one text are not by one model; number formats move it by less."""

Parts = Sequence[Sequence[str]]
"""The texts of each round: others every time, so that no cache of vectors can answer for the model."""


class Recorder:
    """An embedder that remembers its batches, and how many of them were under way at once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._active = 0
        self._most = 0
        self._batches: list[list[str]] = []

    @property
    def profile(self) -> ModelProfile:
        """The recorded embedder's."""
        return self._embedder.profile

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """Embed, and remember the texts."""
        with self._lock:
            self._batches.append(list(texts))
            self._active += 1
            self._most = max(self._most, self._active)
        try:
            return self._embedder.embed_documents(texts)
        finally:
            with self._lock:
                self._active -= 1

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """Embed queries, which are not remembered."""
        return self._embedder.embed_queries(texts)

    def clear(self) -> None:
        """Forget everything."""
        self._batches.clear()
        self._most = 0

    def require(self, count: int) -> None:
        """See that so many texts are remembered.

        Raises:
            SystemExit: it is another number.
        """
        seen = sum(map(len, self._batches))
        if seen != count:
            raise SystemExit(f"the model saw {seen} of {count} texts: something else, such as a cache, answered for it")

    def replay(self) -> float:
        """Embed the remembered batches again, as many at once as before, and return texts a second."""
        with ThreadPoolExecutor(max_workers=self._most) as pool:
            started = time.perf_counter()
            embedded = sum(len(result.vectors) for result in pool.map(self._embedder.embed_documents, self._batches))
            return embedded / (time.perf_counter() - started)


def against_embedding(node: Node, embedder: Embedder, parts: Parts) -> dict[str, float]:
    """Return documents a second of ``sync`` and of embedding its batches alone, the medians of the rounds."""
    recorder = Recorder(embedder)
    remaining = iter(parts)

    def end_to_end() -> float:
        part = next(remaining)
        recorder.clear()
        with node.scratch() as index:
            node.fill(index, part)
            node.attach(index, recorder)
            started = time.perf_counter()
            sync(node.client, index, model=recorder)
            seconds = time.perf_counter() - started
            check(node, embedder, index, FIELD, "semantic.vector", len(part))
        recorder.require(len(part))
        return len(part) / seconds

    return medians(alternate({"sync": end_to_end, "embed only": recorder.replay}, len(parts)))


@dataclass(frozen=True, slots=True)
class Way:
    """A way to bring texts into a new index with their vectors, and the fields that it uses."""

    ingest: Callable[[str, Sequence[str]], None]
    text_field: str
    vector_field: str


def against_peers(
    node: Node, embedder: Embedder, peers: dict[str, Peer], parts: Parts, warm_up: Sequence[str]
) -> dict[str, float]:
    """Return documents a second from texts to a searchable index with vectors, the medians of the rounds, by name."""
    recorder = Recorder(embedder)

    def ours(index: str, part: Sequence[str]) -> None:
        recorder.clear()
        node.fill(index, part)
        node.attach(index, recorder)
        sync(node.client, index, model=recorder)
        recorder.require(len(part))

    ways = {OURS: Way(ours, FIELD, "semantic.vector")}
    for name, peer in peers.items():
        ways[name] = Way(_ingest(node, peer), peer.text_field, peer.vector_field)
    for way in ways.values():
        _run(node, embedder, way, warm_up)
    candidates = {name: _timed(node, embedder, way, parts) for name, way in ways.items()}
    return medians(alternate(candidates, len(parts)))


def _ingest(node: Node, peer: Peer) -> Callable[[str, Sequence[str]], None]:
    return lambda index, part: peer.ingest(node.url, index, part)


def _timed(node: Node, embedder: Embedder, way: Way, parts: Parts) -> Callable[[], float]:
    remaining = iter(parts)
    return lambda: _run(node, embedder, way, next(remaining))


def _run(node: Node, embedder: Embedder, way: Way, part: Sequence[str]) -> float:
    with node.scratch() as index:
        started = time.perf_counter()
        way.ingest(index, part)
        seconds = time.perf_counter() - started
        check(node, embedder, index, way.text_field, way.vector_field, len(part))
    return len(part) / seconds


def check(node: Node, embedder: Embedder, index: str, text_field: str, vector_field: str, count: int) -> None:
    """See that the index holds ``count`` searchable documents, all with a vector, and that a sample's are the model's.

    Raises:
        SystemExit: otherwise, so that no number stands for less work.
    """
    query = {"exists": {"field": vector_field}}
    found = node.client.search(
        index=index,
        query=query,
        size=SAMPLE,
        fields=[{"field": text_field}, {"field": vector_field}],
        source=False,
        track_total_hits=True,
    )
    total = found["hits"]["total"]["value"]
    if total != count:
        raise SystemExit(f"{total} of {count} documents have a searchable vector in {vector_field!r}")
    fields = [hit["fields"] for hit in found["hits"]["hits"]]
    stored = np.asarray([field[vector_field] for field in fields], dtype=np.float32)
    wanted = embedder.embed_documents([field[text_field][0] for field in fields]).vectors
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(wanted, axis=1)
    least = float((np.einsum("ij,ij->i", stored, wanted) / lengths).min())
    if least < SAME_MODEL:
        raise SystemExit(f"a vector in {vector_field!r} is not the model's: cosine {least:.4f}")


def main() -> None:
    """Measure both and report."""
    parser = arguments("Backfill against the model alone and against peers", documents=2000, peer_documents=400)
    parser.add_argument("--peers", default=",".join(MODULES), help="peers, separated by commas; may be empty")
    options = parser.parse_args()
    peers = load([name for name in options.peers.split(",") if name])
    sizes = options.documents, options.peer_documents
    passages = iter(texts(sum(sizes) * options.rounds, dataset=options.dataset, seed=options.seed))
    alone, shared = ([list(itertools.islice(passages, size)) for _ in range(options.rounds)] for size in sizes)
    with open_node() as node:
        embedder = load_embedder()
        embedder.embed_documents(alone[0][:SAMPLE])
        embedded = against_embedding(node, embedder, alone)
        ingested = against_peers(node, embedder, peers, shared, alone[0][:SAMPLE]) if peers else {}
    ratios = {"end_to_end_vs_embed": embedded["sync"] / embedded["embed only"]}
    rivals = {name: ingested[OURS] / rate for name, rate in ingested.items() if name != OURS}
    if rivals:
        ratios |= {"vs_best_peer": min(rivals.values())} | {f"vs_{name}": ratio for name, ratio in rivals.items()}
    rows = [[name, f"{options.documents}", f"{rate:.1f}", ""] for name, rate in embedded.items()]
    rows += [
        [f"ingest: {name}", f"{options.peer_documents}", f"{rate:.1f}", f"{rivals[name]:.2f}" if name in rivals else ""]
        for name, rate in ingested.items()
    ]
    goals = {what: goal for what, goal in GOALS.items() if what in ratios}
    report("backfill", Rows(("way", "documents", "docs/s", "es-semantic is faster by"), rows), ratios, goals)


if __name__ == "__main__":
    main()
