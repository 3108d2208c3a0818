"""How long a hybrid query takes, embedding apart: against its slower leg alone, and against other ways to ask.

Every ratio is the other side's time over ours, so more is better: ``slower_leg_p50`` at 0.87 means that a hybrid query
takes 1.15 times as long as the slower of its legs, each asked alone by a plain client.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from elasticsearch.helpers import parallel_bulk
from rich.progress import track

from benchmarks.harness import Rows, arguments, report, texts
from benchmarks.memory import passages
from benchmarks.node import FIELD, Node, open_node
from benchmarks.peers import QUIET, searchers
from es_semantic import Embedder, Embeddings, ModelProfile, load_embedder, search, sync
from es_semantic.embedding import Fingerprint
from es_semantic.embedding.encoding import encode_vector
from es_semantic.embedding.fingerprint import probe_of
from es_semantic.embedding.protocol import Vectors
from es_semantic.schema.binding import read_bindings
from es_semantic.schema.text import text_hash

GOALS = {"slower_leg_p50": 0.87}

OURS = "es-semantic"
DIMS = 384
TOPICS = 1_000
MADE_UP = 200_000
"""From this many documents on, texts and vectors are made up: a model would take hours."""

WORDS_IN_QUERY = 6


class Topics:
    """An embedder that costs next to nothing: a text lies near the centre that its first words choose."""

    def __init__(self) -> None:
        self._centres = np.random.default_rng(1).standard_normal((TOPICS, DIMS), dtype=np.float32)

    @property
    def profile(self) -> ModelProfile:
        """A profile without a window."""
        probe = probe_of(self._vector("probe"))
        fingerprint = Fingerprint(provider="benchmarks", model="topics", dims=DIMS, normalized=True, probe=probe)
        return ModelProfile(fingerprint, "cosine", None)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text, always the same."""
        return Embeddings(np.stack([self._vector(text) for text in texts]))

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """Return the same as for documents."""
        return self.embed_documents(texts)

    def _vector(self, text: str) -> Vectors:
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        topic = hashlib.blake2b(text.split()[-1].encode(), digest_size=8).digest()
        noise = np.random.default_rng(int.from_bytes(digest)).standard_normal(DIMS, dtype=np.float32)
        vector = self._centres[int.from_bytes(topic) % TOPICS] + noise
        unit: Vectors = vector / np.linalg.norm(vector)
        return unit


def fill(node: Node, index: str, count: int, model: Embedder, dataset: str, seed: int) -> None:
    """Make an attached index of ``count`` documents whose vectors are true."""
    if count < MADE_UP:
        node.fill(index, texts(count, dataset=dataset, seed=seed))
        node.attach(index, model)
        sync(node.client, index, model=model)
    else:
        node.fill(index, ())
        node.attach(index, model)
        actions = ready_documents(node, index, passages(count), model)
        for _ in track(parallel_bulk(node.client, actions, thread_count=2, chunk_size=1000), "writing", total=count):
            pass
    node.client.indices.refresh(index=index)
    node.client.options(request_timeout=3_600).indices.forcemerge(index=index, max_num_segments=1)
    node.client.indices.refresh(index=index)


def ready_documents(node: Node, index: str, texts: Iterable[str], model: Embedder) -> Iterator[dict[str, Any]]:
    """Yield index actions with vectors, marked as the worker would mark them."""
    mapping = node.client.indices.get_mapping(index=index)[index]["mappings"]
    stamp = read_bindings(mapping, index=index).fields["semantic"].stamp
    for number, text in enumerate(texts):
        vector = encode_vector(model.embed_documents([text]).vectors[0])
        semantic = {"vector": vector, "status": "ready", "hash": text_hash(text), "model": stamp}
        yield {"_index": index, "_id": str(number), "_source": {FIELD: text, "semantic": semantic}}


def queries(node: Node, index: str, count: int, seed: int) -> list[str]:
    """Return parts of documents: some words in a row of each."""
    sample = {"function_score": {"query": {"match_all": {}}, "random_score": {"seed": seed, "field": "_seq_no"}}}
    found = node.client.search(index=index, query=sample, size=count, source_includes=[FIELD])["hits"]["hits"]
    draw = random.Random(seed)
    parts = []
    for hit in found:
        words = hit["_source"][FIELD].split()
        start = draw.randrange(max(1, len(words) - WORDS_IN_QUERY))
        parts.append(" ".join(words[start : start + WORDS_IN_QUERY]))
    return parts


def timed(sides: Mapping[str, Callable[[str], Any]], asked: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of every query by side; the sides take turns within each query, in changing order."""
    names = list(sides)
    for text in asked:
        # Until Elasticsearch has compiled what they use, all sides are several times slower.
        for name in names:
            sides[name](text)
    took: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for number, text in enumerate(asked):
            first = (turn + number) % len(names)
            for name in names[first:] + names[:first]:
                started = time.perf_counter()
                found = sides[name](text)
                took[name].append((time.perf_counter() - started) * 1000)
                if not found:
                    raise SystemExit(f"{name} found nothing for {text!r}")
    return took


def compare(node: Node, count: int, model: Embedder, options: Any) -> tuple[list[list[str]], dict[str, float]]:
    """Measure one size: a row for each side, and the ratios to our own time."""
    with node.scratch() as index:
        fill(node, index, count, model, options.dataset, options.seed)
        asked = queries(node, index, options.queries, options.seed)
        embedded = model.embed_queries(asked).vectors.tolist()
        vectors = dict(zip(asked, embedded, strict=True))
        sides: dict[str, Callable[[str], Any]] = {
            OURS: lambda text: search(node.client, index, text, model=Ready(model, vectors)).hits,
            "bm25 alone": searchers.bm25(node.client, index),
            "knn alone": searchers.knn(node.client, index, vectors),
            "serial": searchers.serial(node.client, index, vectors),
            "ragflow-shaped": searchers.ragflow(node.client, index, vectors),
        }
        if "langchain" in options.peers:
            sides["langchain"] = searchers.langchain(node.url, index, vectors)
        if "llama-index" in options.peers:
            sides["llama-index"] = searchers.llama_index(node.url, index, vectors)
        took = timed(sides, asked, options.rounds)
    points = {name: (statistics.median(times), percentile(times, 95)) for name, times in took.items()}
    slower = max(("bm25 alone", "knn alone"), key=lambda name: points[name][0])
    ours = points[OURS]
    rows = [
        [f"{count:,}", name, f"{p50:.1f}", f"{p95:.1f}", f"{p50 / ours[0]:.2f}", f"{p95 / ours[1]:.2f}"]
        for name, (p50, p95) in points.items()
    ]
    against = {"slower_leg": slower, **{name: name for name in points if name not in (OURS, "bm25 alone", "knn alone")}}
    ratios = {}
    for what, name in against.items():
        ratios[f"{what.replace('-', '_')}_p50_at_{count}"] = points[name][0] / ours[0]
        ratios[f"{what.replace('-', '_')}_p95_at_{count}"] = points[name][1] / ours[1]
    return rows, ratios


def percentile(times: Sequence[float], part: int) -> float:
    """Return the time that ``part`` of 100 stay below."""
    return float(np.percentile(np.asarray(times), part))


class Ready:
    """The model's profile, and query vectors that are there already."""

    def __init__(self, model: Embedder, vectors: Mapping[str, Sequence[float]]) -> None:
        self._model = model
        self._vectors = vectors

    @property
    def profile(self) -> ModelProfile:
        """The model's."""
        return self._model.profile

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """Embed by the model."""
        return self._model.embed_documents(texts)

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """Look the vectors up."""
        return Embeddings(np.asarray([self._vectors[text] for text in texts], dtype=np.float32))


def main() -> None:
    """Measure every size and report."""
    parser = arguments("Latency of hybrid queries, embedding apart", rounds=3, queries=100)
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000], metavar="N", help="sizes of the index")
    parser.add_argument("--peers", nargs="*", default=["langchain", "llama-index"], help="libraries to compare with")
    options = parser.parse_args()
    os.environ.update(QUIET)
    # LlamaIndex warns of every document that it did not write itself.
    logging.disable(logging.WARNING)
    rows: list[list[str]] = []
    ratios: dict[str, float] = {}
    with open_node() as node:
        for count in options.documents:
            print(f"{count:,} documents ...", file=sys.stderr)
            model: Embedder = Topics() if count >= MADE_UP else load_embedder()
            measured, found = compare(node, count, model, options)
            rows += measured
            ratios |= found
    goals = {f"{name}_at_{count}": goal for name, goal in GOALS.items() for count in options.documents}
    columns = ("documents", "side", "p50 ms", "p95 ms", "p50 / ours", "p95 / ours")
    report("search", Rows(columns, rows), ratios, goals)


if __name__ == "__main__":
    main()
