"""Where documents come from: an index of this cluster, or of another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from elasticsearch import Elasticsearch

from es_semantic.cluster.steps import Compute, Request, Steps, run, url_path
from es_semantic.errors import RequestFailed
from es_semantic.reindex.document import Whole
from es_semantic.reindex.mget import Place, documents_at
from es_semantic.schema.target import Target
from es_semantic.sync.shards import Shard, read_shards, refresh

T = TypeVar("T")


@dataclass(slots=True)
class Origin:
    """The source of a job: ``named`` is what the user called it, the index or its alias.

    ``client`` is the other cluster's, None for an index of this one.
    """

    named: str
    target: Target
    client: Elasticsearch | None
    reader: Whole
    label: str
    """How errors and reports name it."""
    last: list[Shard] = field(default_factory=list)
    """Its shards at the last look."""

    @property
    def index(self) -> str:
        """The concrete index."""
        return self.target.name

    def there(self, steps: Steps[T]) -> Steps[T]:
        """Run a procedure on the source's cluster."""
        return on(self.client, steps)

    def shards(self) -> Steps[list[Shard]]:
        """Look at the source's shards, and make visible to searches what was written until then."""
        shards = yield from self.look()
        yield from self.there(refresh(self.target))
        return shards

    def look(self) -> Steps[list[Shard]]:
        """Look at the source's shards."""
        self.last = yield from self.there(read_shards(self.target))
        return self.last

    def count(self) -> Steps[int]:
        """Return how many documents it has."""
        return (yield from self.there(count(self.index)))

    def versions(self, places: Sequence[Place]) -> Steps[list[int | None]]:
        """Return the version that each id and routing has at this moment, None where there is no such document."""
        found = yield from self.there(documents_at(self.index, places, source=False))
        return [None if each is None else each["_version"] for each in found]


def on(client: Elasticsearch | None, steps: Steps[T]) -> Steps[T]:
    """Run a procedure on another cluster; on this one where there is no client of another."""
    if client is None:
        return (yield from steps)
    result: T = yield Compute(lambda: run(client, steps))
    return result


def count(index: str) -> Steps[int]:
    """Return how many documents an index has, those visible to searches."""
    return int((yield Request("GET", url_path("/{}/_count", index)))["count"])


def hides_vectors(index: str) -> Steps[bool]:
    """Find out whether this server leaves vectors out of ``_source`` unless asked (9.2), by asking for them."""
    body = {"size": 0, "_source": {"exclude_vectors": False}, "track_total_hits": False}
    try:
        yield Request("POST", url_path("/{}/_search", index), body=body)
    except RequestFailed as error:
        if error.status != 400:
            raise
        return False
    return True
