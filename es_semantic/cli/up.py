"""``es-semantic up``"""

from __future__ import annotations

import typer

from es_semantic.cli.context import Context
from es_semantic.cli.options import Json
from es_semantic.cli.output import out, print_json, say
from es_semantic.cluster import node
from es_semantic.cluster.capabilities import capabilities
from es_semantic.cluster.steps import run


def up(ctx: typer.Context, as_json: Json = False) -> None:
    """Find or start an Elasticsearch: the configured one, else Docker, else one on this machine."""
    url, version, how = find_or_start(ctx.obj)
    if as_json:
        print_json({"url": url, "version": version, "how": how})
    else:
        out.print(f"Elasticsearch {version or '(version not shown to these credentials)'} at {url} ({how})")


def find_or_start(context: Context) -> tuple[str, str | None, str]:
    """Return URL, version and how it was come by."""
    urls = context.config.connection.urls
    if urls:
        return urls[0], run(context.client, capabilities()).version_text, "configured"
    info = node.up(context.config.node, report=say)
    return info.url, info.version, info.how
