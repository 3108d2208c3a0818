"""``es-semantic retrieve``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import orjson
import typer

import es_semantic
from es_semantic.cli.hits import AllowDegraded, Deadline
from es_semantic.cli.options import Index
from es_semantic.cli.output import print_json, say
from es_semantic.errors import UsageError
from es_semantic.retrieval.engine import Execution


def retrieve(
    ctx: typer.Context,
    index: Index,
    file: Annotated[str, typer.Argument(help="The body of a search request with a retriever, as JSON; - for stdin.")],
    execution: Annotated[
        str, typer.Option("--execution", help="native (Elasticsearch ranks), client (es-semantic does), or auto.")
    ] = "auto",
    deadline: Deadline = None,
    allow_degraded: AllowDegraded = False,
    _json: Annotated[bool, typer.Option("--json", help="As always here: print one JSON document.")] = False,
) -> None:
    """Answer a search request with a retriever as Elasticsearch's _search would, on every licence."""
    if execution not in get_args(Execution):
        raise UsageError(f"--execution {execution!r} is none of {', '.join(get_args(Execution))}")
    body = read_body(file)
    answer = es_semantic.retrieve(
        ctx.obj.client,
        index,
        retriever=body.pop("retriever"),
        execution=cast(Execution, execution),
        deadline=deadline,
        allow_degraded=allow_degraded,
        config=ctx.obj.config,
        body=body,
    )
    for each in answer.get("es_semantic", {}).get("degraded", ()):
        say(f"Without {each['leg']}, which failed: {each['reason']}")
    print_json(answer)


def read_body(file: str) -> dict[str, Any]:
    """Return the request body in a file, or on stdin.

    Raises:
        UsageError: the file cannot be read, or holds no JSON object with a retriever.
    """
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        body = orjson.loads(content)
    except OSError as error:
        raise UsageError(f"cannot read {file!r}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{file!r} is not JSON: {error}") from error
    if not isinstance(body, dict) or "retriever" not in body:
        raise UsageError(f"{file!r} is no search request with a retriever", hint='For example: {"retriever": {...}}')
    return body
