"""Find a Java that can run Elasticsearch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from es_semantic.cluster.node.account import Account, may
from es_semantic.errors import NodeError

NEEDED_MODULES = frozenset({"jdk.attach", "jdk.incubator.vector"})
_NO_LIMIT = 1_000
_ANSWER_SECONDS = 20

Candidate = tuple[str, Path]


def java_versions(elasticsearch: tuple[int, int]) -> range:
    """Return the Java versions on which an Elasticsearch of this (major, minor) version runs.

    9.0 and newer need 21, older ones 17. Before 8.18 it also needs Java's security manager, which Java 24 has no more.
    """
    return range(21 if elasticsearch >= (9, 0) else 17, 24 if elasticsearch < (8, 18) else _NO_LIMIT)


NEWEST_ELASTICSEARCH = java_versions((9, 0))


def parse_release(text: str) -> tuple[int, frozenset[str]]:
    """Return major version and modules from the text of a JDK's ``release`` file; 0 and empty where not stated."""
    values = dict(re.findall(r'^(\w+)="(.*)"\s*$', text, re.MULTILINE))
    return _major(values.get("JAVA_VERSION", "")), frozenset(values.get("MODULES", "").split())


def _major(version: str) -> int:
    match = re.match(r"(?:1\.)?(\d+)", version)
    return int(match.group(1)) if match else 0


def lacks(home: Path, account: Account | None = None, *, versions: range = NEWEST_ELASTICSEARCH) -> str:
    """Return what keeps this JDK from running Elasticsearch as that user; empty when nothing does.

    ``versions`` are the Java versions on which that Elasticsearch runs.
    """
    java = home / "bin" / "java"
    if not java.is_file():
        return "has no bin/java"
    if not may(account, "x", java):
        return f"cannot be executed by user {account.name}" if account else "cannot be executed"
    version, modules = _describe(home, java)
    if version not in versions:
        age = "old" if version < versions.start else "new"
        return f"is Java {version}, too {age}" if version else "does not tell its version"
    missing = sorted(NEEDED_MODULES - modules)
    return f"lacks {' and '.join(missing)} (a JRE? a full JDK has them)" if missing else ""


def _describe(home: Path, java: Path) -> tuple[int, frozenset[str]]:
    release = home / "release"
    version, modules = parse_release(release.read_text(errors="replace")) if release.is_file() else (0, frozenset())
    if not version:
        version = _major(_property(java, "java.specification.version"))
    if not modules:
        modules = frozenset(line.partition("@")[0] for line in _ask(java, "--list-modules").split())
    return version, modules


def _property(java: Path, name: str) -> str:
    answer = _ask(java, "-XshowSettings:properties", "-version")
    match = re.search(rf"^\s*{re.escape(name)} = (.+)$", answer, re.MULTILINE)
    return match.group(1).strip() if match else ""


def _ask(java: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            [str(java), *arguments], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout + answer.stderr


def candidates(distribution: Path, environ: Mapping[str, str] = os.environ) -> Iterator[Candidate]:
    """Yield where a Java may be, as (how it was found, its home), in the order of preference."""
    if environ.get("ES_JAVA_HOME"):
        yield "ES_JAVA_HOME", Path(environ["ES_JAVA_HOME"])
    for bundled in ("jdk", "jdk.app/Contents/Home"):
        if (distribution / bundled).is_dir():
            yield "the distribution's own", distribution / bundled
    if environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(environ["JAVA_HOME"])
    java = shutil.which("java", path=environ.get("PATH", ""))
    # The program on PATH may be a shim that lies outside its JDK; only the JVM itself knows its home.
    if java and (home := _property(Path(java), "java.home")):
        yield "java on PATH", Path(home)
    for folder, pattern in (
        (Path("/usr/lib/jvm"), "*"),
        (Path("/Library/Java/JavaVirtualMachines"), "*/Contents/Home"),
        (Path.home() / ".sdkman/candidates/java", "*"),
    ):
        yield from (("installed", path) for path in sorted(folder.glob(pattern)) if path.is_dir())


def choose(
    found: Iterable[Candidate], account: Account | None = None, *, versions: range = NEWEST_ELASTICSEARCH
) -> Path:
    """Return the home of the first Java that can run Elasticsearch as that user.

    Raises:
        NodeError: none can; the text lists each one tried and what it lacks.
    """
    tried: dict[Path, str] = {}
    for source, path in found:
        home = path.expanduser().resolve()
        if home in tried:
            continue
        problem = lacks(home, account, versions=versions)
        if not problem:
            return home
        tried[home] = f"  {home} ({source}) {problem}"
    listing = "\n".join(tried.values()) or "  none was found"
    wanted = _named(versions)
    raise NodeError(
        f"No Java here can run this Elasticsearch, which needs a full JDK of version {wanted}. Tried:\n{listing}",
        hint=f"Install a JDK {wanted}, or set node.java_home to one.",
    )


def _named(versions: range) -> str:
    oldest, newest = versions.start, versions.stop - 1
    return f"{oldest} to {newest}" if versions.stop < _NO_LIMIT else f"{oldest} or newer"


def find_java(
    java_home: str | None,
    distribution: Path,
    account: Account | None = None,
    *,
    versions: range = NEWEST_ELASTICSEARCH,
) -> Path:
    """Return the home of the JDK to run Elasticsearch with; ``java_home``, when set, is the only candidate.

    ``versions`` are those of :func:`java_versions`, by default for the newest Elasticsearch.

    Raises:
        NodeError: there is no fitting one.
    """
    if java_home is not None:
        return choose([("node.java_home", Path(java_home))], account, versions=versions)
    return choose(candidates(distribution), account, versions=versions)
