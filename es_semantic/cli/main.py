"""Assemble the verbs, and turn every ending into an exit code.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 finished with dead letters, 4 stopped
because too many documents fail, 130 interrupted.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from es_semantic.cli import (
    analyze,
    attach,
    compare,
    demo,
    detach,
    doctor,
    down,
    eval,
    failures,
    ingest,
    key,
    mcp,
    migrate,
    more_like,
    native,
    prompt,
    reindex,
    retrieve,
    roles,
    search,
    serve,
    status,
    sync,
    tune,
    up,
)
from es_semantic.cli.context import Context
from es_semantic.cli.logs import configure
from es_semantic.cli.output import print_error, print_failure, say
from es_semantic.cluster.client import allow_deep_documents
from es_semantic.errors import EsSemanticError, UsageError

INTERRUPTED = 130
AGAIN = (
    "Run the same command again: sync, reindex, migrate, analyze and ingest go on where they were, others begin anew."
)

# Newer releases of typer carry their own copy of click, so that `click.ClickException` is not what they raise.
_CLICK_EXCEPTION: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    name="es-semantic",
    help="Semantic search for the Elasticsearch you already run.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
VERBS = (
    *(up, down, doctor, attach, detach, analyze, sync, reindex, migrate, failures, status, search, serve, native),
    *(ingest, eval, compare, tune, demo, mcp),
)
for verb in VERBS:
    app.command()(getattr(verb, verb.__name__.rsplit(".", 1)[-1]))
for command in (prompt.context, more_like.more_like, retrieve.retrieve):
    app.command()(command)
app.add_typer(roles.app, name="roles")
app.add_typer(key.app, name="key")


@app.callback()
def options(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings file; default es-semantic.yml in this folder.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Elasticsearch, instead of the configured one.")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every request to stderr.")] = False,
) -> None:
    """Semantic search for the Elasticsearch you already run."""
    if version:
        print(metadata.version("es-semantic"))
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        raise UsageError("which command?", hint="See es-semantic --help.")
    configure(as_json=False, verbose=verbose)
    ctx.obj = Context(config, url)


def main() -> None:
    """Run the command line and leave with its exit code."""
    allow_deep_documents()
    as_json = "--json" in sys.argv
    try:
        _require_text(sys.argv[1:])
        code = app(standalone_mode=False)
    except EsSemanticError as error:
        print_error(error, as_json=as_json)
        code = error.exit_code
    except _CLICK_EXCEPTION as error:
        error.show()
        if as_json:
            print_failure("UsageError", error.format_message())
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except Exception as error:
        # A bug of ours: the traceback is for the report, the document for the script that waits for one.
        if as_json:
            print_failure(type(error).__name__, str(error))
        raise
    if code == INTERRUPTED:
        say(f"Stopped. {AGAIN}")
        if as_json:
            print_failure("Interrupted", "stopped by a signal", AGAIN)
    sys.exit(code if isinstance(code, int) else 0)


def _require_text(arguments: list[str]) -> None:
    for argument in arguments:
        if argument != argument.encode("utf-8", "replace").decode("utf-8"):
            raise UsageError(f"{argument!a} is not UTF-8 text")
