"""Killed with -9 while it writes, the embedding cache still opens and holds nothing but right vectors."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from es_semantic.embedding.cache import VectorCache
from tests.unit.test_cache import MEBIBYTE, ROOT, fill, kept

KILLS = 6

WRITER = """
import sys
from itertools import count
from pathlib import Path
from es_semantic.embedding.cache import VectorCache
from tests.unit.test_cache import MEBIBYTE, fill

cache = VectorCache(Path(sys.argv[1]), MEBIBYTE)
for start in count(int(sys.argv[2]), 200):
    fill(cache, range(start, start + 200))
    print(start + 200, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_the_cache_survives_kill_9(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seed = int(os.environ.get("ES_SEMANTIC_SEED", "20261121"))
    print(f"seed {seed} (set ES_SEMANTIC_SEED to repeat)")
    moments = random.Random(seed)
    file = tmp_path / "embeddings.sqlite"
    end = 0
    for _ in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(file), str(end)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.1))
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
            told = process.stdout.read().split()
        end = int(told[-1]) if told else end + 200

        # The writer has said that these are kept, and they are the newest.
        assert kept(VectorCache(file, MEBIBYTE), range(end - 200, end)) == set(range(end - 200, end))
    cache = VectorCache(file, MEBIBYTE)
    assert len(kept(cache, range(end + 400))) > 1000
    fill(cache, range(end + 1000, end + 1050))
    assert kept(cache, range(end + 1000, end + 1050)) == set(range(end + 1000, end + 1050))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
