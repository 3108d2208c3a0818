"""``es-semantic serve``"""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from es_semantic.cli.context import Context
from es_semantic.cli.logs import configure
from es_semantic.cli.output import err, say
from es_semantic.config import Config
from es_semantic.errors import MissingExtra

NEEDED = ("aiohttp", "fastapi", "fastapi_offline", "python_multipart", "uvicorn")


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen; beyond loopback only with keys.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port; 0 for any free one.", min=0, max=65535)] = None,
) -> None:
    """Serve search, RAGFlow's, Dify's and OpenAI's calls, and a playground over HTTP. SIGTERM ends it with code 0."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"the server needs {', '.join(missing)}, which is not installed", hint="pip install 'es-semantic[serve]'"
        )
    from es_semantic.server.run import run

    config = _with(ctx.obj, host, port)
    configure(as_json=not err.is_terminal, verbose=False)
    run(config, ctx.obj.connection, say)


def _with(context: Context, host: str | None, port: int | None) -> Config:
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    serving = context.config.serve.model_copy(update=given)
    return context.config.model_copy(update={"serve": serving})
