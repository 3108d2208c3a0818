"""A worker's key: an API key of the secured node with no cluster privilege and nothing but a worker's role."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.schema.roles import with_aliased, worker_role
from tests.nodes import SecuredNode

AnyClient = TypeVar("AnyClient", Elasticsearch, AsyncElasticsearch)

ByWorkers = ("sync", "follow", "failures", "status", "search")
"""The public functions that need no more than a worker's role."""


class Keys:
    """Makes keys of a superuser's, one for each set of names; these are indices, aliases or data streams."""

    def __init__(self, superuser: Elasticsearch) -> None:
        self._superuser = superuser
        self._encoded: dict[tuple[str, ...], str] = {}

    def encoded(self, *names: str) -> str:
        """The key in the form in which it is configured."""
        if names not in self._encoded:
            self._encoded[names] = self.of_role(worker_role(run(self._superuser, with_aliased(names))))
        return self._encoded[names]

    def of_role(self, role: dict[str, Any]) -> str:
        """A key that has this role descriptor."""
        key = self._superuser.security.create_api_key(name="worker", role_descriptors={"worker": role})
        encoded: str = key["encoded"]
        return encoded

    def client(self, *names: str) -> Elasticsearch:
        """A client that has nothing but a worker's role."""
        return self._superuser.options(api_key=self.encoded(*names))

    def with_key(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The public function, whatever client it is given, with a key for just the indices that it is given."""

        @functools.wraps(function)
        def keyed(client: AnyClient, indices: str | Sequence[str], *args: Any, **kwargs: Any) -> Any:
            names = [indices] if isinstance(indices, str) else list(indices)
            return function(client.options(api_key=self.encoded(*names)), indices, *args, **kwargs)

        return keyed


@pytest.fixture(scope="session")
def node_url(secured_node: SecuredNode) -> str:
    """Of the secured node, for modules that take this fixture."""
    return secured_node.url


@pytest.fixture(scope="session")
def client(superuser: Elasticsearch) -> Elasticsearch:
    """The owner of the indices, who attaches and writes."""
    return superuser


@pytest.fixture(scope="module")
def keys(superuser: Elasticsearch) -> Keys:
    return Keys(superuser)


def exchange(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask whatever is asked of es-semantic but attach and detach with a worker's key."""
    for name in ByWorkers:
        monkeypatch.setattr(es_semantic, name, keys.with_key(getattr(es_semantic, name)))


@pytest.fixture
def only_workers(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """See :func:`exchange`; ``monkeypatch.undo()`` gives a test its own client back."""
    exchange(keys, monkeypatch)
