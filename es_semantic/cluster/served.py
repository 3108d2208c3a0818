"""Turn a procedure into a function that takes a client of either kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from elasticsearch import AsyncElasticsearch, Elasticsearch

from es_semantic.cluster.steps import AnyClient, Steps, run, run_async

P = ParamSpec("P")
T = TypeVar("T", covariant=True)


class Served(Protocol[P, T]):
    """A procedure with the client as its first argument: with an asynchronous client, await the result."""

    @property
    def steps(self) -> Callable[P, Steps[T]]:
        """The procedure itself, for whoever runs it in a way of its own."""
        ...

    @overload
    def __call__(self, client: Elasticsearch, /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def __call__(self, client: AsyncElasticsearch, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]: ...


def served(procedure: Callable[P, Steps[T]]) -> Served[P, T]:
    """Return the procedure as a function of a client and the procedure's own arguments."""

    @functools.wraps(procedure)
    def call(client: AnyClient, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        if isinstance(client, AsyncElasticsearch):
            return run_async(client, procedure(*args, **kwargs))
        if not isinstance(client, Elasticsearch):
            raise TypeError(f"the client must be an Elasticsearch or AsyncElasticsearch, not {type(client).__name__}")
        return run(client, procedure(*args, **kwargs))

    signature = inspect.signature(procedure)
    client = inspect.Parameter("client", inspect.Parameter.POSITIONAL_ONLY, annotation=AnyClient)
    call.__signature__ = signature.replace(parameters=[client, *signature.parameters.values()])  # type: ignore[attr-defined]
    call.steps = procedure  # type: ignore[attr-defined]
    return cast("Served[P, T]", call)
