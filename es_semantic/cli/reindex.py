"""``es-semantic reindex``"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

import es_semantic
from es_semantic.cli.attach import model_settings
from es_semantic.cli.context import Context
from es_semantic.cli.options import Json, ModelName, Name, names
from es_semantic.cli.output import out, print_json, say, table
from es_semantic.cli.progress import reindex_progress
from es_semantic.cluster.client import connect
from es_semantic.config import ModelSettings
from es_semantic.errors import UsageError
from es_semantic.reindex.disk import size
from es_semantic.reindex.estimate import Estimate
from es_semantic.reindex.files.columns import SUFFIXES
from es_semantic.reindex.on_ray import RayEngine
from es_semantic.reindex.report import ReindexReport

DEAD_LETTERS = 3


def reindex(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Index or alias; or ./FILE or ./FOLDER.")],
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help="Name of the new index.")],
    fields: Annotated[
        str | None, typer.Option("--fields", help="Source fields. Default: those it is bound to.")
    ] = None,
    model: ModelName = None,
    chunk: Annotated[
        str | None, typer.Option("--chunk", help="never, always or auto. Default: as it is, else auto.")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Adds a sub-field for BM25 in this language (en, de, zh ...).")
    ] = None,
    name: Name = None,
    shards: Annotated[int | None, typer.Option("--shards", help="Number of primary shards.")] = None,
    index_type: Annotated[
        str | None, typer.Option("--index-type", help="Of the vectors: hnsw, int8_hnsw, bbq_hnsw, flat ...")
    ] = None,
    changes: Annotated[
        Path | None,
        typer.Option(
            "--changes", help="YAML or JSON with settings and mappings to lay over the source's; null removes."
        ),
    ] = None,
    map_: Annotated[Path | None, typer.Option("--map", help="For files: YAML that says which column is what.")] = None,
    remote: Annotated[
        str | None, typer.Option("--remote", help="The source is in this cluster of the settings file (remotes).")
    ] = None,
    slices: Annotated[int, typer.Option("--slices", help="Parts of the source read at once.")] = 1,
    rate_limit: Annotated[
        float | None, typer.Option("--rate-limit", metavar="N", help="Documents a second at most.")
    ] = None,
    verify: Annotated[str, typer.Option("--verify", help="Compare a sample of the documents, or all.")] = "sample",
    switch: Annotated[
        str | None,
        typer.Option(
            "--switch",
            help="block: no writes for the last seconds; caught-up: always; none: do not switch. Default: block, and "
            "none with --remote.",
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="local; or ray: the first pass runs on the Ray cluster of the settings.")
    ] = "local",
    keep_old: Annotated[bool, typer.Option("--keep-old/--drop-old", help="Whether the old index stays.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and change nothing.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up the unfinished job, and delete TARGET.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put the old index back, with what was written since.")] = False,
    as_json: Json = False,
) -> None:
    """Copy an index into a new one with true vectors, verify it, and let it take the old one's place.

    Interrupted in any way, the same command goes on. Exit codes: 3 done, but some documents could not be embedded; 4
    stopped, because the copy is not what the source is.
    """
    context: Context = ctx.obj
    there = connect(context.remote(remote)) if remote is not None else None
    if cancel or undo:
        _require_one(cancel=cancel, undo=undo, dry_run=dry_run)
        if cancel:
            report = es_semantic.cancel_reindex(context.client, to)
        else:
            report = es_semantic.undo_reindex(context.client, to)
        _print_end(report, as_json=as_json)
        return
    if is_path(source) or map_ is not None:
        others = {
            "--dry-run": dry_run,
            "--shards": shards,
            "--changes": changes,
            "--remote": remote,
            "--switch": switch,
            "--engine": engine != "local",
        }
        _require_none({**others, "--slices": slices != 1, "--verify": verify != "sample"})
        given = {"chunk": chunk, "language": language, "index_type": index_type, "rate_limit": rate_limit}
        report = _from_files(context, source, to, fields=fields, model=model, name=name, map_=map_, given=given)
        _print_end(report, as_json=as_json)
        if report.refused or report.counts.failed:
            raise typer.Exit(DEAD_LETTERS)
        return
    configured = context.semantic_field(source, name)
    wanted: dict[str, Any] = {
        "fields": names(fields) if fields is not None else configured.fields if configured is not None else None,
        "model": _model(context, model if model is not None or configured is None else configured.model),
        "config": context.config,
        "name": context.field_name(source, name),
        "chunk": chunk,
        "language": language,
        "shards": shards,
        "index_type": index_type,
        "remote": there,
        **(_read_changes(changes) if changes is not None else {}),
    }
    if dry_run:
        _print_estimate(es_semantic.estimate_reindex(context.client, source, to, **wanted), as_json=as_json)
        return
    how: dict[str, Any] = {"slices": slices, "rate_limit": rate_limit, "verify": verify, "switch": switch}
    how["engine"] = _engine(context, engine, remote)
    with reindex_progress() as progress:
        report = es_semantic.reindex(context.client, source, to, **wanted, **how, keep_old=keep_old, progress=progress)
    _print_end(report, as_json=as_json)
    if report.counts.failed:
        raise typer.Exit(DEAD_LETTERS)


def _engine(context: Context, engine: str, remote: str | None) -> RayEngine | None:
    if engine not in ("local", "ray"):
        raise UsageError(f"engine {engine!r} does not exist: local or ray")
    if engine == "local":
        return None
    source = context.remote(remote) if remote is not None else None
    return RayEngine(context.connection, context.config.ray, source)


def is_path(source: str) -> bool:
    """Say whether a file is meant: an index's name has no slash, and hardly the suffix of a file that is there."""
    return "/" in source or os.sep in source or (Path(source).suffix in SUFFIXES and Path(source).is_file())


def _from_files(
    context: Context,
    source: str,
    to: str,
    *,
    fields: str | None,
    model: str | None,
    name: str | None,
    map_: Path | None,
    given: dict[str, Any],
) -> ReindexReport:
    columns = _read_yaml(map_) if map_ is not None else None
    configured = context.semantic_field(to, name)
    if fields is None and configured is None:
        raise UsageError(f"which fields of the documents in {source} hold the text?", hint="Use --fields.")
    with reindex_progress() as progress:
        return es_semantic.reindex_files(
            context.client,
            source,
            to,
            fields=names(fields) if fields is not None else configured.fields if configured is not None else [],
            columns=columns,
            model=model_settings(context, model if model is not None or configured is None else configured.model),
            config=context.config,
            name=context.field_name(to, name),
            progress=progress,
            **{key: value for key, value in given.items() if value is not None},
        )


def _require_none(options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise UsageError(
            f"{', '.join(given)} cannot be used with files",
            hint="Settings and mappings of the new index go into the file that --map names.",
        )


def _require_one(*, cancel: bool, undo: bool, dry_run: bool) -> None:
    if (cancel and undo) or dry_run:
        raise UsageError("--cancel, --undo and --dry-run do not go together")


def _model(context: Context, name: str | None) -> ModelSettings | None:
    """Without a name, the model is that of the source's binding, else the default."""
    return model_settings(context, name) if name is not None else None


def _read_changes(path: Path) -> dict[str, Any]:
    content = _read_yaml(path)
    known = {"settings", "mappings"}
    if (
        not isinstance(content, dict)
        or not content.keys() <= known
        or not all(isinstance(value, dict) for value in content.values())
    ):
        raise UsageError(
            f"{path} must hold settings, mappings, or both, each with keys below it",
            hint="As in the body of the create index API, in YAML or JSON.",
        )
    return content


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _print_end(report: ReindexReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    for note in report.notes:
        say(f"Note: {note}.")
    if report.checks:
        rows = [[check.what, check.found, "ok" if check.ok else "differs"] for check in report.checks]
        out.print(table("verified", "found", "", rows=rows))
    out.print(_sentence(report), soft_wrap=True)
    for failure in report.failures:
        say(f"failed: {failure.id}: {failure.reason}")
    if report.counts.failed or report.refused:
        say(f"What could not be embedded, or written at all: es-semantic failures {report.target}")
    if report.stage == "switched":
        say(f"Next: es-semantic sync {report.aliases[0] if report.aliases else report.target}, or --follow.")
        if report.old:
            say(f"The old index is {report.old}. The way back: the same command with --undo.")
    elif report.stage == "ready":
        say(f"Nothing was switched: {report.source} and {report.target} stand beside each other.")
        say("The same command again brings along what was written since; with --switch it can also switch.")


def _sentence(report: ReindexReport) -> str:
    counts = report.counts
    done = (
        f"{counts.copied:,} copied, {counts.embedded:,} embedded, {counts.reused:,} with vectors that they had, "
        f"{counts.empty:,} without text, {counts.failed:,} failed, {counts.deleted:,} deleted; {report.seconds:.1f} s"
    )
    match report.stage:
        case "switched":
            return f"{report.source} -> {report.target}: {done}. {', '.join(report.aliases)} now means {report.target}."
        case "back":
            return (
                f"{', '.join(report.aliases)} means {report.target} again: {counts.copied:,} writes since came along."
            )
        case "cancelled":
            return f"The job that was to fill {report.target} from {report.source} is given up, and its index deleted."
    return f"{report.source} -> {report.target}: {done}."


def _print_estimate(found: Estimate, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for note in found.notes:
        say(f"Note: {note}.")
    free = "unknown" if found.disk_free is None else size(found.disk_free)
    rows = [
        ["documents", f"{found.documents:,}"],
        ["to embed", f"{found.to_embed:,} (by a sample of {found.sampled:,})"],
        ["vectors", f"{found.vectors:,}"],
        ["tokens", f"{found.tokens:,}{'' if found.counted else ' (guessed: four characters each)'}"],
        ["speed here", f"{found.documents_a_second:,.0f} documents/s"],
        ["embedding takes", duration(found.seconds)],
        ["disk needed", f"{size(found.disk_needed)}, replicas included"],
        ["disk left", f"{free} below the high watermark"],
        ["model", found.model],
    ]
    out.print(table(f"{found.source} -> {found.target}", "estimate", rows=rows))


def duration(seconds: float) -> str:
    """Return seconds, minutes or hours for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
