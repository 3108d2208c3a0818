"""What every test may use: real nodes and unique names."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Not the cache of whoever runs the tests; subprocesses inherit it.
_cache = tempfile.TemporaryDirectory(prefix="es-semantic-test-cache-")
os.environ["ES_SEMANTIC_EMBEDDING_CACHE"] = str(Path(_cache.name) / "embeddings.sqlite")

pytest_plugins = ["tests.nodes"]
