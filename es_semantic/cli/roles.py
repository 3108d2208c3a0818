"""``es-semantic roles``"""

from __future__ import annotations

from typing import Annotated

import typer

from es_semantic.cli.context import Context
from es_semantic.cli.output import print_json, say
from es_semantic.cluster.steps import run
from es_semantic.errors import ClusterError
from es_semantic.schema.roles import with_aliased, worker_role

app = typer.Typer(help="Print the least privileges that es-semantic needs, as Elasticsearch takes them.")


@app.callback()
def _group() -> None:
    """Keep ``worker`` a subcommand, although it is the only one so far."""


@app.command()
def worker(
    ctx: typer.Context,
    indices: Annotated[list[str], typer.Argument(metavar="INDEX...", help="Indices, aliases or data streams.")],
    initial_load: Annotated[bool, typer.Option("--initial-load", help="With what sync --initial-load needs.")] = False,
) -> None:
    """Print the role of a worker as JSON: for PUT _security/role/NAME, or as a role descriptor of an API key."""
    print_json(worker_role(_with_aliased(ctx.obj, indices), initial_load=initial_load))


def _with_aliased(context: Context, names: list[str]) -> list[str]:
    try:
        return run(context.client, with_aliased(names))
    except ClusterError as error:
        say(f"Whether a name is an alias could not be asked ({error.what}). If one is, name its index as well.")
        return names
