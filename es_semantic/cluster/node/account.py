"""The unprivileged user that Elasticsearch runs as when root starts it (Elasticsearch refuses to run as root)."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from es_semantic.cluster.node.paths import is_root

_NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int


def service_account() -> Account | None:
    """Return the user to run Elasticsearch as, or None to run it as the present user."""
    if not is_root():
        return None
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account("nobody", _NOBODY, _NOBODY)
    return Account("nobody", entry.pw_uid, entry.pw_gid)


def identity(account: Account | None) -> dict[str, Any]:
    """Return the arguments that make ``subprocess`` run a program as this user."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def may(account: Account | None, mode: str, path: Path) -> bool:
    """Return whether the user may read (``"r"``) or execute or enter (``"x"``) a path, through all its parents."""
    if account is None:
        return os.access(path, os.R_OK if mode == "r" else os.X_OK)
    # Only the kernel knows every rule (parents, ACLs, mounts), so the question is asked as that user.
    return subprocess.run(["test", f"-{mode}", str(path)], check=False, cwd="/", **identity(account)).returncode == 0


def give(account: Account | None, path: Path) -> None:
    """Make the user the owner of one file or folder; links are not followed."""
    if account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
