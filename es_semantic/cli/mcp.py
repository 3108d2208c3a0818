"""``es-semantic mcp``"""

from __future__ import annotations

from typing import Annotated

import typer


def mcp(
    ctx: typer.Context,
    indices: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INDEX]...",
            help="Indices, aliases and data streams, or patterns of them. Default: all with a semantic field.",
        ),
    ] = None,
) -> None:
    """Let an agent search and read indices over stdin and stdout (Model Context Protocol)."""
    # The library is an extra, and no other verb needs it.
    from es_semantic.integrations.mcp import serve

    serve(ctx.obj.connection, ctx.obj.config, indices or ())
