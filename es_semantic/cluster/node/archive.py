"""Unpack an Elasticsearch archive, complete or not at all."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from es_semantic.errors import NodeError

SUFFIXES = (".tar.gz", ".tgz", ".zip")
SERVER_JAR = "lib/elasticsearch-[0-9]*.jar"

Keep = Callable[[PurePosixPath], bool]


def install(archive: Path, target: Path, *, keep: Keep = lambda _path: True) -> None:
    """Unpack the Elasticsearch in an archive to ``target``, which appears only when it is complete.

    ``keep`` selects the members of a zip by their path inside it.

    Raises:
        NodeError: the archive is damaged, reaches outside its own folder, or holds no Elasticsearch.
    """
    for leftover in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _unpack(archive, staging, keep)
        root = _elasticsearch_in(staging, archive)
        _open_to_readers(root)
        root.rename(target)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
        raise NodeError(
            f"{archive} cannot be unpacked: {error}.",
            hint="If the archive is damaged, delete it and fetch it again.",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack(archive: Path, into: Path, keep: Keep) -> None:
    if archive.name.endswith(".zip"):
        _unpack_zip(archive, into, keep)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(into, filter="data")


def _unpack_zip(archive: Path, into: Path, keep: Keep) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            path = PurePosixPath(member.filename)
            if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
                raise ValueError(f"the member {member.filename!r} reaches outside the archive's folder")
            if not keep(path):
                continue
            target = into / path
            if member.is_dir():
                # Elasticsearch 8 does not start without its empty folder for plugins.
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            if member.external_attr >> 16 & 0o111:
                target.chmod(0o755)


def _elasticsearch_in(folder: Path, archive: Path) -> Path:
    for root in (folder, *folder.glob("*"), *folder.glob("*/*")):
        if any(root.glob(SERVER_JAR)):
            return root
    raise NodeError(f"{archive} holds no Elasticsearch (no {SERVER_JAR}).")


def _open_to_readers(root: Path) -> None:
    # Neither the archive's modes nor the umask may keep the user that Elasticsearch runs as from reading.
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o111 else 0o644)
