"""Turn a procedure into a function that takes a client of either kind."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import update_wrapper
from typing import Generic, ParamSpec, TypeVar, overload

from elasticsearch import AsyncElasticsearch, Elasticsearch

from es_semantic.cluster.steps import AnyClient, Steps, run, run_async

P = ParamSpec("P")
T = TypeVar("T")


class Served(Generic[P, T]):
    """A procedure with the client as its first argument: with an asynchronous client, await the result."""

    def __init__(self, procedure: Callable[P, Steps[T]]) -> None:
        self._procedure = procedure
        update_wrapper(self, procedure)
        signature = inspect.signature(procedure)
        client = inspect.Parameter("client", inspect.Parameter.POSITIONAL_ONLY, annotation=AnyClient)
        self.__signature__ = signature.replace(parameters=[client, *signature.parameters.values()])

    @overload
    def __call__(self, client: Elasticsearch, /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def __call__(self, client: AsyncElasticsearch, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]: ...
    def __call__(self, client: AnyClient, /, *args: P.args, **kwargs: P.kwargs) -> T | Awaitable[T]:
        """Run the procedure with this client."""
        steps = self._procedure(*args, **kwargs)
        if isinstance(client, AsyncElasticsearch):
            return run_async(client, steps)
        return run(client, steps)
