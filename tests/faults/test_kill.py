"""Killed with -9 at random moments, run again: nothing is lost, and little is embedded twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.sync.one_pass import WINDOW
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex
from tests.truth import untrue

DOCUMENTS = 6000
KILLS = 5

WORKER = """
import sys, time
from elasticsearch import Elasticsearch
import es_semantic
from tests.embedder import TinyEmbedder

class Slow(TinyEmbedder):
    def embed_documents(self, texts):
        time.sleep(0.2)
        print(len(texts), flush=True)
        return super().embed_documents(texts)

report = es_semantic.sync(Elasticsearch(sys.argv[1]), sys.argv[2], model=Slow())
print("done", flush=True)
"""


def worker(node_url: str, index: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, node_url, index]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)


def test_sync_survives_kill_9(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    seed = int(os.environ.get("ES_SEMANTIC_SEED", "20261121"))
    print(f"seed {seed} (set ES_SEMANTIC_SEED to repeat)")
    moments = random.Random(seed)
    name = make_index({"title": {"type": "text"}})
    operations: list[dict[str, Any]] = []
    for i in range(DOCUMENTS):
        operations += [{"index": {"_id": str(i)}}, {"title": f"document {i}"}]
    client.bulk(index=name, operations=operations, refresh=True)
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())

    embedded = 0
    for _ in range(KILLS):
        process = worker(node_url, name)
        assert process.stdout is not None
        embedded += int(process.stdout.readline())
        assert process.poll() is None
        time.sleep(moments.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        embedded += sum(map(int, rest))
        process.wait()
    last = worker(node_url, name)
    output = last.communicate(timeout=120)[0].split()
    assert output[-1] == "done"
    embedded += sum(map(int, output[:-1]))

    assert untrue(client, name, ["title"], TinyEmbedder()) == {}
    assert DOCUMENTS <= embedded <= DOCUMENTS + KILLS * WINDOW
