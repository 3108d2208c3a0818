"""Where a local node keeps its files, and whether there is room for them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from es_semantic.errors import NodeError

APP = "es-semantic"


def is_root() -> bool:
    """Return whether this process runs as the superuser."""
    return os.name == "posix" and os.geteuid() == 0


def default_home() -> Path:
    """Return the folder of this user's node: its data, logs, configuration and state."""
    # Elasticsearch runs as another user when root starts it, and root's home is closed to that user.
    return Path("/var/lib") / APP if is_root() else platformdirs.user_data_path(APP)


def default_cache() -> Path:
    """Return the folder of unpacked distributions, shared by all nodes of this user."""
    return Path("/var/cache") / APP if is_root() else platformdirs.user_cache_path(APP)


@dataclass(frozen=True)
class NodeHome:
    """The layout of one node's folder."""

    root: Path

    @property
    def data(self) -> Path:
        """The indices; kept by ``down``."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """Elasticsearch's logs, ``gc.log``, crash reports and heap dumps."""
        return self.root / "logs"

    @property
    def console(self) -> Path:
        """What the process printed since its last start."""
        return self.logs / "console.log"

    @property
    def config(self) -> Path:
        """The configuration, written anew at every start."""
        return self.root / "config"

    @property
    def tmp(self) -> Path:
        """Elasticsearch's temporary files."""
        return self.root / "tmp"

    @property
    def state(self) -> Path:
        """What ``up`` started."""
        return self.root / "node.json"

    @property
    def lock(self) -> Path:
        """Held while a node is started or stopped."""
        return self.root / "node.lock"


def make_folder(path: Path) -> None:
    """Create a folder that other users may enter, unless it exists.

    Raises:
        NodeError: the folder cannot be created or written.
    """
    try:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            # A strict umask would close it to the user that Elasticsearch runs as.
            path.chmod(0o755)
    except OSError as error:
        raise NodeError(f"The folder {path} cannot be created: {error.strerror}.") from error
    if not os.access(path, os.W_OK):
        raise NodeError(f"The folder {path} cannot be written by this user.")


def require_space(folder: Path, needed: int) -> None:
    """Check that the disk of an existing folder has ``needed`` bytes free.

    Raises:
        NodeError: it has less; the text names folder, needed and free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NodeError(
            f"Not enough disk space in {folder}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free.",
            hint="Free some space, or set node.distribution to an Elasticsearch that is already unpacked.",
        )
