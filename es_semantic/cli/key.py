"""``es-semantic key``"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from es_semantic.cli.context import Context
from es_semantic.cli.options import Json
from es_semantic.cli.output import out, print_json, say, table
from es_semantic.errors import UsageError
from es_semantic.server.keys import SCOPES, ApiKey, Keys

app = typer.Typer(help="API keys of `es-semantic serve`: made, listed, revoked.")

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    scopes: Annotated[list[str], typer.Option("--scope", help=f"One of {', '.join(SCOPES)}; may be repeated.")],
    indices: Annotated[
        list[str] | None, typer.Option("--index", help="An index, alias or pattern that it may search; repeatable.")
    ] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="A query clause as JSON that all it finds must match.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Its searches may hold scripts, query_string, lookups.")] = False,
    expires: Annotated[str | None, typer.Option("--expires", help="How long it is valid: 12h, 30d, 8w.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    key, token = _keys(ctx.obj).create(
        name,
        scopes=scopes,
        indices=indices or [],
        filters=[_filter(each) for each in filters or []],
        raw=raw,
        expires_at=None if expires is None else datetime.now(UTC) + _duration(expires),
    )
    if as_json:
        print_json({**_shown(key), "key": token})
        return
    out.print(token, soft_wrap=True)
    say("Keep it now: it cannot be shown again. Clients send it as `Authorization: Bearer <key>`.")
    if not key.indices and key.scopes & {"search", "ingest"}:
        say("It may search nothing yet: give it --index NAME or --index '*'.")


@app.command(name="list")
def show(ctx: typer.Context, as_json: Json = False) -> None:
    """List the keys, without the keys themselves."""
    keys = _keys(ctx.obj).all()
    if as_json:
        print_json([_shown(key) for key in keys])
        return
    rows = [
        [
            key.id,
            key.name,
            ", ".join(scope for scope in SCOPES if scope in key.scopes),
            ", ".join(key.indices),
            json.dumps(key.filter) if key.filter else "",
            _state(key),
        ]
        for key in keys
    ]
    out.print(table("id", "name", "scopes", "indices", "filter", "state", rows=rows))


@app.command()
def revoke(ctx: typer.Context, id: Annotated[str, typer.Argument(help="The key's id.")], as_json: Json = False) -> None:
    """Revoke a key; servers that run heed it at once."""
    key = _keys(ctx.obj).revoke(id)
    if as_json:
        print_json(_shown(key))
    else:
        out.print(f"{key.id} ({key.name}) is revoked", soft_wrap=True)


def _keys(context: Context) -> Keys:
    return Keys(context.config.serve.keys_file)


def _filter(text: str) -> dict[str, Any]:
    try:
        clause = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"--filter {text!r} is no JSON: {error}", hint='For example {"term": {"tenant": "a"}}'
        ) from None
    if not isinstance(clause, dict):
        raise UsageError(f"--filter {text!r} is no query clause", hint='For example {"term": {"tenant": "a"}}')
    return clause


def _duration(text: str) -> timedelta:
    parts = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text)
    if parts is None:
        raise UsageError(f"--expires {text!r} is no duration", hint="For example 12h, 30d or 8w.")
    return timedelta(**{_UNITS[parts[2]]: int(parts[1])})


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if not key.valid(datetime.now(UTC)):
        return f"expired {key.expires_at:%Y-%m-%d}"
    return "valid" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d}"


def _shown(key: ApiKey) -> dict[str, Any]:
    shown: dict[str, Any] = key.model_dump(mode="json", exclude={"hash"})
    return {**shown, "state": _state(key)}
