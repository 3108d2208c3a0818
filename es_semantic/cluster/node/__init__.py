"""A local Elasticsearch to try things on: ``up`` starts one, ``down`` ends it.

Docker Compose is used where a Docker engine answers, else an Elasticsearch distribution on this machine.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from es_semantic.cluster.node import docker, local, process
from es_semantic.cluster.node.configuration import Security
from es_semantic.cluster.node.paths import NodeHome, default_home, make_folder
from es_semantic.cluster.node.progress import Report
from es_semantic.cluster.node.state import How, NodeInfo, State, living_process, read_state, write_state
from es_semantic.config.settings import NodeSettings

__all__ = ["How", "NodeInfo", "Report", "Security", "down", "running", "up"]

_DEFAULTS = NodeSettings()


def _silent(_line: str) -> None:
    """Report nothing."""


def up(
    settings: NodeSettings = _DEFAULTS,
    *,
    home: Path | None = None,
    security: Security | None = None,
    report: Report = _silent,
) -> NodeInfo:
    """Return a running node, started if need be, once its cluster health is yellow or green.

    At most one node runs per ``home`` (default: one per user); a second call, also from another process, waits and
    returns the same node, whatever its settings. A ``home``, a ``settings.distribution`` or ``security`` means a
    local process even where Docker could be used. ``security`` starts the node with a superuser; without it the
    node is open to every user of this machine. It listens on loopback only. ``report`` takes lines that tell what
    goes on. A first start fetches about 1 GB; a start takes about 15 s and gives up after 180 s.

    Raises:
        NodeError: the node cannot be fetched or started; what this call started is stopped again.
    """
    place = NodeHome(_root(home))
    make_folder(place.root)
    with FileLock(place.lock):
        state = _living(place)
        if state is not None:
            if state.port != settings.port:
                report(f"The node runs already, on port {state.port}; `down` it first to start it on {settings.port}")
            if state.how == "local":
                state = local.await_ready(state, place, security)
            return state.info()
        if home is None and security is None and settings.distribution is None and docker.is_available():
            state = docker.start(settings, report)
            write_state(place.state, state)
        else:
            state = local.launch(settings, place, security, report)
        return state.info(started=True)


def down(*, home: Path | None = None) -> NodeInfo | None:
    """Stop the node that ``up`` started and return what was stopped; None when nothing was up. Its data are kept.

    Raises:
        NodeError: Docker Compose failed.
    """
    place = NodeHome(_root(home))
    if not place.root.is_dir():
        return None
    with FileLock(place.lock):
        state = _living(place)
        if state is not None:
            if state.how == "docker":
                docker.stop()
            elif (launcher := living_process(state)) is not None:
                process.stop(launcher)
        place.state.unlink(missing_ok=True)
        return state.info() if state else None


def running(*, home: Path | None = None) -> NodeInfo | None:
    """Return the node that ``up`` started if it still lives; it may be starting (``version`` is then empty)."""
    state = _living(NodeHome(_root(home)))
    return state.info() if state else None


def _root(home: Path | None) -> Path:
    return (home or default_home()).expanduser().resolve()


def _living(place: NodeHome) -> State | None:
    state = read_state(place.state)
    if state is None:
        return None
    alive = docker.is_running() if state.how == "docker" else living_process(state) is not None
    return state if alive else None
