"""The embedding cache's file: what is kept, what leaves, and that nothing at its path can hurt a sync."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from es_semantic.embedding import cache_file
from es_semantic.embedding.cache import REST_SECONDS, CachedVector, VectorCache

DIMS = 32
MEBIBYTE = 1 << 20
ROOT = Path(__file__).parents[2]


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def vector(number: int, dims: int = DIMS) -> CachedVector:
    return CachedVector(np.random.default_rng(number).standard_normal(dims).astype(np.float32), number % 3 == 0)


def fill(cache: VectorCache, numbers: Iterable[int], dims: int = DIMS) -> None:
    cache.put_many({key(number): vector(number, dims) for number in numbers})


def kept(cache: VectorCache, numbers: Iterable[int], dims: int = DIMS) -> set[int]:
    """Which numbers the cache knows; each must have its own vector, bit by bit."""
    wanted = {key(number): number for number in numbers}
    found = cache.get_many(list(wanted), dims=dims)
    for one, cached in found.items():
        expected = vector(wanted[one], dims)
        assert cached.vector.dtype == np.float32
        assert cached.vector.tobytes() == expected.vector.tobytes()
        assert cached.over_long is expected.over_long
    return {wanted[one] for one in found}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "embeddings.sqlite"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# What is kept


def test_vectors_come_back_bit_by_bit_also_in_another_process_life(file: Path) -> None:
    first = VectorCache(file, MEBIBYTE)
    fill(first, range(1200))
    assert kept(first, range(1300)) == set(range(1200))
    first.close()
    assert kept(VectorCache(file, MEBIBYTE), range(1300)) == set(range(1200))
    assert kept(first, [5]) == {5}


def test_the_file_is_its_owners_alone(file: Path) -> None:
    cache = VectorCache(file, MEBIBYTE)
    fill(cache, range(3))
    modes = {part.name: stat.S_IMODE(part.stat().st_mode) for part in file.parent.iterdir() if part != file}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert modes[f"{file.name}-wal"] == 0o600


def test_an_unusable_row_is_not_known(file: Path) -> None:
    cache = VectorCache(file, MEBIBYTE)
    fill(cache, range(2))
    assert kept(cache, range(2), dims=DIMS - 1) == set()
    nan = np.full(DIMS, np.nan, dtype=np.float32)
    cache.put_many({key(7): CachedVector(nan)})
    assert kept(cache, [7]) == set()
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE vectors SET vector = zeroblob(?) WHERE key = ?", (4 * DIMS, key(0)))
        raw.execute("UPDATE vectors SET vector = 'text' WHERE key = ?", (key(1),))
    assert kept(cache, range(2)) == set()
    fill(cache, range(2))
    assert kept(cache, range(2)) == {0, 1}


@pytest.mark.parametrize("cap", [0, -1])
def test_without_a_cap_there_is_no_file(file: Path, cap: int) -> None:
    cache = VectorCache(file, cap)
    fill(cache, range(3))
    assert kept(cache, range(3)) == set()
    assert not file.parent.exists()


# What leaves


@pytest.mark.parametrize("dims", [1, 384, 4096])
def test_the_oldest_leave_and_the_file_stays_below_the_cap(file: Path, dims: int) -> None:
    cache = VectorCache(file, MEBIBYTE)
    per_write = 300 if dims < 4096 else 40
    writes = 60
    for write in range(writes):
        fill(cache, range(write * per_write, (write + 1) * per_write), dims)
        assert file.stat().st_size <= MEBIBYTE
    left = kept(cache, range(writes * per_write), dims)
    assert file.stat().st_size > MEBIBYTE / 2
    newest = range((writes - 1) * per_write, writes * per_write)
    if per_write * 4 * dims < MEBIBYTE / 2:
        assert left >= set(newest)
    # Whole writes, the newest ones: within one, the order is that of the keys.
    assert all(number >= min(left) // per_write * per_write for number in left)
    full = {number // per_write for number in left} - {min(left) // per_write}
    assert all(set(range(w * per_write, (w + 1) * per_write)) <= left for w in full if w * per_write > min(left))


def test_a_write_larger_than_the_cap_keeps_what_fits(file: Path) -> None:
    cache = VectorCache(file, MEBIBYTE)
    fill(cache, range(2000), dims=384)
    assert 100 < len(kept(cache, range(2000), dims=384)) < 2000 * 384 * 4 / MEBIBYTE * 1000
    cache.close()
    assert file.stat().st_size <= MEBIBYTE


def test_a_lowered_cap_is_reached(file: Path) -> None:
    large = VectorCache(file, 8 * MEBIBYTE)
    fill(large, range(3000), dims=384)
    large.close()
    assert file.stat().st_size > 4 * MEBIBYTE
    small = VectorCache(file, MEBIBYTE)
    for write in range(20):
        fill(small, range(10_000 + write * 100, 10_000 + (write + 1) * 100), dims=384)
    small.close()
    assert file.stat().st_size <= MEBIBYTE
    assert kept(small, range(11_900, 12_000), dims=384) == set(range(11_900, 12_000))


# Many at once

WRITER = """
import sys
from pathlib import Path
from es_semantic.embedding.cache import VectorCache
from tests.unit.test_cache import MEBIBYTE, fill, kept

cache = VectorCache(Path(sys.argv[1]), 64 * MEBIBYTE)
first = int(sys.argv[2])
for start in range(first, first + 2000, 50):
    fill(cache, range(start, start + 50))
    kept(cache, range(0, 4000, 7))
"""


def test_two_processes_write_at_once(file: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(file)]
    writers = [
        subprocess.Popen([*command, str(first)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for first in (0, 1000)
    ]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], errors
    assert errors == ["", ""]
    assert kept(VectorCache(file, 64 * MEBIBYTE), range(3100)) == set(range(3000))


def test_threads_share_one_cache(file: Path) -> None:
    cache = VectorCache(file, 64 * MEBIBYTE)
    wrong: list[int] = []

    def use(first: int) -> None:
        for start in range(first, first + 500, 25):
            fill(cache, range(start, start + 25))
            if kept(cache, range(start, start + 25)) != set(range(start, start + 25)):
                wrong.append(start)

    threads = [threading.Thread(target=use, args=(first,)) for first in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert kept(cache, range(2000)) == set(range(2000))


# What may lie at the path


@pytest.mark.parametrize("damage", ["zeros", "empty", "tail cut off", "only a header", "zeros in the middle"])
def test_a_damaged_file_is_replaced(file: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    old = VectorCache(file, MEBIBYTE)
    fill(old, range(1000))
    old.close()
    content = file.read_bytes()
    file.write_bytes(
        {
            "zeros": bytes(len(content)),
            "empty": b"",
            "tail cut off": content[: len(content) // 2],
            "only a header": content[:100],
            "zeros in the middle": content[:8192] + bytes(len(content) - 16384) + content[-8192:],
        }[damage]
    )
    cache = VectorCache(file, MEBIBYTE)
    kept(cache, range(1000))
    fill(cache, range(1000, 1010))
    assert kept(cache, range(1000, 1010)) == set(range(1000, 1010))
    if damage != "empty":
        assert len(warnings(caplog)) == 1
        assert "was damaged and is started anew" in warnings(caplog)[0]


def test_random_damage_is_a_miss_and_never_a_wrong_vector(tmp_path: Path) -> None:
    seed = int(os.environ.get("ES_SEMANTIC_SEED", "20261121"))
    print(f"seed {seed} (set ES_SEMANTIC_SEED to repeat)")
    dice = random.Random(seed)
    sound = VectorCache(tmp_path / "sound.sqlite", MEBIBYTE)
    fill(sound, range(500))
    sound.close()
    content = sound.path.read_bytes()
    missed = 0
    for attempt in range(100):
        damaged = bytearray(content)
        for _ in range(dice.choice([1, 10, 200])):
            damaged[dice.randrange(100, len(damaged))] = dice.randrange(256)
        path = tmp_path / f"{attempt}.sqlite"
        path.write_bytes(damaged)
        cache = VectorCache(path, MEBIBYTE)
        missed += 500 - len(kept(cache, range(500)))
        fill(cache, range(500, 510))
        # Damage where the next write goes is found then, and by the next one at the latest.
        fill(cache, range(510, 520))
        kept(cache, range(520))
        cache.close()
    assert missed > 0


def test_a_file_of_another_version_is_started_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_file, "LAYOUT", 2)
    newer = VectorCache(file, MEBIBYTE)
    fill(newer, range(5))
    newer.close()
    monkeypatch.undo()
    cache = VectorCache(file, MEBIBYTE)
    assert kept(cache, range(5)) == set()
    fill(cache, range(5))
    assert kept(cache, range(5)) == set(range(5))


def test_a_replaced_file_is_not_replaced_again(file: Path) -> None:
    one, other = VectorCache(file, MEBIBYTE), VectorCache(file, MEBIBYTE)
    fill(one, range(1000))
    assert kept(other, [0]) == {0}
    one.close()
    with file.open("r+b") as raw:
        raw.seek(8192)
        raw.write(b"\xff" * (file.stat().st_size - 16384))
    fill(one, range(2000, 2010))
    assert kept(one, range(2000, 2010)) == set(range(2000, 2010))
    kept(other, range(1000))
    fill(other, range(3000, 3010))
    assert kept(one, range(2000, 2010)) == set(range(2000, 2010))
    assert kept(VectorCache(file, MEBIBYTE), range(2000, 2010)) == set(range(2000, 2010))


@pytest.mark.parametrize("kind", ["a text", "a database", "a database with an owner", "a folder"])
def test_what_is_not_ours_stays_as_it_is(file: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    file.parent.mkdir()
    if kind == "a text":
        file.write_text("my notes\n" * 1000)
    elif kind == "a folder":
        file.mkdir()
    else:
        with sqlite3.connect(file) as raw:
            raw.execute("CREATE TABLE vectors (mine TEXT)")
            raw.execute("PRAGMA application_id = 5" if kind.endswith("owner") else "PRAGMA user_version = 1")
    before = None if file.is_dir() else file.read_bytes()
    cache = VectorCache(file, MEBIBYTE)
    for _ in range(3):
        fill(cache, range(3))
        assert kept(cache, range(3)) == set()
    assert (None if file.is_dir() else file.read_bytes()) == before
    assert len(warnings(caplog)) == 1
    assert str(file) in warnings(caplog)[0]
    if before is not None:
        assert "remove it, or set embedding_cache.path" in warnings(caplog)[0]


def test_a_locked_file_is_left_alone_for_a_while(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache_file, "BUSY_SECONDS", 0.1)
    cache = VectorCache(file, MEBIBYTE)
    fill(cache, range(3))
    clock = [1000.0]
    monkeypatch.setattr("es_semantic.embedding.cache.time.monotonic", lambda: clock[0])
    locker = sqlite3.connect(file, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    fill(cache, range(3, 6))
    locker.execute("COMMIT")
    assert kept(cache, range(6)) == set()
    assert len(warnings(caplog)) == 1
    assert "locked" in warnings(caplog)[0]
    clock[0] += REST_SECONDS
    assert kept(cache, range(6)) == {0, 1, 2}
    fill(cache, range(3, 6))
    assert kept(cache, range(6)) == set(range(6))


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from es_semantic.embedding.cache import VectorCache
from tests.unit.test_cache import MEBIBYTE, fill, kept

if os.geteuid() == 0:
    os.seteuid(65534)
cache = VectorCache(Path(sys.argv[1]), MEBIBYTE)
for _ in range(3):
    fill(cache, range(3))
    assert kept(cache, range(3)) == set()
"""


@pytest.mark.skipif(os.name == "nt", reason="folders have no write permission there")
@pytest.mark.parametrize("there", [False, True])
def test_a_read_only_folder(there: bool) -> None:
    # Not below pytest's own folder, which no other user may enter.
    folder = Path(tempfile.mkdtemp())
    try:
        file = folder / "embeddings.sqlite"
        if there:
            fill(VectorCache(file, MEBIBYTE), range(3))
        folder.chmod(0o555)
        ended = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert ended.returncode == 0, ended.stderr
    (warning,) = ended.stderr.splitlines()
    assert warning.startswith(f"going on without the embedding cache {file}")


FULL = """
import resource, sys
from pathlib import Path
from es_semantic.embedding.cache import VectorCache
from tests.unit.test_cache import MEBIBYTE, fill, kept

resource.setrlimit(resource.RLIMIT_FSIZE, (MEBIBYTE // 2, resource.RLIM_INFINITY))
cache = VectorCache(Path(sys.argv[1]), 64 * MEBIBYTE)
for start in range(0, 40_000, 1000):
    fill(cache, range(start, start + 1000))
    kept(cache, range(start, start + 1000))
cache.close()
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no limit on the size of files there")
def test_a_file_that_cannot_grow(file: Path) -> None:
    """The kernel refuses writes beyond a limit, as a full disk does."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    (warning,) = ended.stderr.splitlines()
    assert warning.startswith(f"going on without the embedding cache {file}")
    kept(VectorCache(file, 64 * MEBIBYTE), range(40_000))
