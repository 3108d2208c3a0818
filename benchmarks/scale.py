"""What an index with vectors will take: bytes, shards, nodes, hours, money; and whether that is true.

``python -m benchmarks.scale --documents 100000000 ...`` computes a plan for each index type by ``scale_model.py`` and
asks no server. With ``--check`` it fills real indices through es-semantic's own mapping and pipeline, fits the model's
constants on all sizes but the largest, and compares what they predict for that one with what it took. Texts are made up
by Zipf's law and vectors are random, both the same in every run. See ``docs/scale.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from elasticsearch.helpers import parallel_bulk
from rich.console import Console
from rich.table import Table

from benchmarks import scale_model as model
from benchmarks.harness import Rows, report
from benchmarks.harness import texts as texts_of
from benchmarks.memory import ReadyVectors
from benchmarks.node import FIELD, Node, open_node
from benchmarks.scale_model import GB, Constants, Corpus, Plan, Sample, Vectors
from es_semantic import attach
from es_semantic.embedding.encoding import encode_vector
from es_semantic.embedding.protocol import Vectors as Matrix
from es_semantic.reindex.estimate import CHARACTERS_A_TOKEN
from es_semantic.schema.binding import read_bindings
from es_semantic.schema.text import text_hash

CLOSE = 1 / 1.15
"""Goal: a prediction is no more than 15 % too low or too high."""

SIZES = (10_000, 100_000, 1_000_000)
TYPES = ("int8_hnsw", "bbq_hnsw")
GRAPH = {"m": 16, "ef_construction": 100}
WORDS = (10, 160)
"""Shortest and longest text, the lengths between them equally frequent, as in the other benchmarks."""

VOCABULARY = 1_000_000
BLOCK = 1_000
"""Documents that are drawn at once, and written in one request."""

QUERIES = 100
SEED = 1
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Filled:
    """What was measured of one index: the sample, bytes before merging, seconds, and the median latency of kNN."""

    sample: Sample
    store: float
    store_before: float
    segments_before: int
    write_seconds: float
    merge_seconds: float
    knn_ms: float


def vocabulary() -> list[str]:
    """Return made-up words by rank, of consonants and vowels in turn; frequent ones are short, as in real languages."""
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
    words = []
    for rank in range(VOCABULARY):
        word, rest = syllables[rank % len(syllables)], rank // len(syllables)
        while rest:
            word, rest = word + syllables[rest % len(syllables)], rest // len(syllables)
        words.append(word)
    return words


def blocks(count: int, shape: tuple[int, int], dataset: str) -> Iterator[tuple[list[str], Matrix]]:
    """Yield texts, and unit vectors of shape (texts, *shape), up to ``count`` texts in all.

    Of ``dataset`` the texts are :func:`benchmarks.harness.texts`; without it they are made up. Then a word's frequency
    falls with its rank as Zipf's law says (1 / rank), so the number of different words goes on growing. Vectors have no
    order, which makes the largest graph.
    """
    given = texts_of(count, dataset=dataset, words=WORDS) if dataset else []
    words = [] if dataset else vocabulary()
    for start in range(0, count, BLOCK):
        draw = np.random.default_rng((SEED, start))
        size = min(BLOCK, count - start)
        lengths = draw.integers(*WORDS, size=size, endpoint=True)
        ranks = np.exp(draw.random(int(lengths.sum())) * np.log(VOCABULARY)).astype(np.int64) - 1
        parts = np.split(ranks, np.cumsum(lengths)[:-1])
        texts = given[start : start + size] or [" ".join([words[rank] for rank in part]) for part in parts]
        vectors = draw.standard_normal((size, *shape), dtype=np.float32)
        yield texts, vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


def prepare(node: Node, index: str, vectors: Vectors | None, chunks: int) -> str:
    """Create an index of one text field, attached unless ``vectors`` is None; return the stamp of its binding."""
    settings = {"number_of_replicas": 0, "refresh_interval": -1}
    node.client.indices.create(index=index, mappings={"properties": {FIELD: {"type": "text"}}}, settings=settings)
    if vectors is None:
        return ""
    options = {"type": vectors.index_type, **(GRAPH if vectors.layout.graph else {})}
    vector = {"type": "dense_vector", "dims": vectors.dims, "similarity": "cosine", "index_options": options}
    offset = {"type": "integer", "index": False}
    chunk = {"start": offset, "end": offset, "vector": vector}
    nested = {"chunks": {"type": "nested", "dynamic": False, "properties": chunk}}
    properties = nested if chunks > 1 else {"vector": vector}
    node.client.indices.put_mapping(index=index, properties={"semantic": {"dynamic": False, "properties": properties}})
    attach(node.client, index, FIELD, model=ReadyVectors(vectors.dims), chunk="always" if chunks > 1 else "never")
    mapping = node.client.indices.get_mapping(index=index)[index]["mappings"]
    return read_bindings(mapping, index=index).fields["semantic"].stamp


def actions(index: str, stamp: str, parts: Iterator[tuple[list[str], Matrix]]) -> Iterator[dict[str, Any]]:
    """Yield index actions; with a stamp also vectors, marked as the worker marks them."""
    pairs = (pair for texts, vectors in parts for pair in zip(texts, vectors, strict=True))
    for number, (text, rows) in enumerate(pairs):
        source: dict[str, Any] = {FIELD: text}
        if stamp:
            # A thousand documents a second: equal times would take no room.
            time_of = (STARTED + timedelta(milliseconds=number)).isoformat(timespec="milliseconds")
            marks = {"status": "ready", "hash": text_hash(text), "model": stamp, "embedded_at": time_of}
            source["semantic"] = marks | held(text, rows)
        yield {"_index": index, "_id": str(number), "_source": source}


def held(text: str, rows: Matrix) -> dict[str, Any]:
    """Return the part of the semantic field that holds these vectors."""
    if len(rows) == 1:
        return {"vector": encode_vector(rows[0])}
    step = len(text) // len(rows)
    chunks = [{"start": i * step, "end": (i + 1) * step, "vector": encode_vector(row)} for i, row in enumerate(rows)]
    return {"chunks": chunks}


def filled(node: Node, count: int, vectors: Vectors | None, chunks: int, dataset: str) -> Filled:
    """Fill an index, merge it into one segment, and measure; without ``vectors`` it has texts only."""
    with node.scratch() as index:
        client = node.client.options(request_timeout=7_200)
        stamp = prepare(node, index, vectors, chunks)
        text_bytes = 0

        def counted() -> Iterator[tuple[list[str], Matrix]]:
            nonlocal text_bytes
            for texts, rows in blocks(count, (chunks, vectors.dims if vectors else 1), dataset):
                text_bytes += sum(len(text.encode()) for text in texts)
                yield texts, rows

        started = time.perf_counter()
        for _ in parallel_bulk(client, actions(index, stamp, counted()), thread_count=2, chunk_size=BLOCK):
            pass
        client.indices.flush(index=index)
        written = time.perf_counter()
        before, segments = store_of(node, index)
        client.indices.forcemerge(index=index, max_num_segments=1)
        client.indices.refresh(index=index)
        client.indices.flush(index=index)
        merged = time.perf_counter()
        corpus = Corpus(count, text_bytes / count, 0, chunks)
        sample = Sample(corpus, vectors or Vectors(0, "flat"), 1, taken(node, index))
        return Filled(
            sample=sample,
            store=store_of(node, index)[0],
            store_before=before,
            segments_before=segments,
            write_seconds=written - started,
            merge_seconds=merged - written,
            knn_ms=latency(node, index, vectors, chunks) if vectors else 0.0,
        )


def store_of(node: Node, index: str) -> tuple[float, int]:
    """Return the bytes of all segments, and how many there are. (``_stats`` tells what was so some seconds ago.)"""
    copies = node.client.indices.segments(index=index)["indices"][index]["shards"].values()
    segments = [each for copy in copies for shard in copy for each in shard["segments"].values()]
    return float(sum(each["size_in_bytes"] for each in segments)), len(segments)


def taken(node: Node, index: str) -> dict[str, float]:
    """Return bytes by what they are for, as Elasticsearch's analysis of its files says; ``stored`` has the marks."""
    client = node.client.options(request_timeout=3_600)
    fields = client.indices.disk_usage(index=index, run_expensive_tasks=True)[index]["fields"]
    sums = dict.fromkeys(("stored", "inverted", "document", "marks", "raw", "quantised", "graph"), 0.0)
    for name, usage in fields.items():
        what = {"_source": "stored", FIELD: "inverted"}.get(name, "marks" if "." in name else "document")
        sums[what] += usage["total_in_bytes"] - usage["knn_vectors_in_bytes"]
    stats = client.indices.stats(index=index, metric="dense_vector")["_all"]["primaries"]["dense_vector"]
    heap = stats.get("off_heap", {})
    sums["raw"] = heap.get("total_vec_size_bytes", 0)
    sums["quantised"] = heap.get("total_veq_size_bytes", 0) + heap.get("total_veb_size_bytes", 0)
    sums["graph"] = heap.get("total_vex_size_bytes", 0)
    return sums


def latency(node: Node, index: str, vectors: Vectors, chunks: int) -> float:
    """Return the median of a kNN search for ten of 100 candidates, in milliseconds, after as many that warm up."""
    name = "semantic.chunks.vector" if chunks > 1 else "semantic.vector"
    asked = np.random.default_rng(SEED).standard_normal((QUERIES, vectors.dims)).tolist()
    took = []
    for vector in asked * 2:
        knn = {"field": name, "query_vector": vector, "k": 10, "num_candidates": 100}
        started = time.perf_counter()
        node.client.search(index=index, knn=knn, size=10, source=False)
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took[QUERIES:])


def apart(plain: Filled, attached: Filled) -> Filled:
    """Return the attached index's measurements with what the marks take in ``_source`` taken out of ``stored``."""
    without, full = plain.sample.taken, dict(attached.sample.taken)
    full["marks"] += full["stored"] - without["stored"]
    full["stored"] = without["stored"]
    return dataclasses.replace(attached, sample=dataclasses.replace(attached.sample, taken=full))


def compared(measured: Filled, constants: Constants) -> list[tuple[str, float, float]]:
    """Return what was measured and what is predicted, in bytes: for each part, off the heap, and in all."""
    sample = measured.sample
    sizes = model.sizes(sample.corpus, sample.vectors, segments=sample.segments, constants=constants)
    parts = [(what, each, float(getattr(sizes, what))) for what, each in sample.taken.items()]
    heap = (sample.taken["quantised"] or sample.taken["raw"]) + sample.taken["graph"]
    return [*parts, ("off_heap", heap, sizes.off_heap), ("total", measured.store, sizes.total)]


def check(options: argparse.Namespace) -> None:
    """Measure every size and type, fit on all sizes but the largest, and report the predictions for that one."""
    rows: list[list[str]] = []
    ratios: dict[str, float] = {}
    sizes, chunks, dataset = sorted(options.sizes), options.chunks, options.dataset
    with open_node() as node:
        plain = {count: filled(node, count, None, 1, dataset) for count in sizes}
        for index_type in options.types:
            vectors, runs = Vectors(options.dims, index_type), []
            for count in sizes:
                runs.append(apart(plain[count], filled(node, count, vectors, chunks, dataset)))
                tell(index_type, runs[-1])
            constants = model.fit([run.sample for run in runs[:-1]]) if len(runs) > 1 else model.MEASURED
            print(f"{index_type}: {constants}", file=sys.stderr)
            for what, measured, predicted in compared(runs[-1], constants):
                count = runs[-1].sample.corpus.documents
                ratio = predicted / measured if measured else float(predicted == 0)
                each = (f"{number / count:.1f}" for number in (measured, predicted))
                rows.append([index_type, f"{count:,}", what, *each, f"{ratio:.3f}"])
                if what in ("off_heap", "total"):
                    ratios[f"{index_type}_{what}_closeness"] = min(ratio, 1 / ratio)
    columns = ("index type", "documents", "part", "measured B/document", "predicted", "predicted / measured")
    report("scale", Rows(columns, rows), ratios, dict.fromkeys(ratios, CLOSE))


def tell(index_type: str, run: Filled) -> None:
    """Print what was measured of one index to stderr, as JSON: a long run that is broken off has shown something."""
    corpus = run.sample.corpus
    seconds = run.write_seconds + run.merge_seconds
    print(
        json.dumps(
            {
                "index_type": index_type,
                **dataclasses.asdict(corpus),
                **{what: round(each / corpus.documents, 2) for what, each in run.sample.taken.items()},
                "store": round(run.store / corpus.documents, 1),
                "store_before": round(run.store_before / corpus.documents, 1),
                "segments_before": run.segments_before,
                "vectors_a_second": round(corpus.vectors / run.write_seconds, 1),
                "vectors_a_second_merged": round(corpus.vectors / seconds, 1),
                "knn_ms": round(run.knn_ms, 2),
            }
        ),
        file=sys.stderr,
        flush=True,
    )


PLANNED: Mapping[str, tuple[float | None, str]] = {
    "documents": (None, "documents"),
    "text-bytes": (None, "bytes of text in a document, as UTF-8"),
    "vectors-per-second": (None, "vectors that one data node writes a second, merges included (--check measures it)"),
    "tokens": (0, "tokens a vector; 0: four bytes of text are one"),
    "tokens-per-second": (0, "tokens that one accelerator embeds a second, as measured; else from the next three"),
    "flops": (0, "what one accelerator computes at most, in floating point operations a second"),
    "utilisation": (0, "share of it that is reached"),
    "parameters": (10_794_624, "of the model, embeddings not counted; those of all-MiniLM-L6-v2"),
    "accelerators": (1, "how many"),
    "price": (0, "of one accelerator for an hour"),
    "node-price": (0, "of one data node for an hour"),
    "ram": (64, "GB of a data node"),
    "heap": (30, "GB of its JVM's heap"),
    "reserve": (4, "GB of its memory for everything else than heap and vectors"),
    "disk": (2_000, "GB of a data node"),
    "replicas": (1, "of each shard"),
    "shard": (50, "GB that a shard has at most"),
}
"""What a plan is made of: the default, None where there cannot be one, and what it is."""


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; what a plan needs is asked for only where one is wanted."""
    parser = argparse.ArgumentParser(description="What an index with vectors will take, or whether that is true")
    parser.add_argument("--check", action="store_true", help="measure real indices and compare")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="documents, for --check")
    parser.add_argument("--types", nargs="+", default=TYPES, choices=tuple(model.LAYOUTS), help="of the vectors' index")
    parser.add_argument("--dims", type=int, default=384, help="of a vector")
    parser.add_argument("--chunks", type=int, default=1, help="vectors a document")
    parser.add_argument("--dataset", default="", help="texts, for --check: pydocs, or as in the other benchmarks")
    parser.add_argument("--json", action="store_true", help="print the plan as one JSON document")
    for name, (default, text) in PLANNED.items():
        shown = text if default is None else f"{text} (default: {default:,})"
        parser.add_argument(f"--{name}", type=float, default=default, metavar="X", help=shown)
    options = parser.parse_args(arguments)
    if not options.check:
        if None in (options.documents, options.text_bytes, options.vectors_per_second):
            parser.error("a plan needs --documents, --text-bytes and --vectors-per-second")
        if not options.tokens_per_second and not (options.flops and options.utilisation):
            parser.error("a plan needs --tokens-per-second, or --flops and --utilisation")
    return options


def planned(options: argparse.Namespace) -> list[Plan]:
    """Return a plan for each index type."""
    tokens = options.tokens or options.text_bytes / CHARACTERS_A_TOKEN / options.chunks
    corpus = Corpus(int(options.documents), options.text_bytes, tokens, options.chunks)
    rate = options.tokens_per_second or model.tokens_a_second(options.parameters, options.flops, options.utilisation)
    node = model.DataNode(options.ram * GB, options.heap * GB, options.disk * GB, options.reserve * GB)
    wish = model.Wish(
        node=node,
        accelerator=model.Accelerator(rate, int(options.accelerators), options.price),
        vectors_a_second=options.vectors_per_second,
        replicas=int(options.replicas),
        shard_bytes=options.shard * GB,
        node_price=options.node_price,
    )
    return [model.plan(corpus, Vectors(options.dims, each), wish) for each in options.types]


def show(options: argparse.Namespace) -> None:
    """Print the plans as a table, or as JSON."""
    plans = planned(options)
    if options.json:
        print(json.dumps([{**dataclasses.asdict(each), "disk": each.sizes.total} for each in plans]))
        return
    copies = 1 + int(options.replicas)
    rows: dict[str, list[str]] = {
        "disk, one copy": [f"{each.sizes.total / GB:,.0f}" for each in plans],
        "disk, all copies": [f"{each.sizes.total * copies / GB:,.0f}" for each in plans],
        "off-heap, all": [f"{each.sizes.off_heap * copies / GB:,.0f}" for each in plans],
        "primary shards": [f"{each.cluster.shards} of {each.cluster.shard_bytes / GB:.0f} GB" for each in plans],
        "data nodes": [f"{each.cluster.nodes}, because of {each.cluster.limit}" for each in plans],
        "embedding by 1": [f"{each.work.embedding_one:,.2f}" for each in plans],
        f"embedding by {int(options.accelerators)}": [f"{each.work.embedding:,.2f}" for each in plans],
        "writing": [f"{each.work.writing:,.2f}" for each in plans],
        "both at once": [f"{each.work.hours:,.2f}, because of {each.work.bottleneck}" for each in plans],
        "balance": [f"{each.work.balance:,.1f}" for each in plans],
        "accelerators": [f"{each.work.accelerator_cost:,.2f}" for each in plans],
        "nodes meanwhile": [f"{each.work.node_cost:,.2f}" for each in plans],
    }
    title = f"{int(options.documents):,} documents, {options.dims} dims: GB, hours, money"
    table = Table("", *options.types, title=title)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    Console().print(table)


def main() -> None:
    """Check, or plan and print."""
    options = options_of()
    if options.check:
        check(options)
    else:
        show(options)


if __name__ == "__main__":
    main()
