"""Environments of their own for what does not get on with the libraries of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest
from filelock import FileLock

from es_semantic.cluster.node.paths import default_cache, make_folder

SECONDS = 300


def find_uv() -> str | None:
    """Return where uv is: beside this Python, else on the path."""
    return shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def python_with(name: str, *requirements: str) -> Path:
    """Return the Python of an environment with these packages, which the machine's cache folder keeps under the name.

    The calling test is skipped where uv is missing, or where they cannot be fetched.
    """
    uv = find_uv()
    if uv is None:
        pytest.skip("uv is not installed; without it this environment takes minutes and gigabytes")
    folder = default_cache() / "environments" / name
    make_folder(default_cache())
    make_folder(folder.parent)
    with FileLock(folder.parent / f"{name}.lock"):
        if not folder.is_dir():
            staging = Path(mkdtemp(dir=folder.parent))
            try:
                _run(uv, "venv", "--python", sys.executable, "--clear", str(staging))
                _run(uv, "pip", "install", "--python", str(staging / "bin" / "python"), *requirements)
                staging.rename(folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return folder / "bin" / "python"


def _run(uv: str, *arguments: str) -> None:
    done = subprocess.run([uv, *arguments, "--quiet"], capture_output=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        # What it prints may hold the credentials of an index.
        pytest.skip(f"uv {arguments[0]} fails here (exit {done.returncode})")
