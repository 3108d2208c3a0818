"""What the routes share: the cluster, the models, the keys; and how a procedure is run for a caller."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeVar

from elasticsearch import AsyncElasticsearch

from es_semantic.api_chunks import places_of
from es_semantic.cluster.steps import Compute, Join, Remember, Request, Step, Steps, relayed, run_async
from es_semantic.config import Config, KnowledgeSettings
from es_semantic.embedding.shared import SharedEmbedder
from es_semantic.errors import IndexUnavailable, InvalidQuery
from es_semantic.retrieval.confined import confined
from es_semantic.schema.lookup import mapped
from es_semantic.server.access import Access, NotAllowed
from es_semantic.server.metrics import Metrics
from es_semantic.server.models import SharedModels

T = TypeVar("T")


@dataclass(slots=True)
class Timings:
    """Where the time went, in milliseconds; ``requests`` are those to Elasticsearch.

    What is spent on fusing, checking and waiting for a turn is the rest of the whole.
    """

    model_ms: float = 0.0
    elasticsearch_ms: float = 0.0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a caller's search goes: the expression to search, and the paths of vectors in each index behind it."""

    index: str
    vectors: dict[str, frozenset[str]]


@dataclass(frozen=True)
class Service:
    """The server's parts; ``warm`` is set once models are loaded."""

    config: Config
    client: AsyncElasticsearch
    models: SharedModels
    metrics: Metrics
    warm: threading.Event = field(default_factory=threading.Event)

    async def run(self, access: Access, steps: Steps[T], timings: Timings | None = None) -> T:
        """Run a procedure for a caller, who sees nothing but what the key's filter lets through.

        Raises:
            EsSemanticError: whatever the procedure raises.
        """
        return await run_async(self.client, timed(confined(steps, access.filters), timings or Timings()))

    async def loaded(self, name: str) -> SharedEmbedder:
        """Return the model of this name, loaded.

        Raises:
            InvalidQuery: there is none.
            ModelUnavailable: it cannot be loaded.
        """
        model = self.models.known(name) or await asyncio.to_thread(self.models.named, name)
        if model is None:
            raise InvalidQuery(f"there is no model {name!r}", hint=f"Models are {', '.join(self.models.names)}.")
        return model

    async def reach(self, access: Access, index: str) -> Reach:
        """Return where a caller's search goes.

        Raises:
            NotAllowed: the key may not search there.
            IndexUnavailable: there is no such index.
        """
        names = access.require_names(index)
        behind = {name: await run_async(self.client, vectors_behind(name)) for name in names}
        vectors = {concrete: paths for each in behind.values() for concrete, paths in each.items()}
        return Reach(access.reach(names, behind), vectors)

    async def knowledge(self, access: Access) -> Config:
        """Return the configuration with those indices of chunks alone that the caller may search.

        Raises:
            NotAllowed: there are none.
        """
        allowed: dict[str, KnowledgeSettings] = {}
        for number, place in enumerate(places_of(self.config)):
            with contextlib.suppress(NotAllowed):
                access.require_names(place.index)
                # One that is not there yet is for whoever looks for its datasets.
                with contextlib.suppress(IndexUnavailable):
                    await self.reach(access, place.index)
                allowed[str(number)] = place
        if not allowed:
            raise NotAllowed("this key may search none of the datasets", hint="Its --index must cover theirs.")
        return self.config.model_copy(update={"knowledge": allowed})

    def deadline(self, wanted: float | None) -> float:
        """Return the seconds that each part of an answer may take: as many as wanted, but no more than configured."""
        most = self.config.serve.deadline
        return most if wanted is None else min(wanted, most)


def timed(steps: Steps[T], timings: Timings) -> Steps[T]:
    """Run a procedure and add up what it waits for."""

    def took(step: Step, seconds: float) -> None:
        match step:
            case Compute():
                timings.model_ms += seconds * 1000
            case Request() | Join() | Remember():
                timings.elasticsearch_ms += seconds * 1000
                timings.requests += isinstance(step, Request)

    return relayed(steps, took=took)


def vectors_behind(name: str) -> Steps[dict[str, frozenset[str]]]:
    """Return the indices behind a name or pattern, and the paths of the vectors in each; seen two seconds ago at most.

    Raises:
        IndexUnavailable: no such index.
    """
    return {concrete: each.vectors for concrete, each in (yield from mapped(name)).items()}


def all_vectors(reach: Reach) -> Collection[str]:
    """Return the paths of vectors in all indices of a search."""
    return frozenset().union(*reach.vectors.values())
