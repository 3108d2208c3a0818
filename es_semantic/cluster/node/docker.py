"""Start the node with Docker Compose, where a Docker engine answers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from es_semantic.cluster.node.health import node_url, wait_until_ready
from es_semantic.cluster.node.progress import Report
from es_semantic.cluster.node.state import State
from es_semantic.config.settings import NodeSettings
from es_semantic.errors import NodeError
from es_semantic.resources import resource

PROJECT = "es-semantic"
SERVICE = "elasticsearch"
_ANSWER_SECONDS = 5.0
_START_SECONDS = 180
_LOG_LINES = 15


def compose_command(compose_file: Path, *arguments: str) -> list[str]:
    """Return a Docker Compose command on our project."""
    return ["docker", "compose", "-f", str(compose_file), "-p", PROJECT, *arguments]


def compose_environment(settings: NodeSettings) -> dict[str, str]:
    """Return the variables that ``compose.yml`` takes: port, heap, and twice the heap as the memory limit."""
    size, unit = int(settings.heap[:-1]), settings.heap[-1]
    return {
        "ES_SEMANTIC_PORT": str(settings.port),
        "ES_SEMANTIC_HEAP": settings.heap,
        "ES_SEMANTIC_MEMORY": f"{2 * size}{unit}",
    }


def is_available() -> bool:
    """Return whether a Docker engine answers and Docker Compose is there."""
    return shutil.which("docker") is not None and all(
        _succeeds(command) for command in (["docker", "info"], ["docker", "compose", "version"])
    )


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=_ANSWER_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def start(settings: NodeSettings, report: Report) -> State:
    """Start the service and return its state once it is healthy.

    Raises:
        NodeError: Docker Compose failed; the text ends with its last lines.
    """
    report("Starting Elasticsearch with Docker (the first time, its image is fetched)")
    url = node_url(settings.port)
    try:
        _compose("up", "--detach", "--wait", "--wait-timeout", str(_START_SECONDS), SERVICE, settings=settings)
        version = wait_until_ready(url, SERVICE, None, alive=is_running, seconds=_START_SECONDS)
    except (TimeoutError, ProcessLookupError) as error:
        stop()
        raise NodeError(f"The container started, but no Elasticsearch is ready at {url}.") from error
    except BaseException:
        with contextlib.suppress(NodeError):
            stop()
        raise
    return State(how="docker", url=url, port=settings.port, version=version)


def is_running() -> bool:
    """Return whether the service's container runs; without an engine it does not."""
    try:
        return bool(_compose("ps", "--quiet", "--status", "running", SERVICE).strip())
    except NodeError:
        return False


def stop() -> None:
    """Stop the service; its data stay in the volume."""
    _compose("stop", SERVICE)


def _compose(*arguments: str, settings: NodeSettings | None = None) -> str:
    command = compose_command(resource("docker/compose.yml"), *arguments)
    environment = dict(os.environ) | (compose_environment(settings) if settings else {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    except OSError as error:
        raise NodeError(f"docker cannot be run: {error.strerror}.") from error
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-_LOG_LINES:])
        raise NodeError(f"`{' '.join(command)}` failed (exit {done.returncode}):\n{tail}")
    return done.stdout
