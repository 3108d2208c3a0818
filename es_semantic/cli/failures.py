"""``es-semantic failures``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.options import Index, Json, Name
from es_semantic.cli.output import out, print_json, say, table


def failures(
    ctx: typer.Context,
    index: Index,
    retry: Annotated[bool, typer.Option("--retry", help="Queue them again for the next sync.")] = False,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """List dead letters: documents that have text and no vector, with the reason."""
    found = es_semantic.failures(ctx.obj.client, index, name=ctx.obj.field_name(index, name), retry=retry)
    if as_json:
        print_json(found)
        return
    if not found.failures:
        say(f"{found.index}: no dead letters")
        return
    rows = [[letter.index, letter.id, letter.at, letter.reason] for letter in found.failures]
    out.print(table("index", "id", "since (UTC)", "reason", rows=rows))
    if retry:
        say(f"{found.queued} of {len(found.failures)} queued again.")
        say(f"Next: es-semantic sync {index}" if found.queued else "Mend these documents first; then run sync.")
    else:
        say(f"When the cause is mended: es-semantic failures {index} --retry, then es-semantic sync {index}")
