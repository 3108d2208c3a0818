"""``es-semantic roles``"""

from __future__ import annotations

from typing import Annotated

import typer

from es_semantic.cli.context import Context
from es_semantic.cli.output import print_json, say
from es_semantic.cluster.steps import run
from es_semantic.errors import ClusterError
from es_semantic.schema.roles import api_role, with_aliased, worker_role

app = typer.Typer(help="Print the least privileges that es-semantic needs, as Elasticsearch takes them.")


@app.command()
def worker(
    ctx: typer.Context,
    indices: Annotated[list[str], typer.Argument(metavar="INDEX...", help="Indices, aliases or data streams.")],
    initial_load: Annotated[bool, typer.Option("--initial-load", help="With what sync --initial-load needs.")] = False,
) -> None:
    """Print the role of a worker as JSON: for PUT _security/role/NAME, or as a role descriptor of an API key."""
    print_json(worker_role(_with_aliased(ctx.obj, indices), initial_load=initial_load))


@app.command()
def api(
    indices: Annotated[
        list[str],
        typer.Argument(metavar="INDEX...", help="Indices, aliases, data streams or patterns, as callers name them."),
    ],
    ingest: Annotated[
        list[str] | None, typer.Option("--ingest", help="An index of chunks that documents may be uploaded to.")
    ] = None,
) -> None:
    """Print the role of `es-semantic serve` as JSON, as for a worker: it searches and, but for --ingest, only that."""
    print_json(api_role(indices, ingest=ingest or ()))


def _with_aliased(context: Context, names: list[str]) -> list[str]:
    try:
        return run(context.client, with_aliased(names))
    except ClusterError as error:
        say(f"Whether a name is an alias could not be asked ({error.what}). If one is, name its index as well.")
        return names
