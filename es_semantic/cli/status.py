"""``es-semantic status``"""

from __future__ import annotations

import dataclasses

import typer

import es_semantic
from es_semantic.cli.options import Index, Json, Name
from es_semantic.cli.output import out, print_json, table


def status(ctx: typer.Context, index: Index, name: Name = None, as_json: Json = False) -> None:
    """Count the documents that are ready, pending, failed and empty."""
    state = es_semantic.status(ctx.obj.client, index, name=ctx.obj.field_name(index, name))
    if as_json:
        print_json(state)
        return
    out.print(table("", "", rows=[[key, str(value)] for key, value in dataclasses.asdict(state).items()]))
