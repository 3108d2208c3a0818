"""A node that a test may kill, with data that outlive it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import pytest
from elasticsearch import Elasticsearch

from es_semantic.cluster import node
from es_semantic.cluster.node import configuration
from es_semantic.cluster.node.health import free_port
from es_semantic.cluster.node.paths import NodeHome
from es_semantic.cluster.node.state import living_process, read_state
from es_semantic.config import NodeSettings

SETTINGS = {
    "http.max_content_length": "1mb",
    # At every update Elasticsearch lifts the flood-stage block of indices for which there is room.
    "cluster.info.update.interval": "1h",
}


class OwnNode:
    """An open node of one home and port, started on entering, with the ``SETTINGS`` above."""

    def __init__(self) -> None:
        # Not tmp_path: pytest closes it to other users, and a node started by root runs as another one.
        self._home = Path(tempfile.mkdtemp(prefix="es-semantic-test-node-"))
        self._home.chmod(0o755)
        self._settings = NodeSettings(port=free_port(), heap="512m")
        self.url = f"http://127.0.0.1:{self._settings.port}"

    def __enter__(self) -> OwnNode:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.client = Elasticsearch(self.url, request_timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "client"):
            self.client.close()
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start it, with what was in it before."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(configuration, "render_settings", _with_our_own)
            node.up(self._settings, home=self._home)

    def kill(self) -> None:
        """``kill -9`` the launcher and the server, and wait until both are gone."""
        state = read_state(NodeHome(self._home).state)
        launcher = living_process(state) if state is not None else None
        if launcher is None:
            return
        family = [launcher, *launcher.children(recursive=True)]
        for member in family:
            member.kill()
        psutil.wait_procs(family, timeout=30)


_render_settings = configuration.render_settings


def _with_our_own(home: NodeHome, **more: Any) -> dict[str, Any]:
    return _render_settings(home, **more) | SETTINGS
