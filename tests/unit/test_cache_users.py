"""An embedding cache's file is opened once for all its users in a process, and closed with the last of them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from es_semantic.embedding.cache import VectorCache, open_cache
from tests.unit.test_cache import MEBIBYTE, fill, kept


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "embeddings.sqlite"


def opened(file: Path) -> int:
    """How many of this process's descriptors are of the file or its logs."""
    return sum(each.path.startswith(str(file)) for each in psutil.Process().open_files())


def test_one_file_is_opened_once_and_closed_with_its_last_user(file: Path) -> None:
    users = [open_cache(file, MEBIBYTE) for _ in range(20)]
    for number, user in enumerate(users):
        fill(user, [number])
        assert kept(user, range(20)) == set(range(number + 1))
    once = opened(file)
    del user, users[1:]
    assert opened(file) == once > 0
    users.clear()
    assert opened(file) == 0
    again = open_cache(file, MEBIBYTE)
    assert kept(again, range(20)) == set(range(20))


def test_a_cache_that_nobody_holds_is_closed(file: Path) -> None:
    cache = VectorCache(file, MEBIBYTE)
    fill(cache, [1])
    assert opened(file) > 0
    del cache
    assert opened(file) == 0


def test_closing_it_twice_or_using_it_afterwards_does_no_harm(file: Path) -> None:
    cache = VectorCache(file, MEBIBYTE)
    for number in range(2):
        fill(cache, [number])
        cache.close()
        cache.close()
        assert opened(file) == 0
    assert kept(cache, range(2)) == {0, 1}


def test_files_and_caps_are_kept_apart(file: Path) -> None:
    caches = [open_cache(file, MEBIBYTE), open_cache(file, 2 * MEBIBYTE), open_cache(file.with_suffix(".b"), MEBIBYTE)]
    assert len({id(cache) for cache in caches}) == 3
    assert [cache.max_bytes // MEBIBYTE for cache in caches] == [1, 2, 1]
