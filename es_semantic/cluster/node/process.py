"""Start and stop the Elasticsearch process."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from es_semantic.cluster.node.account import Account, identity
from es_semantic.cluster.node.distribution import Distribution
from es_semantic.cluster.node.paths import NodeHome

_SERVER_LAUNCHER = "org.elasticsearch.server.launcher.ServerLauncher"
_TOOL_LAUNCHER = "org.elasticsearch.launcher.CliToolLauncher"
_TYPE = "zip"
# The launcher only starts and watches the server; these are the options Elastic's own scripts give it.
_LAUNCHER_OPTIONS = ("-Xms4m", "-Xmx64m", "-XX:+UseSerialGC")
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")
_STOP_SECONDS = 30.0
_LOG_LINES = 15


def launch_command(distribution: Distribution, java_home: Path, home: NodeHome) -> list[str]:
    """Return the command that starts any Elasticsearch that es-semantic supports, with or without its ``bin``."""
    java = [str(java_home / "bin" / "java"), *_LAUNCHER_OPTIONS]
    libraries = distribution.path / "lib"
    if distribution.has_server_launcher:
        return [*java, "-cp", f"{libraries}/tools/server-launcher/*", _SERVER_LAUNCHER]
    # What the newer launcher reads from the environment, this one takes as properties.
    properties = {
        "cli.name": "server",
        "cli.libs": "lib/tools/server-cli",
        "es.path.home": distribution.path,
        "es.path.conf": home.config,
        "es.distribution.type": _TYPE,
    }
    given = [f"-D{name}={value}" for name, value in properties.items()]
    return [*java, *given, "-cp", f"{libraries}/*:{libraries}/cli-launcher/*", _TOOL_LAUNCHER]


def launch_environment(
    distribution: Path, java_home: Path, home: NodeHome, *, heap: str, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the launcher's whole environment; ``heap`` is a size as the JVM takes it."""
    # Only these are inherited: the caller's variables may hold secrets or options meant for another JVM.
    inherited = {name: environ[name] for name in _INHERITED if name in environ}
    return inherited | {
        "HOME": str(home.root),
        "ES_HOME": str(distribution),
        "ES_PATH_CONF": str(home.config),
        "ES_TMPDIR": str(home.tmp),
        "ES_JAVA_HOME": str(java_home),
        "JAVA": str(java_home / "bin" / "java"),
        "JAVA_TYPE": "ES_JAVA_HOME",
        "ES_DISTRIBUTION_TYPE": _TYPE,
        "CLI_JAVA_OPTS": "",
        "ES_JAVA_OPTS": f"-Xms{heap} -Xmx{heap}",
    }


def start(
    command: list[str], environment: dict[str, str], *, distribution: Path, console: Path, account: Account | None
) -> subprocess.Popen[bytes]:
    """Start the launcher in a session of its own, so that it outlives this process and its terminal."""
    with open(console, "wb", opener=_no_link) as output:
        return subprocess.Popen(
            command,
            # The launcher looks for the modules below the working directory.
            cwd=distribution,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **identity(account),
        )


def _no_link(path: str, flags: int) -> int:
    # The folder belongs to the user that Elasticsearch runs as; root must not write where a link there points.
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def stop(process: psutil.Process) -> None:
    """End the launcher and the server it started: ask first, kill what is left after 30 seconds."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        _signal(member, kill=False)
    _, left = psutil.wait_procs(family, timeout=_STOP_SECONDS)
    for member in left:
        _signal(member, kill=True)
    psutil.wait_procs(left, timeout=_STOP_SECONDS)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        pass


def log_tail(console: Path) -> str:
    """Return the last lines that Elasticsearch printed, without the frames of Java's stack traces."""
    try:
        lines = console.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    telling = [line for line in lines if line.strip() and not re.match(r"\s+(at |\.\.\. \d+ more)", line)]
    return "\n".join(line[:500] for line in telling[-_LOG_LINES:])
