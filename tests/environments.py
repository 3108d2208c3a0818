"""Environments of their own for what does not get on with the libraries of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp

import pytest
from filelock import FileLock

from es_semantic.cluster.node.paths import default_cache, make_folder

SECONDS = 300


def find_uv() -> str | None:
    """Return where uv is: beside this Python, else on the path."""
    return shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def kept(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder below the machine's cache folder, which ``make`` has filled, once for all processes."""
    make_folder(default_cache())
    make_folder(folder.parent)
    with FileLock(folder.parent / f"{folder.name}.lock"):
        if not folder.is_dir():
            staging = Path(mkdtemp(dir=folder.parent))
            try:
                make(staging)
                staging.rename(folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return folder


def python_with(name: str, *requirements: str) -> Path:
    """Return the Python of an environment with these packages, which the machine's cache folder keeps under the name.

    The calling test is skipped where uv is missing, or where they cannot be fetched.
    """
    uv = find_uv()
    if uv is None:
        pytest.skip("uv is not installed; without it this environment takes minutes and gigabytes")

    def make(folder: Path) -> None:
        run_installer([uv, "venv", "--python", sys.executable, "--clear", str(folder)], "uv venv")
        python = str(folder / "bin" / "python")
        run_installer([uv, "pip", "install", "--python", python, *requirements], name)

    return kept(default_cache() / "environments" / name, make) / "bin" / "python"


def run_installer(command: Sequence[str], what: str) -> None:
    """Run what installs ``what``; where that fails, the calling test is skipped."""
    done = subprocess.run([*command, "--quiet"], capture_output=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        # What it prints may hold the credentials of an index.
        pytest.skip(f"{what} cannot be installed here (exit {done.returncode})")
