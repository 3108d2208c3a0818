"""How long a write stays without its true vector while ``es-semantic sync INDEX --follow`` runs, in seconds.

Documents are written one by one at a steady rate: whole, by partial update, and by a plain ``_bulk`` update, which runs
no pipeline. A write counts as there once a search returns its document with ``status: ready`` and the hash of the new
text. Time starts when the write is sent, so it includes Elasticsearch's own refresh. All numbers are ceilings.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from elasticsearch import Elasticsearch

from benchmarks.harness import Rows, arguments, report, texts
from benchmarks.node import FIELD, Node, open_node
from es_semantic import Embedder, load_embedder, status
from es_semantic.cluster.node.health import free_port
from es_semantic.schema.text import text_hash

GOALS = {"p95_seconds": 1.5}

REFRESH_INTERVAL = "1s"
WRITERS = 4
RETRIES = 3
"""Of an update that meets a write of the worker's own."""

POLL = 0.05
"""Seconds between two searches, and so how exact every number is."""

START_SECONDS = 120.0
"""For the worker to load its model and embed what is there; the next two are for the last writes, and to stop it."""

DRAIN_SECONDS = 60.0
STOP_SECONDS = 30.0

LOG_TAIL = 4000
"""Characters of the worker's log that are shown when it fails."""

CLI = (sys.executable, "-c", "from es_semantic.cli import main; main()")
KINDS = ("index", "update", "bulk update")


@dataclass(slots=True)
class Outstanding:
    """Writes that no search has shown yet, and the seconds that the others took."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    _waiting: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, doc_id: str, kind: str, text: str) -> None:
        """A write is being sent now."""
        with self._lock:
            self._waiting[doc_id] = (kind, text_hash(text), time.perf_counter())

    def ids(self) -> list[str]:
        """Return the documents that are waited for."""
        with self._lock:
            return list(self._waiting)

    def seen(self, doc_id: str, digest: str, at: float) -> None:
        """A search that was answered at ``at`` has shown this document as ready, with this hash."""
        with self._lock:
            kind, wanted, since = self._waiting.get(doc_id, ("", "", 0.0))
            if digest == wanted:
                del self._waiting[doc_id]
                self.seconds[kind].append(at - since)


def watch(client: Elasticsearch, index: str, outstanding: Outstanding, stop: threading.Event) -> None:
    """Search for the outstanding documents again and again, as any program would see them, until told to stop."""
    while not stop.wait(POLL):
        ids = outstanding.ids()
        filters = [
            {"ids": {"values": ids}},
            {"term": {"semantic.status": "ready"}},
            {"exists": {"field": "semantic.vector"}},
        ]
        found = client.search(
            index=index, query={"bool": {"filter": filters}}, size=len(ids), source={"includes": ["semantic.hash"]}
        )
        at = time.perf_counter()
        for hit in found["hits"]["hits"]:
            outstanding.seen(hit["_id"], hit["_source"]["semantic"]["hash"], at)


def write(client: Elasticsearch, index: str, doc_id: str, kind: str, text: str) -> None:
    """Send one write."""
    document = {FIELD: text}
    if kind == "index":
        client.index(index=index, id=doc_id, document=document)
    elif kind == "update":
        client.update(index=index, id=doc_id, doc=document, retry_on_conflict=RETRIES)
    else:
        action = {"update": {"_index": index, "_id": doc_id, "retry_on_conflict": RETRIES}}
        answer = client.bulk(operations=[action, {"doc": document}])
        if answer["errors"]:
            raise SystemExit(f"a bulk update of {index}/{doc_id} failed with {answer['items'][0]['update']['status']}")


def write_steadily(
    client: Elasticsearch, index: str, outstanding: Outstanding, passages: Sequence[str], *, rate: int, known: int
) -> None:
    """Send ``rate`` writes a second, each to a document that is not waited for; ``known`` documents are there.

    The time at which a write is due does not depend on how long the ones before it took.
    """
    draw = random.Random(len(passages))
    start = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        sending = []
        for number, text in enumerate(passages):
            time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            free = sorted({str(i) for i in range(known)} - set(outstanding.ids()))
            kind = draw.choice(KINDS) if free else "index"
            doc_id = draw.choice(free) if kind != "index" or (free and draw.random() < 0.5) else f"new-{number}"
            outstanding.sent(doc_id, kind, text)
            sending.append(pool.submit(write, client, index, doc_id, kind, text))
        for sent in sending:
            sent.result()


@contextmanager
def following(node: Node, index: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the worker as its users do, with an embedding cache of its own, and tell it to stop in the end.

    Raises:
        SystemExit: it does not leave with 0.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "es-semantic.yml"
        config.write_bytes(orjson.dumps({"embedding_cache": {"path": str(folder / "cache.sqlite")}}))
        command = [*CLI, "--config", str(config), "sync", index, "--follow", "--port", str(free_port())]
        with (folder / "log").open("w+b") as log:
            worker = subprocess.Popen(command, env={**os.environ, "ES_SEMANTIC_URL": node.url}, stdout=log, stderr=log)
            try:
                yield worker
                worker.send_signal(signal.SIGTERM)
                if code := worker.wait(STOP_SECONDS):
                    raise SystemExit(f"the worker left with {code}")
            except BaseException:
                log.seek(0)
                print(log.read().decode("utf-8", "replace")[-LOG_TAIL:], file=sys.stderr)
                raise
            finally:
                worker.kill()
                worker.wait()


def await_ready(node: Node, index: str, count: int, worker: subprocess.Popen[bytes]) -> None:
    """Wait until the worker has brought the index up to date for the first time.

    Raises:
        SystemExit: it has ended, or takes too long.
    """
    end = time.monotonic() + START_SECONDS
    while status(node.client, index).ready < count:
        if worker.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the worker has not brought {index!r} up to date (exit code {worker.poll()})")
        time.sleep(POLL)


def measure(node: Node, embedder: Embedder, passages: Sequence[str], *, rate: int, known: int) -> Outstanding:
    """Fill an index with the first ``known`` passages, write the others at ``rate`` a second, and await all vectors.

    Raises:
        SystemExit: a write never gets its true vector.
    """
    outstanding = Outstanding()
    stop = threading.Event()
    with node.scratch() as index:
        node.fill(index, passages[:known])
        node.client.indices.put_settings(index=index, settings={"refresh_interval": REFRESH_INTERVAL})
        node.attach(index, embedder)
        with following(node, index) as worker, ThreadPoolExecutor(1) as watcher:
            await_ready(node, index, known, worker)
            watching = watcher.submit(watch, node.client, index, outstanding, stop)
            try:
                write_steadily(node.client, index, outstanding, passages[known:], rate=rate, known=known)
                end = time.monotonic() + DRAIN_SECONDS
                while outstanding.ids() and time.monotonic() < end and not watching.done():
                    time.sleep(POLL)
            finally:
                stop.set()
            watching.result()
            if never := outstanding.ids():
                raise SystemExit(f"{len(never)} writes had no true vector after {DRAIN_SECONDS:.0f} s")
    return outstanding


def main() -> None:
    """Measure and report; the writes of all rounds count together."""
    parser = arguments("From a write to its searchable true vector", rounds=1, rate=50, seconds=30, documents=500)
    options = parser.parse_args()
    count = options.documents + options.rate * options.seconds
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with open_node() as node:
        embedder = load_embedder()
        for turn in range(options.rounds):
            passages = texts(count, dataset=options.dataset, seed=options.seed + turn)
            measured = measure(node, embedder, passages, rate=options.rate, known=options.documents)
            for kind, numbers in measured.seconds.items():
                seconds[kind] += numbers
    everything = [number for numbers in seconds.values() for number in numbers]
    rows = [
        [kind, str(len(numbers)), *(f"{number:.2f}" for number in percentiles(numbers))]
        for kind, numbers in [*seconds.items(), ("all", everything)]
        if len(numbers) > 1
    ]
    p50, p95, longest = percentiles(everything)
    ratios = {"p95_seconds": p95, "p50_seconds": p50, "max_seconds": longest}
    report("lag", Rows(("write", "count", "p50 s", "p95 s", "max s"), rows), ratios, GOALS)


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the 95th percentile and the most of two numbers or more."""
    return statistics.median(seconds), statistics.quantiles(seconds, n=20, method="inclusive")[-1], max(seconds)


if __name__ == "__main__":
    main()
