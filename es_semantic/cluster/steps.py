"""Write the logic once, run it with a synchronous or an asynchronous client.

A procedure such as attach or search is a generator: it yields what it needs done (a request, a blocking computation, a
pause), receives the outcome, and returns its result. It holds no client and does no I/O, so one procedure serves both
kinds of client and a test can drive it by hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from elastic_transport import ApiResponse, TransportError
from elasticsearch import ApiError, AsyncElasticsearch, Elasticsearch, UnsupportedProductError

from es_semantic.cluster.failures import translate
from es_semantic.errors import ClusterError, RequestFailed

T = TypeVar("T")

JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to Elasticsearch.

    ``body`` is a JSON object, or a list of already encoded lines for the newline-delimited APIs (``_bulk``,
    ``_msearch``). ``about`` names in errors what the path does not tell, such as the index of a ``_msearch``.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | list[bytes] | None = None
    about: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Plain JSON media types: every supported server takes them from every supported client."""
        if self.body is None:
            return {"accept": JSON}
        return {"accept": JSON, "content-type": NDJSON if isinstance(self.body, list) else JSON}


@dataclass(frozen=True, slots=True)
class Compute:
    """A blocking function to call, such as a model's forward pass; off the event loop in the asynchronous shell."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds."""

    seconds: float


Step = Request | Compute | Pause
Steps = Generator[Step, Any, T]
AnyClient = Elasticsearch | AsyncElasticsearch


def url_path(template: str, *parts: str) -> str:
    """Fill ``{}`` in a path with names, quoted so that no name can change the path's shape.

    >>> url_path("/{}/_doc/{}", "a/b", "..?x")
    '/a%2Fb/_doc/..%3Fx'
    """
    return template.format(*(quote(part, safe="") for part in parts))


def optional(request: Request, *, missing: tuple[int, ...] = (404,)) -> Steps[Any]:
    """Yield the request; return its response, or None when it is refused with one of the ``missing`` statuses."""
    try:
        return (yield request)
    except ClusterError as error:
        if error.status in missing:
            return None
        raise


def run(client: Elasticsearch, steps: Steps[T]) -> T:
    """Drive the procedure to its end with a synchronous client and return its result."""
    try:
        step = next(steps)
        while True:
            try:
                outcome = _perform(client, step)
            except BaseException as error:  # an interrupted procedure may still tidy up
                step = steps.throw(_named(error, step))
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def run_async(client: AsyncElasticsearch, steps: Steps[T]) -> T:
    """Drive the procedure to its end with an asynchronous client and return its result."""
    try:
        step = next(steps)
        while True:
            try:
                outcome = await _perform_async(client, step)
            except BaseException as error:  # an interrupted procedure may still tidy up
                step = steps.throw(_named(error, step))
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def _perform(client: Elasticsearch, step: Step) -> Any:
    if isinstance(step, Compute):
        return step.function()
    if isinstance(step, Pause):
        return time.sleep(step.seconds)
    return _body(
        client.perform_request(step.method, step.path, params=dict(step.params), headers=step.headers, body=step.body)
    )


async def _perform_async(client: AsyncElasticsearch, step: Step) -> Any:
    if isinstance(step, Compute):
        return await asyncio.to_thread(step.function)
    if isinstance(step, Pause):
        return await asyncio.sleep(step.seconds)
    return _body(
        await client.perform_request(
            step.method, step.path, params=dict(step.params), headers=step.headers, body=step.body
        )
    )


def _body(response: ApiResponse[Any]) -> Any:
    if isinstance(response.body, (dict, list)) or response.meta.status == 204:
        return response.body
    raise UnsupportedProductError("the answer is not JSON", response.meta, response.body)


def _named(error: BaseException, step: Step) -> BaseException:
    if isinstance(step, Request) and isinstance(error, RecursionError):
        return RequestFailed(
            f"{step.about or step.path}: a document in the answer is nested too deep for Python's JSON parser",
            hint="Raise sys.setrecursionlimit to 10,000, as the command line does.",
        )
    if isinstance(step, Request) and isinstance(error, (ApiError, TransportError, UnsupportedProductError)):
        return translate(
            error, f"{step.about}: {step.method} {step.path}" if step.about else f"{step.method} {step.path}"
        )
    return error
