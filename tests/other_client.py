"""Tests with another version of the client than the one that is installed, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from es_semantic.cluster.node.paths import default_cache
from tests.environments import find_uv, kept, run_installer

_RUN = """
import sys
import elasticsearch, pytest
assert elasticsearch.__versionstr__ == sys.argv[1], elasticsearch.__file__
sys.exit(pytest.main(sys.argv[2:]))
"""
_SECONDS = 300
_TAIL = 6_000


def run_tests(client_version: str, *arguments: str, environment: Mapping[str, str]) -> str:
    """Run pytest with this version of the package elasticsearch, and return what it printed.

    All other packages are those of this process. The client is kept in the machine's cache folder; where it cannot be
    fetched, the calling test is skipped.

    Raises:
        AssertionError: a test failed, or none was run.
    """
    paths = [str(_client(client_version)), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, client_version, "-q", "-p", "no:cacheprovider", *arguments],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-_TAIL:]
    return printed


def _client(version: str) -> Path:
    folder = default_cache() / "clients" / f"elasticsearch-{version}"
    return kept(folder, lambda staging: _install(f"elasticsearch=={version}", staging))


def _install(requirement: str, folder: Path) -> None:
    uv = find_uv()
    pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    run_installer([*pip, "--target", str(folder), requirement], requirement)
