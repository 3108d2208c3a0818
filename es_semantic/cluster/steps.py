"""Write the logic once, run it with a synchronous or an asynchronous client.

A procedure such as attach or search is a generator: it yields what it needs done (a request, a blocking computation, a
pause), receives the outcome, and returns its result. It holds no client and does no I/O, so one procedure serves both
kinds of client and a test can drive it by hand. With :class:`Spawn` it lets another procedure run meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast
from urllib.parse import quote

from elastic_transport import ApiResponse, TransportError
from elasticsearch import ApiError, AsyncElasticsearch, Elasticsearch, UnsupportedProductError

from es_semantic.cluster.failures import translate
from es_semantic.cluster.interrupts import held_back
from es_semantic.cluster.memory import UNKNOWN, memory_of
from es_semantic.errors import ClusterError, RequestFailed, UsageError

T = TypeVar("T")
Client = TypeVar("Client", Elasticsearch, AsyncElasticsearch)

JSON = "application/vnd.elasticsearch+json"
NDJSON = "application/vnd.elasticsearch+x-ndjson"

MAX_SPAWNED = 8
"""Procedures that one procedure may have running beside it; further ones wait for a thread."""

INTERRUPTED_WITHIN = 0.2
"""Seconds until Ctrl-C is heeded while a spawned procedure is waited for."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to Elasticsearch.

    ``body`` is a JSON object, or a list of already encoded lines for the newline-delimited APIs (``_bulk``,
    ``_msearch``). ``about`` names in errors what the path does not tell, such as the index of a ``_msearch``.
    ``resend_refused`` is False where the client shall not send it again by itself when the cluster says that it has too
    much to do, as it does at once and three times by default; where a connection failed, another node may answer.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | list[bytes] | None = None
    about: str = ""
    resend_refused: bool = True

    @property
    def headers(self) -> dict[str, str]:
        """Elastic's own JSON media types, without a version: client 9.x adds one to plain ones, which 8.x refuses."""
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


@dataclass(frozen=True, slots=True)
class Spawn:
    """Let a procedure run beside this one, in a thread or as a task of the event loop; the outcome is its handle.

    What still runs when the spawning procedure ends is waited for. It should wait for nothing but Elasticsearch.
    """

    steps: Generator[Step, Any, Any]


@dataclass(frozen=True, slots=True)
class Join:
    """Wait for a spawned procedure; the outcome is its result, or the exception that it has raised."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Remember:
    """The result of a procedure, or what it was where the same client ran one under this key in the last ``seconds``.

    Errors are not remembered. ``steps`` makes the procedure; it is not called where the result is known.
    """

    key: Hashable
    seconds: float
    steps: Callable[[], Generator[Step, Any, Any]]


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop everything that this client remembers, because something has changed."""


Handle = Future[Any] | asyncio.Task[Any]
Step = Request | Compute | Pause | Spawn | Join | Remember | Forget
Steps = Generator[Step, Any, T]
AnyClient = Elasticsearch | AsyncElasticsearch


def url_path(template: str, *parts: str) -> str:
    """Fill ``{}`` in a path with names, quoted so that no name can change the path's shape.

    >>> url_path("/{}/_doc/{}", "a/b", "..?x")
    '/a%2Fb/_doc/..%3Fx'

    Raises:
        UsageError: a name is empty, or holds half a surrogate pair.
    """
    if not all(parts):
        raise UsageError(f"a name is empty in {template}", hint="Name an index, or what else is wanted there.")
    try:
        return template.format(*(quote(part, safe="") for part in parts))
    except UnicodeEncodeError:
        raise UsageError(f"a name is no text in {template}", hint="It holds half a surrogate pair.") from None


def optional(request: Request, *, missing: tuple[int, ...] = (404,)) -> Steps[Any]:
    """Yield the request; return its response, or None when it is refused with one of the ``missing`` statuses."""
    try:
        return (yield request)
    except ClusterError as error:
        if error.status in missing:
            return None
        raise


def refused_once(steps: Steps[T]) -> Steps[T]:
    """Run a procedure that is tried again as a whole: what it asks for is not resent where the cluster refuses it.

    Whoever tries again waits in between; the client would not. Requests for which a connection failed are resent as the
    client is set up, and what a request says of itself holds.
    """
    return relayed(steps, lambda request: replace(request, resend_refused=False))


def unchanged(request: Request) -> Request:
    """Return the request."""
    return request


def untimed(_step: Step, _seconds: float) -> None:
    """Take no notice."""


def relayed(
    steps: Steps[T], change: Callable[[Request], Request] = unchanged, took: Callable[[Step, float], None] = untimed
) -> Steps[T]:
    """Run a procedure with every request of it changed, also in what it spawns or remembers.

    ``took`` is told of each step of its own, and the seconds until its outcome. What ``change`` raises is raised in the
    procedure.
    """
    outcome: Any = None
    error: BaseException | None = None
    try:
        while True:
            step = steps.send(outcome) if error is None else steps.throw(error)
            outcome, error = None, None
            started = time.perf_counter()
            try:
                outcome = yield _relayed(step, change)
            except GeneratorExit:
                raise
            except BaseException as raised:
                error = raised
            took(step, time.perf_counter() - started)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def _relayed(step: Step, change: Callable[[Request], Request]) -> Step:
    match step:
        case Request():
            return change(step)
        case Spawn():
            return Spawn(relayed(step.steps, change))
        case Remember():
            return replace(step, steps=lambda: relayed(step.steps(), change))
    return step


def run(client: Elasticsearch, steps: Steps[T]) -> T:
    """Drive the procedure to its end with a synchronous client and return its result.

    A signal whose handler raises, as Ctrl-C's does, waits for the answer of the request that is under way; a second one
    does not wait.
    """
    with _Threads(client) as threads:
        try:
            step = next(steps)
            while True:
                try:
                    outcome = _perform(client, step, threads)
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
    tasks: set[asyncio.Task[Any]] = set()
    try:
        step = next(steps)
        while True:
            try:
                outcome = await _perform_async(client, step, tasks)
            except BaseException as error:  # an interrupted procedure may still tidy up
                step = steps.throw(_named(error, step))
            else:
                step = steps.send(outcome)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Threads:
    """The threads of one procedure's spawned ones: none until one is spawned, and all joined at its end."""

    def __init__(self, client: Elasticsearch) -> None:
        self._client = client
        self._pool: ThreadPoolExecutor | None = None

    def spawn(self, steps: Steps[Any]) -> Future[Any]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=MAX_SPAWNED, thread_name_prefix="es-semantic")
        return self._pool.submit(run, self._client, steps)

    def __enter__(self) -> _Threads:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _perform(client: Elasticsearch, step: Step, threads: _Threads) -> Any:
    match step:
        case Compute():
            return step.function()
        case Pause():
            return time.sleep(step.seconds)
        case Spawn():
            return threads.spawn(step.steps)
        case Join():
            return _joined(cast("Future[Any]", step.handle))
        case Remember():
            memory = memory_of(client)
            known, age = memory.recall(step), memory.age
            return memory.keep(step, run(client, step.steps()), age) if known is UNKNOWN else known
        case Forget():
            return memory_of(client).clear()
    sender, params = _sender(client, step), dict(step.params)
    with held_back():
        answer = sender.perform_request(step.method, step.path, params=params, headers=step.headers, body=step.body)
    return _body(answer)


def _joined(handle: Future[Any]) -> Any:
    while True:
        with held_back():
            if wait([handle], timeout=INTERRUPTED_WITHIN).done:
                return handle.result()


async def _perform_async(client: AsyncElasticsearch, step: Step, tasks: set[asyncio.Task[Any]]) -> Any:
    match step:
        case Compute():
            return await asyncio.to_thread(step.function)
        case Pause():
            return await asyncio.sleep(step.seconds)
        case Spawn():
            task = asyncio.create_task(run_async(client, step.steps))
            tasks.add(task)
            return task
        case Join():
            spawned = cast("asyncio.Task[Any]", step.handle)
            tasks.discard(spawned)
            return await spawned
        case Remember():
            memory = memory_of(client)
            known, age = memory.recall(step), memory.age
            return memory.keep(step, await run_async(client, step.steps()), age) if known is UNKNOWN else known
        case Forget():
            return memory_of(client).clear()
    sender = _sender(client, step)
    return _body(
        await sender.perform_request(
            step.method, step.path, params=dict(step.params), headers=step.headers, body=step.body
        )
    )


def _sender(client: Client, request: Request) -> Client:
    """The client, or one that shares its connections and obeys the request."""
    return client if request.resend_refused else client.options(retry_on_status=())


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
