"""``es-semantic attach``"""

from __future__ import annotations

from typing import Annotated

import typer

import es_semantic
from es_semantic.cli.changes import print_change
from es_semantic.cli.context import Context
from es_semantic.cli.options import DryRun, Index, Json, ModelName, Name, Template, names
from es_semantic.cli.output import out
from es_semantic.config import DEFAULT_FIELD_NAME, ModelSettings, SentenceTransformersModel
from es_semantic.errors import UsageError


def attach(
    ctx: typer.Context,
    index: Index,
    fields: Annotated[str | None, typer.Option("--fields", help="Source fields, separated by commas.")] = None,
    model: ModelName = None,
    chunk: Annotated[
        str | None,
        typer.Option(
            "--chunk",
            help="never: one vector a document; always: one a chunk of its text; auto: by a sample. Default: auto.",
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Language of the text (en, de, zh ...): adds an analysed sub-field for BM25."),
    ] = None,
    name: Name = None,
    template: Template = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give a live index a semantic field. Nothing is re-created, and programs that write to it need no change."""
    configured = ctx.obj.semantic_field(index, name)
    if fields is None and configured is None:
        raise UsageError(
            f"which fields of {index!r} hold the text?",
            hint="Use --fields title,body, or list the index under semantic_fields in es-semantic.yml.",
        )
    change = es_semantic.attach(
        ctx.obj.client,
        index,
        names(fields) if fields is not None else configured.fields,
        model=model_settings(ctx.obj, model if model is not None or configured is None else configured.model),
        name=ctx.obj.field_name(index, name),
        chunk=chunk or (configured.chunk if configured is not None else "auto"),
        language=language or (configured.language if configured is not None else None),
        template=template,
        dry_run=dry_run,
    )
    print_change(change, dry_run=dry_run, as_json=as_json)
    if not as_json and not dry_run and not template:
        option = "" if change.field == DEFAULT_FIELD_NAME else f" --name {change.field}"
        out.print(f"Next: es-semantic sync {change.target}{option}", soft_wrap=True)


def model_settings(context: Context, name: str | None) -> ModelSettings:
    """Return the settings of a configured model, or take the name as SentenceTransformers would."""
    if name is None or name == "default" or name in context.config.models:
        return context.config.model(name or "default")
    return SentenceTransformersModel(name=name)
