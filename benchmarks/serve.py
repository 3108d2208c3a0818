"""The HTTP server under load: 32 clients at once against ``/search`` and ``/v1/embeddings``.

``batched_vs_unbatched`` compares embeddings a second with those of the same server when each request runs through the
model alone. ``..._p99_seconds`` and ``growth_mb``, the memory at the end beyond that after a fifth of the time, are
ceilings. Any answer but 200 and 429 fails the run.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import httpx
import psutil

from benchmarks.harness import Rows, alternate, arguments, medians, report, texts
from benchmarks.node import FIELD, open_node
from es_semantic import attach, load_embedder, sync
from es_semantic.cluster.node.health import free_port

CLIENTS = 32
GOALS = {
    "batched_vs_unbatched": 3.0,
    "search_p99_seconds": 1.0,
    "embeddings_p99_seconds": 1.0,
    "growth_mb": 64.0,
}
STARTS_WITHIN = 300.0
WORDS = (5, 30)
"""Of a text to embed, as a query or a passage's title has."""

ALONE = "es_semantic.embedding.dynamic_batching.MOST_CHARACTERS = 0"
"""Lets every call run through the model for itself."""

CHILD = "import es_semantic.embedding.dynamic_batching; {setting}; from es_semantic.cli import main; main()"


@dataclass(slots=True)
class Load:
    """What a run of all clients saw: answers by status, and the seconds that each took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    took: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second, without those that were refused."""
        return self.statuses[200] / self.took

    def percentile(self, share: int) -> float:
        """Return the seconds within which so many of a hundred were answered."""
        return statistics.quantiles(self.seconds, n=100)[share - 1]

    @property
    def growth(self) -> float:
        """MiB at the end beyond those after a fifth of the time."""
        return self.memory[-1] - self.memory[len(self.memory) // 5]


@contextmanager
def served(url: str, setting: str) -> Iterator[tuple[str, psutil.Process]]:
    """Serve in a process of its own until its models are loaded, and give its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ES_SEMANTIC_KEYS": str(Path(folder) / "keys.json")}
        command = [sys.executable, "-c", CHILD.format(setting=setting), "--url", url, "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
        try:
            _wait(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise SystemExit("the server has not started")


async def loaded(
    url: str, process: psutil.Process, seconds: float, request: Callable[[], tuple[str, dict[str, object]]]
) -> Load:
    """Ask from all clients at once for so long; a client that is refused waits as long as it is told."""
    load = Load()
    started = time.perf_counter()
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=CLIENTS)) as http:

        async def ask() -> None:
            while time.perf_counter() - started < seconds:
                path, body = request()
                before = time.perf_counter()
                async with http.post(path, json=body) as answer:
                    text = await answer.read()
                load.statuses[answer.status] += 1
                if answer.status == 429:
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                elif answer.status == 200:
                    load.seconds.append(time.perf_counter() - before)
                else:
                    raise SystemExit(f"{path}: {answer.status} {text[:500]!r}")

        async def watch() -> None:
            while time.perf_counter() - started < seconds:
                load.memory.append(process.memory_info().rss / 2**20)
                await asyncio.sleep(0.5)

        await asyncio.gather(*(ask() for _ in range(CLIENTS)), watch())
    load.took = time.perf_counter() - started
    return load


def embedding(part: Sequence[str], draw: random.Random) -> Callable[[], tuple[str, dict[str, object]]]:
    """Return what makes a request to embed one text, in the encoding that OpenAI's client asks for."""
    return lambda: (
        "/v1/embeddings",
        {"input": f"{draw.choice(part)} {draw.randrange(10**6)}", "encoding_format": "base64"},
    )


def searching(index: str, part: Sequence[str], draw: random.Random) -> Callable[[], tuple[str, dict[str, object]]]:
    """Return what makes a request to search for words of a text, never the same twice."""
    return lambda: (
        "/search",
        {"index": index, "query": " ".join(draw.sample(draw.choice(part).split(), 5)) + f" {draw.random()}"},
    )


def main() -> None:
    """Measure and report."""
    options = arguments("The HTTP server under load", documents=2000, seconds=60, unbatched_seconds=15).parse_args()
    draw = random.Random(options.seed)
    part = texts(options.documents, dataset=options.dataset, seed=options.seed)
    short = texts(options.documents, dataset=options.dataset, seed=options.seed, words=WORDS)
    loads: dict[str, Load] = {}
    with open_node() as node, node.scratch() as index:
        embedder = load_embedder()
        node.fill(index, part)
        attach(node.client, index, FIELD, model=embedder, chunk="never")
        sync(node.client, index, model=embedder)
        with served(node.url, "None") as (batched, process), served(node.url, ALONE) as (alone, other):

            def run(name: str, url: str, of: psutil.Process, seconds: float) -> float:
                request = searching(index, part, draw) if name == "search" else embedding(short, draw)
                loads[name] = asyncio.run(loaded(url, of, seconds, request))
                return loads[name].rate

            rates = medians(
                alternate(
                    {
                        "embeddings": lambda: run("embeddings", batched, process, options.unbatched_seconds),
                        "unbatched": lambda: run("unbatched", alone, other, options.unbatched_seconds),
                    },
                    options.rounds,
                )
            )
            for name in ("search", "embeddings"):
                run(name, batched, process, options.seconds)
    rows = [
        [name, f"{load.rate:.0f}", f"{load.percentile(50):.3f}", f"{load.percentile(99):.3f}", str(load.statuses[429])]
        for name, load in loads.items()
    ]
    ratios = {
        "batched_vs_unbatched": rates["embeddings"] / rates["unbatched"],
        "search_p99_seconds": loads["search"].percentile(99),
        "embeddings_p99_seconds": loads["embeddings"].percentile(99),
        "growth_mb": max(loads["search"].growth, loads["embeddings"].growth),
    }
    report("serve", Rows(["32 clients", "answers/s", "p50 s", "p99 s", "refused"], rows), ratios, GOALS)


if __name__ == "__main__":
    main()
