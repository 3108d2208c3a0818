"""What every test may use: real nodes and unique names."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# pytest-xdist gives its workers a width, which a console would keep from its import on.
os.environ.pop("COLUMNS", None)

if "PYTEST_XDIST_WORKER" not in os.environ:
    # Not the cache of whoever runs the tests; subprocesses inherit it, and so do workers that share the tests.
    _cache = tempfile.TemporaryDirectory(prefix="es-semantic-test-cache-")
    os.environ["ES_SEMANTIC_EMBEDDING_CACHE"] = str(Path(_cache.name) / "embeddings.sqlite")

pytest_plugins = ["tests.nodes"]

LONGEST = ["test_judged_collections.py", "test_demo.py", "test_notebooks.py"]
"""Begun first: else one of the processes that share the tests would be at these long after the other is done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the files that take longest to the front; the others keep their order."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
