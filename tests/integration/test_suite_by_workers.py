"""The tests of syncing once more: elsewhere on an open node, here on a secured one with a worker's key.

The owner of the indices attaches and writes as a superuser. Whatever is asked of ``sync``, ``follow``, ``failures``,
``status`` and ``search`` has a key with no cluster privilege and only what ``es-semantic roles worker INDEX`` prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Literal

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import Forbidden
from tests.embedder import TinyEmbedder
from tests.integration import test_sync, test_sync_chunks, test_write_paths
from tests.nodes import MakeIndex
from tests.workers_key import Keys, client, exchange, keys, node_url

__all__ = ["client", "keys", "node_url"]

Scope = Literal["function", "module"]


@pytest.fixture(scope="module", autouse=True)
def only_workers(keys: Keys) -> Iterator[None]:
    """Of the whole module, because its fixtures sync as well."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        exchange(keys, monkeypatch)
        yield


def once_more(module: ModuleType, **scopes: Scope) -> type:
    """Return a module's tests as a class, so that those of several modules may have the same names.

    ``scopes`` are the module's own fixtures, each with its scope.
    """
    tests = {name: staticmethod(test) for name, test in vars(module).items() if name.startswith("test_")}
    fixtures = {
        name: pytest.fixture(scope=scope)(staticmethod(getattr(module, name).__wrapped__))
        for name, scope in scopes.items()
    }
    return type(module.__name__, (), {**fixtures, **tests})


TestSync = once_more(test_sync, index="function")
TestSyncChunks = once_more(test_sync_chunks, index="function")
TestWritePaths = once_more(
    test_write_paths, index="function", shared="module", overwritten="module", first_written="module"
)


def test_it_is_the_worker_that_is_asked(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    """Whatever the client is, the call has a worker's key: so the tests above are not run by the superuser."""
    name = make_index({"title": {"type": "text"}}, documents={"1": {"title": "text"}})
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    with Elasticsearch(node_url) as nobody:
        with pytest.raises(Forbidden):
            es_semantic.detach(nobody, name)
        assert es_semantic.sync(nobody, name, model=TinyEmbedder()).embedded == 1
        assert es_semantic.status(nobody, name).ready == 1
        assert es_semantic.failures(nobody, name).failures == []
