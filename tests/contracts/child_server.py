"""Real HTTP servers that other people wrote, in a child process: LitServe for models of the tests, and others."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from es_semantic.cluster.node.health import free_port

START_SECONDS = 120
STOP_SECONDS = 10
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Server:
    """A running server: ``url`` is what a client calls its base URL."""

    url: str
    pid: int

    def is_running(self) -> bool:
        """Say whether the server's first process is still there."""
        return psutil.pid_exists(self.pid) and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE

    def stop(self) -> None:
        """End the server and the processes that it started; ended already is fine."""
        try:
            parent = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return
        # Its workers outlive a parent that is terminated alone.
        family = [*parent.children(recursive=True), parent]
        for process in family:
            _signal(process, force=False)
        for process in psutil.wait_procs(family, timeout=STOP_SECONDS)[1]:
            _signal(process, force=True)


def running(module: str, *arguments: str) -> AbstractContextManager[Server]:
    """Run ``python -m module PORT arguments`` with a free loopback port, and stop it in the end."""
    return started(lambda port: [sys.executable, "-m", module, str(port), *arguments])


@contextmanager
def started(command: Callable[[int], list[str]], environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run the command for a free loopback port, wait until it answers ``/health``, and stop it in the end."""
    port = free_port()
    everything = {**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})}
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command(port), cwd=ROOT, env=everything, stdout=log, stderr=subprocess.STDOUT)
        server = Server(f"http://127.0.0.1:{port}/v1", child.pid)
        try:
            if not _healthy(child, port):
                log.seek(0)
                raise RuntimeError(f"the server did not start:\n{log.read()[-4000:].decode(errors='replace')}")
            yield server
        finally:
            server.stop()
            child.wait(STOP_SECONDS)


def _healthy(child: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    return False


def _signal(process: psutil.Process, *, force: bool) -> None:
    try:
        process.kill() if force else process.terminate()
    except psutil.NoSuchProcess:
        return
