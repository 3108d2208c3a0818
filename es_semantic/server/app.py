"""The application: routes, errors and limits put together."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from es_semantic.chosen import Source
from es_semantic.cluster.client import connect_async
from es_semantic.config import Config, ConnectionSettings, ServeSettings
from es_semantic.errors import EsSemanticError, Forbidden, UsageError
from es_semantic.server import dify, openai, pages, playground, ragflow, rerank, search, uploads
from es_semantic.server.access import is_loopback
from es_semantic.server.admission import Admission
from es_semantic.server.failures import UNAUTHORIZED, Failure, failure_of, plain
from es_semantic.server.guard import Guard
from es_semantic.server.keys import Keys
from es_semantic.server.metrics import Metrics
from es_semantic.server.models import ConfiguredModels, SharedModels
from es_semantic.server.service import Service

ROUTERS = tuple(module.router for module in (search, ragflow, uploads, dify, openai, rerank, pages, playground))

log = logging.getLogger("es_semantic.server")


def create_app(
    config: Config,
    connection: ConnectionSettings,
    source: Source | None = None,
    *,
    warmed: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Return the application; the cluster is asked nothing yet. Models come from ``source``, else the configuration.

    ``warmed`` is called, in a thread, once models are loaded.

    Raises:
        UsageError: it shall listen beyond this machine, and there are no keys.
        ConfigError: the file of keys cannot be read, or the connection cannot be made of its settings.
    """
    settings, keys = config.serve, Keys(config.serve.keys_file)
    require_keys(settings, keys)
    elasticsearch = connect_async(in_time(connection, settings))
    metrics = Metrics(lambda: models.waiting)
    models = SharedModels(source or ConfiguredModels(config), config, metrics.ran)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with elasticsearch as client:
            # Blocked threads are cheap; without one, a request could not even wait for its batch.
            threads = ThreadPoolExecutor(settings.concurrency + 8, thread_name_prefix="es-semantic")
            asyncio.get_running_loop().set_default_executor(threads)
            service = Service(config, client, models, metrics)
            app.state.service = service
            threading.Thread(target=warm_up, args=(service, warmed), name="es-semantic-warm-up", daemon=True).start()
            yield
            models.close()

    # Its page that shows the API loads nothing from other hosts.
    app = FastAPIOffline(
        title="es-semantic",
        summary="Semantic search for the Elasticsearch you already run.",
        version=metadata.version("es-semantic"),
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(EsSemanticError, _ours)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    admission = Admission(settings, keys, open_without_keys=is_loopback(settings.host))
    app.add_middleware(
        Guard, settings=settings, admission=admission, metrics=metrics, uploads=uploads.is_upload, shaped=shaped
    )
    if settings.cors_origins:
        # Outermost, so that a page may read refusals as well.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
        )
    return app


def warm_up(service: Service, warmed: Callable[[], None]) -> None:
    """Load the models, and then say that the server is ready."""
    service.models.warm_up()
    warmed()
    service.warm.set()


def require_keys(settings: ServeSettings, keys: Keys) -> None:
    """Make sure that nobody on other machines is let in without a key.

    Raises:
        UsageError: it shall listen beyond this machine, and there are no keys.
    """
    if not is_loopback(settings.host) and not keys.all():
        raise UsageError(
            f"without API keys the server listens on this machine only, not on {settings.host}",
            hint="Make one: es-semantic key create NAME --scope search --index INDEX",
        )


def in_time(connection: ConnectionSettings, settings: ServeSettings) -> ConnectionSettings:
    """Return how to reach the cluster for somebody who waits: an answer that comes after the deadline is of no use."""
    return connection.model_copy(
        update={
            "request_timeout": min(connection.request_timeout, settings.deadline),
            "max_retries": min(connection.max_retries, 1),
        }
    )


def shaped(path: str, failure: Failure, request_id: str) -> JSONResponse:
    """Return a failure as the callers of a path know errors."""
    shape = ragflow.failed if uploads.is_upload(path) else _SHAPES.get(path)
    if shape is not None:
        return shape(failure, request_id)
    return JSONResponse(failure.body(request_id), failure.status, failure.headers)


def _answered(request: Request, failure: Failure) -> JSONResponse:
    return shaped(request.url.path, failure, request.state.request_id)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EsSemanticError)
    failure = failure_of(error)
    if failure.status >= 500 or isinstance(error, Forbidden) or UNAUTHORIZED in error.what:
        log.warning("request %s: %s", request.state.request_id, error.what)
    return _answered(request, failure)


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{'.'.join(str(part) for part in each['loc'] if part != 'body') or 'body'}: {each['msg']}"
        for each in error.errors()
    ]
    return _answered(request, plain(422, "InvalidRequest", "; ".join(dict.fromkeys(problems))[:2_000], "See /docs."))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    failure = plain(error.status_code, "HttpError", str(error.detail), "See /docs.")
    return _answered(request, Failure(failure.status, failure.error, dict(error.headers or {})))


_SHAPES: dict[str, Callable[[Failure, str], JSONResponse]] = {
    **ragflow.SHAPES,
    **dify.SHAPES,
    **openai.SHAPES,
    **rerank.SHAPES,
}
"""Routes whose callers know errors of another shape, by their paths."""
