from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from es_semantic.cluster.node.archive import install
from es_semantic.cluster.node.maven import is_elasticsearch
from es_semantic.errors import NodeError

GOOD = {"es-9.4.3/lib/elasticsearch-9.4.3.jar": b"jar", "es-9.4.3/config/jvm.options": b"options"}


def make_tar(path: Path, members: dict[str, bytes], *, link: tuple[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o600
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)
    return path


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def nothing_left(folder: Path, archive: Path) -> bool:
    return [path for path in folder.iterdir() if path != archive] == []


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_the_folder_with_elasticsearch_becomes_the_target(tmp_path: Path, suffix: str) -> None:
    make = make_zip if suffix == ".zip" else make_tar
    archive = make(tmp_path / f"a{suffix}", GOOD)
    install(archive, tmp_path / "target")
    assert (tmp_path / "target/lib/elasticsearch-9.4.3.jar").read_bytes() == b"jar"
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name, "target"]


def test_every_user_may_read_what_is_unpacked(tmp_path: Path) -> None:
    install(make_tar(tmp_path / "a.tar.gz", GOOD), tmp_path / "target")
    assert (tmp_path / "target/config/jvm.options").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "target/config").stat().st_mode & 0o777 == 0o755


def test_only_elasticsearch_is_taken_from_the_maven_artifact(tmp_path: Path) -> None:
    members = {f"sonar-1/elasticsearch/{name.partition('/')[2]}": content for name, content in GOOD.items()}
    archive = make_zip(tmp_path / "a.zip", {**members, "sonar-1/web/index.js": b"", "sonar-1/elasticsearch.txt": b""})
    install(archive, tmp_path / "target", keep=is_elasticsearch)
    names = sorted(path.relative_to(tmp_path / "target").as_posix() for path in (tmp_path / "target").rglob("*.*"))
    assert names == ["config/jvm.options", "lib/elasticsearch-9.4.3.jar"]


def test_an_empty_folder_of_a_zip_is_kept(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {**GOOD, "es-9.4.3/plugins/": b"", "es-9.4.3/other/": b""})
    install(archive, tmp_path / "target", keep=lambda path: path.name != "other")
    assert [(tmp_path / "target" / name).is_dir() for name in ("plugins", "other")] == [True, False]


@pytest.mark.parametrize("name", ["../evil", "es-9.4.3/../../evil"])
def test_a_tar_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = make_tar(inner / "a.tar.gz", {**GOOD, name: b"evil"})
    with pytest.raises(NodeError, match="cannot be unpacked"):
        install(archive, inner / "target")
    assert nothing_left(inner, archive)
    assert not (tmp_path / "evil").exists()


def test_a_tar_with_a_link_to_the_outside_is_refused(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", GOOD, link=("es-9.4.3/link", "/etc/passwd"))
    with pytest.raises(NodeError, match="cannot be unpacked"):
        install(archive, tmp_path / "target")
    assert nothing_left(tmp_path, archive)


@pytest.mark.parametrize("name", ["../evil", "es-9.4.3/../../evil", "/evil-at-the-root", "..\\evil"])
def test_a_zip_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {**GOOD, name: b"evil"})
    with pytest.raises(NodeError, match="reaches outside"):
        install(archive, tmp_path / "target")
    assert nothing_left(tmp_path, archive)


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
@pytest.mark.parametrize("damage", ["truncated", "not an archive"])
def test_a_damaged_archive_leaves_nothing(tmp_path: Path, suffix: str, damage: str) -> None:
    content = {**GOOD, "es-9.4.3/big": bytes(range(256)) * 400}
    archive = (make_zip if suffix == ".zip" else make_tar)(tmp_path / f"a{suffix}", content)
    archive.write_bytes(archive.read_bytes()[:-200] if damage == "truncated" else b"<html>Not Found</html>")
    with pytest.raises(NodeError, match="cannot be unpacked"):
        install(archive, tmp_path / "target")
    assert nothing_left(tmp_path, archive)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", {"kibana/lib/kibana.jar": b""})
    with pytest.raises(NodeError, match="holds no Elasticsearch"):
        install(archive, tmp_path / "target")
    assert nothing_left(tmp_path, archive)


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".target-killed").mkdir()
    archive = make_tar(tmp_path / "a.tar.gz", GOOD)
    install(archive, tmp_path / "target")
    assert not (tmp_path / ".target-killed").exists()
