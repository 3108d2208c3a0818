"""Other libraries that put texts and their vectors into Elasticsearch, each used the way its own documentation shows.

Every module here has a ``create()`` that returns a :class:`Peer`. All load all-MiniLM-L6-v2 from the same folder, and
leave every other setting at the library's default.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Protocol

MODULES = {
    "elasticsearch": "elasticsearch_py",
    "langchain": "langchain",
    "llama-index": "llama_index",
    "haystack": "haystack",
}

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "TOKENIZERS_PARALLELISM": "true",
}
"""No model hub, no usage statistics, no tracing: none may cost a peer time. The tokenizers' threads are their default,
which they only give up, with a warning, in processes that fork."""


class Peer(Protocol):
    """One library. ``text_field`` and ``vector_field`` are where it puts a text and its vector."""

    text_field: str
    vector_field: str

    def ingest(self, url: str, index: str, texts: Sequence[str]) -> None:
        """Make the index and put all texts in with their vectors, through the library's own bulk interface."""
        ...


def load(names: Sequence[str]) -> dict[str, Peer]:
    """Load the peers of these names.

    Raises:
        SystemExit: no such peer, or its packages are not installed.
    """
    os.environ.update(QUIET)
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are: {', '.join(MODULES)}")
    return {name: _load(name) for name in names}


def _load(name: str) -> Peer:
    try:
        peer: Peer = importlib.import_module(f"benchmarks.peers.{MODULES[name]}").create()
    except ImportError as error:
        raise SystemExit(
            f"peer {name!r} is not installed ({error}): run in .venv-bench, which `make bench` makes, or choose --peers"
        ) from None
    return peer
