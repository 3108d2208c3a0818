"""A real server for the tests: the application behind uvicorn, on a free port of this machine, in a thread."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from elasticsearch import Elasticsearch

from es_semantic.chosen import Source
from es_semantic.config import Config, ConnectionSettings
from es_semantic.embedding import Embedder, Fingerprint
from es_semantic.errors import ModelUnavailable
from es_semantic.server.app import create_app
from es_semantic.server.keys import Keys
from tests.chunking_index import fill
from tests.embedder import TinyEmbedder
from tests.nodes import remove_everything

STARTS_WITHIN = 60.0


class OneModel:
    """A source of one embedder, for whatever index is bound to it."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        self.embedder: Embedder = embedder or TinyEmbedder()
        self.away = False

    def bound(self, fingerprint: Fingerprint, index: str) -> Embedder:
        if self.away or fingerprint != self.embedder.profile.fingerprint:
            raise ModelUnavailable(f"the model of {index!r} is away")
        return self.embedder

    def named(self, name: str) -> Embedder | None:
        if self.away:
            raise ModelUnavailable(f"model {name!r} is away")
        return self.embedder if name == "default" else None


@dataclass(frozen=True)
class Server:
    """A running server: its URL, and its keys."""

    url: str
    keys: Keys
    app: Any

    def client(self, token: str | None = None, **options: Any) -> httpx.Client:
        """Return a client of the server, with a key or without."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60.0, trust_env=False, **options)

    def key(self, *scopes: str, indices: tuple[str, ...] = ("*",), **options: Any) -> str:
        """Make a key and return its token."""
        return self.keys.create("test", scopes=scopes, indices=indices, **options)[1]


@contextmanager
def prefix(client: Elasticsearch) -> Iterator[str]:
    """A beginning of names that no other test uses; whatever has it is removed at the end."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    try:
        yield name
    finally:
        remove_everything(client, name)


@contextmanager
def serving_chunks(folder: Path, node_url: str, client: Elasticsearch, **options: Any) -> Iterator[Server]:
    """Serve the chunks of :mod:`tests.chunking_index` from an index of their own; options as for :func:`serving`."""
    with prefix(client) as index:
        fill(client, index)
        with serving(folder, node_url, knowledge={"chunks": {"index": index}}, **options) as running:
            yield running


@contextmanager
def serving(
    folder: Path,
    node_url: str,
    *,
    source: Source | None = None,
    settings: Mapping[str, Any] | None = None,
    connection: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Iterator[Server]:
    """Serve while the context lasts; ``settings`` are those of ``serve``, ``sections`` others of the settings file."""
    keys = folder / "keys.json"
    config = Config.model_validate({"serve": {"keys": str(keys), **(settings or {})}, **sections})
    where = ConnectionSettings.model_validate({"url": node_url, **(connection or {})})
    app = create_app(config, where, source or OneModel())
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + STARTS_WITHIN
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            assert time.monotonic() < end, "the server has not started"
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Server(f"http://127.0.0.1:{port}", Keys(keys), app)
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive(), "the server has not stopped"
