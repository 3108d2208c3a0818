"""Start Elasticsearch as a process of this machine."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import psutil

from es_semantic.cluster.node import process
from es_semantic.cluster.node.account import Account, give, may, service_account
from es_semantic.cluster.node.archive import SERVER_JAR
from es_semantic.cluster.node.configuration import Security, node_name, write_config
from es_semantic.cluster.node.distribution import major_minor, provide
from es_semantic.cluster.node.health import free_port, node_url, require_free_port, wait_until_ready
from es_semantic.cluster.node.java import find_java, java_versions
from es_semantic.cluster.node.paths import NodeHome, default_cache
from es_semantic.cluster.node.progress import Report
from es_semantic.cluster.node.state import State, living_process, write_state
from es_semantic.config.settings import NodeSettings
from es_semantic.errors import NodeError

START_SECONDS = 180.0


def launch(settings: NodeSettings, home: NodeHome, security: Security | None, report: Report) -> State:
    """Start a node and return its state once it is ready; if that fails, nothing is left running.

    Raises:
        NodeError: the port is taken, Elasticsearch or Java cannot be had, or the node died or was too slow.
    """
    require_free_port(settings.port)
    distribution = provide(settings.distribution, cache=default_cache(), report=report)
    account = service_account()
    java_home = find_java(
        settings.java_home, distribution.path, account, versions=java_versions(major_minor(distribution.version))
    )
    _prepare(distribution.path, home, account, settings.port, security)
    report(f"Starting Elasticsearch {distribution.version} on port {settings.port}")
    launcher = process.start(
        process.launch_command(distribution, java_home, home),
        process.launch_environment(distribution.path, java_home, home, heap=settings.heap),
        distribution=distribution.path,
        console=home.console,
        account=account,
    )
    try:
        state = _record(launcher, home, settings.port)
        ready = await_ready(state, home, security)
    except BaseException:
        process.stop(psutil.Process(launcher.pid))
        home.state.unlink(missing_ok=True)
        raise
    # The launcher is meant to live on, which Popen would otherwise warn of.
    launcher.returncode = 0
    return ready


def _record(launcher: subprocess.Popen[bytes], home: NodeHome, port: int) -> State:
    state = State(
        how="local",
        url=node_url(port),
        port=port,
        version="",
        pid=launcher.pid,
        create_time=psutil.Process(launcher.pid).create_time(),
    )
    write_state(home.state, state)
    return state


def await_ready(state: State, home: NodeHome, security: Security | None, *, seconds: float = START_SECONDS) -> State:
    """Wait until the process of ``state`` is ready, and record its version.

    Raises:
        NodeError: it died or was too slow; the text ends with the last lines of its log.
    """
    try:
        version = wait_until_ready(
            state.url, node_name(home), security, alive=lambda: living_process(state) is not None, seconds=seconds
        )
    except (ProcessLookupError, TimeoutError) as error:
        died = isinstance(error, ProcessLookupError)
        problem = "stopped while it was starting" if died else f"was not ready after {seconds:.0f} s"
        raise NodeError(
            f"Elasticsearch {problem}. Its last lines:\n{process.log_tail(home.console)}",
            hint=f"The whole log is in {home.console}.",
        ) from error
    ready = replace(state, version=version)
    write_state(home.state, ready)
    return ready


def _prepare(distribution: Path, home: NodeHome, account: Account | None, port: int, security: Security | None) -> None:
    shutil.rmtree(home.tmp, ignore_errors=True)
    for folder in (home.data, home.logs, home.tmp):
        folder.mkdir(mode=0o700, exist_ok=True)
        give(account, folder)
    write_config(distribution, home, port=port, transport_port=free_port(), security=security)
    for path in (home.config, *home.config.rglob("*")):
        give(account, path)
    if account is not None:
        _require_access(account, "distribution", distribution, next(distribution.glob(SERVER_JAR)))
        _require_access(account, "home", home.root, home.config / "elasticsearch.yml")


def _require_access(account: Account, what: str, folder: Path, file: Path) -> None:
    if not may(account, "r", file):
        raise NodeError(
            f"Elasticsearch does not run as root, and user {account.name} cannot read the {what} {folder}.",
            hint=f"Move the {what} to a folder that every user may enter (root's home is closed to others).",
        )
