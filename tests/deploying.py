"""What deployment files say, checked against the command line, and probes that are run."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import typer

from es_semantic.cli.main import app


def verbs() -> set[str]:
    """Return the names of all commands."""
    command: Any = typer.main.get_command(app)
    return set(command.commands)


def require_command(arguments: Sequence[str]) -> None:
    """Parse a command line of es-semantic without running it.

    Raises:
        click.ClickException: no such command or option, or a value that cannot be.
    """
    command: Any = typer.main.get_command(app)
    left = list(arguments)
    parent = None
    while hasattr(command, "commands"):
        parent = command.make_context("es-semantic", left, parent=parent)
        left = [*parent._protected_args, *parent.args] if hasattr(parent, "_protected_args") else parent.args
        _, command, left = command.resolve_command(parent, left)
    command.make_context(command.name, left, parent=parent)


def probed(command: Sequence[str], port: int, status: int) -> tuple[int, list[str]]:
    """Run a probe of ``port`` against a server that answers everything with ``status``; its code, and what it asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Stay quiet."""

    program, *arguments = command
    assert program == "python"
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = [each.replace(f"{port},", f"{server.server_port},") for each in arguments]
        assert there != arguments, f"it does not ask port {port}"
        done = subprocess.run([sys.executable, *there], capture_output=True, timeout=60, check=False)
        server.shutdown()
    return done.returncode, asked
