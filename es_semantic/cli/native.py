"""``es-semantic native``"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from es_semantic.api_native import native as make
from es_semantic.api_native import remove_native
from es_semantic.cli.changes import console_form
from es_semantic.cli.options import DryRun, Json, names
from es_semantic.cli.output import out, print_json, say
from es_semantic.errors import UsageError
from es_semantic.native.endpoint import SIMILARITY
from es_semantic.native.procedure import NativeChange

KEY = "ES_SEMANTIC_SERVER_KEY"
"""The environment variable of the server's API key: an option would show it to everybody who lists processes."""


def native(
    ctx: typer.Context,
    index: Annotated[str, typer.Argument(help="The index to make.")],
    fields: Annotated[
        str | None, typer.Option("--fields", help="Fields to embed, as semantic_text, separated by commas.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", help="`es-semantic serve` as Elasticsearch reaches it: http://host:8600")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="The server's model.")] = "default",
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Inference endpoint. Default: es-semantic-INDEX.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Undo it; an index with documents is left alone.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make an index that Elasticsearch itself embeds (semantic_text), through `es-semantic serve`; not with Basic.

    The server's API key, of the scope embed, is read from the environment variable ES_SEMANTIC_SERVER_KEY.
    """
    if remove:
        if fields is not None or server is not None:
            raise UsageError("--remove takes neither --fields nor --server", hint="es-semantic native INDEX --remove")
        change = remove_native(ctx.obj.client, index, endpoint=endpoint, dry_run=dry_run)
    else:
        if fields is None or server is None:
            raise UsageError(
                "which fields shall be embedded, and by which server?",
                hint="es-semantic native INDEX --fields body --server http://host:8600",
            )
        key = os.environ.get(KEY)
        change = make(
            ctx.obj.client,
            index,
            names(fields),
            server=server,
            model=model,
            key=SecretStr(key) if key else None,
            endpoint=endpoint,
            dry_run=dry_run,
        )
    _print(change, dry_run=dry_run, as_json=as_json)


def _print(change: NativeChange, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({**_summary(change), "dry_run": dry_run})
    elif dry_run:
        for request in change.requests:
            out.print(console_form(request), soft_wrap=True)
    else:
        out.print(_told(change), soft_wrap=True)
    for note in change.notes:
        say(f"Note: {note}.")


def _told(change: NativeChange) -> str:
    if change.endpoint is None:
        done = "is removed" if change.changed else "is not there, nothing to do"
        return f"native {change.index} (endpoint {change.endpoint_id}) {done}."
    made = "made" if change.changed else "there already"
    return (
        f"index {change.index} is {made}: Elasticsearch embeds {', '.join(change.fields)} by endpoint "
        f"{change.endpoint_id} ({change.endpoint.url}, model {change.endpoint.model}), {change.endpoint.dims} dims, "
        f"{SIMILARITY}, chunks of up to {change.endpoint.words} words.\n"
        f'Ask: POST /{change.index}/_search {{"query": {{"semantic": {{"field": "{change.fields[0]}", '
        '"query": "..."}}}'
    )


def _summary(change: NativeChange) -> dict[str, Any]:
    endpoint = change.endpoint
    return {
        "index": change.index,
        "endpoint": change.endpoint_id,
        "fields": list(change.fields),
        "changed": change.changed,
        "url": endpoint.url if endpoint else None,
        "model": endpoint.model if endpoint else None,
        "dims": endpoint.dims if endpoint else None,
        "similarity": SIMILARITY if endpoint else None,
        "chunk_words": endpoint.words if endpoint else None,
        "requests": [{"method": r.method, "path": r.path, "body": r.body} for r in change.requests],
        "notes": list(change.notes),
    }
