"""What ``up`` started, as kept in ``node.json``, so that ``down`` ends that and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

How = Literal["docker", "local"]

# The start time of a process is computed from the clock, which may have been adjusted since.
_CREATE_TIME_TOLERANCE = 1.0


@dataclass(frozen=True)
class NodeInfo:
    """A node that ``up`` started. ``started`` says whether this very call started it."""

    url: str
    version: str
    how: How
    started: bool


@dataclass(frozen=True)
class State:
    """A node that ``up`` started. ``version`` is empty until the node has answered; ``pid`` is the launcher's."""

    how: How
    url: str
    port: int
    version: str
    pid: int | None = None
    create_time: float | None = None

    def info(self, *, started: bool = False) -> NodeInfo:
        """Return what callers see of it."""
        return NodeInfo(url=self.url, version=self.version, how=self.how, started=started)


def read_state(path: Path) -> State | None:
    """Return the kept state; None when there is none or it is damaged."""
    try:
        return State(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_state(path: Path, state: State) -> None:
    """Replace the kept state at once."""
    new = path.with_suffix(".tmp")
    new.write_text(json.dumps(asdict(state), indent=2))
    os.replace(new, path)


def living_process(state: State) -> psutil.Process | None:
    """Return the process that the state names if it still lives; another one with the same pid does not count."""
    if state.pid is None or state.create_time is None:
        return None
    try:
        process = psutil.Process(state.pid)
        same = abs(process.create_time() - state.create_time) < _CREATE_TIME_TOLERANCE
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
