"""How much the worker's memory grows with the index: peak of a process that syncs many documents, beyond a small run.

Vectors are there at once, without a model, so that what is measured is the worker alone. ``growth_mb`` is a ceiling.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import Rows, alternate, arguments, medians, report
from benchmarks.node import Node, open_node
from es_semantic import Embeddings, ModelProfile, status, sync
from es_semantic.embedding import Fingerprint
from es_semantic.embedding.fingerprint import probe_of
from es_semantic.embedding.protocol import Vectors

GOALS = {"growth_mb": 64.0}

DIMS = 384
WORDS = 60
VOCABULARY = 20_000
MIB = 2**20


class ReadyVectors:
    """An embedder that costs next to nothing: unit vectors drawn from a text's hash. Not for searching."""

    def __init__(self, dims: int = DIMS) -> None:
        self._dims = dims

    @property
    def profile(self) -> ModelProfile:
        """A profile without a window."""
        probe = probe_of(self._vector("probe"))
        fingerprint = Fingerprint(provider="benchmarks", model="ready", dims=self._dims, normalized=True, probe=probe)
        return ModelProfile(fingerprint, "cosine", None)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text, always the same."""
        return Embeddings(np.stack([self._vector(text) for text in texts]))

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """Return the same as for documents."""
        return self.embed_documents(texts)

    def _vector(self, text: str) -> Vectors:
        digest = hashlib.shake_128(text.encode("utf-8", "replace")).digest(self._dims)
        vector = np.frombuffer(digest, dtype=np.int8).astype(np.float32) + np.float32(0.5)
        unit: Vectors = vector / np.linalg.norm(vector)
        return unit


def passages(count: int, *, words: int = WORDS, seed: int = 1) -> Iterator[str]:
    """Yield different passages of so many made-up words, without ever holding more than one."""
    draw = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(VOCABULARY)]
    for number in range(count):
        yield f"p{number} " + " ".join(draw.choices(vocabulary, k=words - 1))


def peak_mb() -> float:
    """Return the most memory, in MiB, that this process has held at once."""
    proc = Path("/proc/self/status")
    if proc.is_file():
        # Not getrusage: on Linux its peak includes that of the process that started this one.
        line = next(line for line in proc.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024


def measure(node: Node, count: int) -> float:
    """Return the peak, in MiB, of a process that syncs a new index of ``count`` documents.

    Raises:
        SystemExit: it failed, or left documents without a vector.
    """
    with node.scratch() as index:
        node.fill(index, passages(count))
        node.attach(index, ReadyVectors())
        started = time.perf_counter()
        worker = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", "--worker", index],
            env={**os.environ, "ES_SEMANTIC_URL": node.url},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if worker.returncode:
            raise SystemExit(f"the worker left with {worker.returncode}")
        ready = status(node.client, index).ready
        if ready != count:
            raise SystemExit(f"{ready} of {count} documents are ready")
        print(f"{count} documents in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        return float(worker.stdout.split()[-1])


def work(index: str) -> None:
    """Be the worker: sync the index and print the peak."""
    with open_node() as node:
        sync(node.client, index, model=ReadyVectors())
    print(peak_mb())


def main() -> None:
    """Measure every size and report; with ``--worker``, be the process that is measured."""
    parser = arguments("Peak memory of the worker by size of the index", rounds=1)
    parser.add_argument(
        "--documents", type=int, nargs="+", default=[10_000, 100_000], metavar="N", help="sizes, the base first"
    )
    parser.add_argument("--worker", metavar="INDEX", help="sync this index and print the peak in MiB")
    options = parser.parse_args()
    if options.worker:
        return work(options.worker)
    if len(options.documents) < 2:
        parser.error("--documents: growth needs two sizes")
    with open_node() as node:
        peaks = medians(alternate({str(n): partial(measure, node, n) for n in options.documents}, options.rounds))
    base, *larger = peaks.values()
    rows = [[size, f"{peak:.1f}", f"{peak - base:+.1f}"] for size, peak in peaks.items()]
    ratios = {"growth_mb": max(peak - base for peak in larger)}
    return report("memory", Rows(("documents", "peak MiB", "growth MiB"), rows), ratios, GOALS)


if __name__ == "__main__":
    main()
