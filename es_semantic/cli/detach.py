"""``es-semantic detach``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.changes import print_change
from es_semantic.cli.options import DryRun, Index, Json, Name, Template
from es_semantic.cli.output import out


def detach(
    ctx: typer.Context,
    index: Index,
    name: Name = None,
    template: Template = False,
    purge: Annotated[bool, typer.Option("--purge", help="Remove the stored values from every document too.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Undo attach: pipeline and binding go, and the owner's own final pipeline comes back."""
    field = ctx.obj.field_name(index, name)
    change, purged = es_semantic.detach(
        ctx.obj.client, index, name=field, template=template, purge=purge, dry_run=dry_run
    )
    if dry_run and purge and not as_json:
        out.print(f"# then removes {change.field!r} from every document that has it, by scripted bulk updates\n")
    print_change(change, dry_run=dry_run, as_json=as_json, verb="detached from", purged=purged)
    if as_json or dry_run:
        return
    if purge:
        out.print(f"Removed {change.field!r} from {purged} documents.")
    elif change.changed:
        out.print("The documents keep their stored values; `detach --purge` removes them.")
