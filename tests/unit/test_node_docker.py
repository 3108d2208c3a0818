"""The construction of Docker commands; no engine is needed, and none is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from es_semantic.cluster.node import docker
from es_semantic.config.settings import NodeSettings
from es_semantic.errors import NodeError


def fake_docker(folder: Path, script: str) -> str:
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "docker").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_commands_name_file_and_project() -> None:
    assert docker.compose_command(Path("/a/compose.yml"), "stop", "elasticsearch") == [
        *("docker", "compose", "-f", "/a/compose.yml", "-p", "es-semantic"),
        *("stop", "elasticsearch"),
    ]


@pytest.mark.parametrize(("heap", "memory"), [("1g", "2g"), ("512m", "1024m"), ("3G", "6G")])
def test_the_memory_limit_is_twice_the_heap(heap: str, memory: str) -> None:
    assert docker.compose_environment(NodeSettings(port=9201, heap=heap)) == {
        "ES_SEMANTIC_PORT": "9201",
        "ES_SEMANTIC_HEAP": heap,
        "ES_SEMANTIC_MEMORY": memory,
    }


@pytest.mark.parametrize(
    ("script", "available"),
    [
        ("exit 0", True),
        ('[ "$1" != info ]', False),
        ('[ "$1" != compose ]', False),
    ],
)
def test_an_engine_and_compose_are_both_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, available: bool
) -> None:
    monkeypatch.setenv("PATH", fake_docker(tmp_path, script))
    assert docker.is_available() is available


def test_no_docker_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not docker.is_available()
    assert not docker.is_running()


def test_a_failure_shows_the_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_docker(tmp_path, "echo 'port is already allocated' >&2; exit 1"))
    with pytest.raises(NodeError, match="port is already allocated"):
        docker.stop()
