"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer


def names(text: str) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


Index = Annotated[str, typer.Argument(help="Index, alias or data stream; to search in also a list (a,b) or pattern.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the semantic field. Default: semantic.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the requests and send none that changes anything.")]
Template = Annotated[bool, typer.Option("--template", help="INDEX names an index template.")]
ModelName = Annotated[
    str | None, typer.Option("--model", help="A model of the settings file, or a SentenceTransformers model.")
]
