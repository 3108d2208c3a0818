"""How fast a plain index becomes a new one with vectors: against a loop of elasticsearch-py, and the job's own parts.

``vs_loop`` compares :func:`es_semantic.reindex`, its verification included, with what one writes by hand: ``scan``, the
same model by the same engine over 64 texts at a time, ``bulk``. ``vs_embed`` compares it with embedding the same
batches and doing nothing else, ``vs_sum_of_parts`` with reading, embedding and writing one after the other.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk, scan

from benchmarks.backfill import Recorder, check
from benchmarks.harness import Rows, alternate, arguments, medians, report, texts
from benchmarks.node import FIELD, Node, open_node
from es_semantic import Embedder, cancel_reindex, load_embedder, reindex

GOALS = {"vs_loop": 1.0, "vs_embed": 0.9, "vs_sum_of_parts": 1.0}

BATCH = 64
"""Texts that the loop embeds at once: twice what SentenceTransformer takes by default."""

VECTOR = "semantic.vector"


def ours(node: Node, embedder: Embedder, part: Sequence[str], recorder: Recorder) -> float:
    """Return documents a second of a job, from its first request to an index that is fit for use."""
    recorder.clear()
    with node.scratch() as index:
        node.fill(index, part)
        new = f"{index}-new"
        started = time.perf_counter()
        reindex(node.client, index, new, fields=FIELD, model=recorder, chunk="never", switch="none")
        seconds = time.perf_counter() - started
        check(node, embedder, new, FIELD, VECTOR, len(part))
        cancel_reindex(node.client, new)
    return len(part) / seconds


def loop(node: Node, embedder: Embedder, part: Sequence[str]) -> float:
    """Return documents a second of ``scan``, embed, ``bulk``."""
    with node.scratch() as index, node.scratch() as new:
        node.fill(index, part)
        started = time.perf_counter()
        _create(node.client, new, embedder)
        bulk(node.client, _actions(node.client, index, new, embedder))
        node.client.indices.refresh(index=new)
        seconds = time.perf_counter() - started
        check(node, embedder, new, FIELD, VECTOR, len(part))
    return len(part) / seconds


def read_alone(node: Node, part: Sequence[str]) -> float:
    """Return documents a second of ``scan``."""
    with node.scratch() as index:
        node.fill(index, part)
        started = time.perf_counter()
        count = sum(1 for _ in scan(node.client, index=index))
        return count / (time.perf_counter() - started)


def write_alone(node: Node, embedder: Embedder, part: Sequence[str], vectors: Sequence[Any]) -> float:
    """Return documents a second of ``bulk`` with vectors that are there."""
    with node.scratch() as index:
        _create(node.client, index, embedder)
        actions = [
            {"_index": index, "_id": str(i), "_source": {FIELD: text, "semantic": {"vector": vector}}}
            for i, (text, vector) in enumerate(zip(part, vectors, strict=True))
        ]
        started = time.perf_counter()
        bulk(node.client, actions)
        node.client.indices.refresh(index=index)
        return len(part) / (time.perf_counter() - started)


def _create(client: Elasticsearch, index: str, embedder: Embedder) -> None:
    vector = {"type": "dense_vector", "dims": embedder.profile.fingerprint.dims, "index_options": {"type": "int8_hnsw"}}
    properties = {FIELD: {"type": "text"}, "semantic": {"properties": {"vector": vector}}}
    client.indices.create(index=index, mappings={"properties": properties})


def _actions(client: Elasticsearch, index: str, new: str, embedder: Embedder) -> Iterator[dict[str, Any]]:
    hits = scan(client, index=index)
    while some := list(itertools.islice(hits, BATCH)):
        vectors = embedder.embed_documents([hit["_source"][FIELD] for hit in some]).vectors
        for hit, vector in zip(some, vectors, strict=True):
            source = {**hit["_source"], "semantic": {"vector": vector.tolist()}}
            yield {"_index": new, "_id": hit["_id"], "_source": source}


def _turns(parts: Sequence[Sequence[str]], measure: Callable[[Sequence[str]], float]) -> Callable[[], float]:
    remaining = iter(parts)
    return lambda: measure(next(remaining))


def main() -> None:
    """Measure and report."""
    options = arguments("Re-indexing with vectors", documents=2000).parse_args()
    passages = iter(texts(options.documents * options.rounds, dataset=options.dataset, seed=options.seed))
    parts = [list(itertools.islice(passages, options.documents)) for _ in range(options.rounds)]
    with open_node() as node:
        embedder = load_embedder()
        vectors = embedder.embed_documents(parts[0]).vectors.tolist()
        recorder = Recorder(embedder)
        rates = medians(
            alternate(
                {
                    "reindex": _turns(parts, lambda part: ours(node, embedder, part, recorder)),
                    "embed alone": recorder.replay,
                    "loop": _turns(parts, lambda part: loop(node, embedder, part)),
                    "read alone": _turns(parts, lambda part: read_alone(node, part)),
                    "write alone": _turns(parts, lambda part: write_alone(node, embedder, part, vectors)),
                },
                options.rounds,
            )
        )
    together = 1 / sum(1 / rates[f"{what} alone"] for what in ("read", "embed", "write"))
    ratios = {
        "vs_loop": rates["reindex"] / rates["loop"],
        "vs_embed": rates["reindex"] / rates["embed alone"],
        "vs_sum_of_parts": rates["reindex"] / together,
    }
    rows = [[name, f"{options.documents}", f"{rate:.1f}"] for name, rate in rates.items()]
    rows.append(["parts, one after the other", f"{options.documents}", f"{together:.1f}"])
    report("reindex", Rows(("way", "documents", "docs/s"), rows), ratios, GOALS)


if __name__ == "__main__":
    main()
