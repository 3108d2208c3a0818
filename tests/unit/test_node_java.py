from __future__ import annotations

from pathlib import Path

import pytest

from es_semantic.cluster.node.java import candidates, choose, find_java, java_versions, lacks, parse_release
from es_semantic.errors import NodeError

FULL = "java.base jdk.attach jdk.incubator.vector"


def make_java(home: Path, version: str, modules: str = FULL, *, script: str = "exit 1") -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").write_text(f"#!/bin/sh\n{script}\n")
    (home / "bin/java").chmod(0o755)
    if version:
        (home / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('JAVA_VERSION="25.0.3"', 25),
        ('JAVA_VERSION="21"', 21),
        ('JAVA_VERSION="1.8.0_402"', 8),
        ('JAVA_VERSION="22-ea"', 22),
        ('JAVA_VERSION=""', 0),
        ("", 0),
    ],
)
def test_release_file_tells_the_major_version(text: str, version: int) -> None:
    assert parse_release(text)[0] == version


def test_release_file_tells_the_modules() -> None:
    assert parse_release('A="b"\nMODULES="java.base jdk.attach"\n')[1] == {"java.base", "jdk.attach"}


def test_a_full_jdk_lacks_nothing(tmp_path: Path) -> None:
    assert lacks(make_java(tmp_path / "jdk", "21.0.1")) == ""


@pytest.mark.parametrize(
    ("version", "modules", "problem"),
    [
        ("17.0.15", FULL, "Java 17, too old"),
        ("21.0.1", "java.base jdk.attach", "lacks jdk.incubator.vector"),
        ("21.0.1", "java.base", "jdk.attach and jdk.incubator.vector"),
    ],
)
def test_what_a_jdk_lacks(tmp_path: Path, version: str, modules: str, problem: str) -> None:
    assert problem in lacks(make_java(tmp_path / "jdk", version, modules))


@pytest.mark.parametrize(
    ("elasticsearch", "java", "fits"),
    [
        ((8, 14), 17, True),
        ((8, 14), 16, False),
        ((8, 17), 23, True),
        ((8, 17), 24, False),
        ((8, 18), 24, True),
        ((8, 19), 17, True),
        ((9, 0), 17, False),
        ((9, 0), 21, True),
        ((9, 4), 25, True),
    ],
)
def test_the_java_that_an_elasticsearch_needs(elasticsearch: tuple[int, int], java: int, fits: bool) -> None:
    assert (java in java_versions(elasticsearch)) is fits


def test_a_java_may_be_too_new(tmp_path: Path) -> None:
    new, old = make_java(tmp_path / "new", "25.0.3"), make_java(tmp_path / "old", "17.0.15")
    versions = java_versions((8, 14))
    assert lacks(new, versions=versions) == "is Java 25, too new"
    assert choose([("a", new), ("b", old)], versions=versions) == old
    with pytest.raises(NodeError, match="needs a full JDK of version 17 to 23") as caught:
        find_java(str(new), tmp_path, versions=versions)
    assert "JDK 17 to 23" in caught.value.hint


def test_without_a_release_file_the_jvm_is_asked(tmp_path: Path) -> None:
    answers = 'case "$1" in -Xshow*) echo "    java.specification.version = 23" >&2;; *) echo java.base@23;; esac'
    home = make_java(tmp_path / "jdk", "", script=answers)
    assert lacks(home) == "lacks jdk.attach and jdk.incubator.vector (a JRE? a full JDK has them)"


def test_a_java_that_says_nothing_is_refused(tmp_path: Path) -> None:
    assert lacks(make_java(tmp_path / "jdk", "")) == "does not tell its version"


def test_a_java_that_cannot_be_executed_is_refused(tmp_path: Path) -> None:
    home = make_java(tmp_path / "jdk", "21.0.1")
    (home / "bin/java").chmod(0o644)
    assert lacks(home) == "cannot be executed"


def test_the_first_fitting_candidate_is_chosen(tmp_path: Path) -> None:
    old = make_java(tmp_path / "old", "17.0.1")
    first, second = (make_java(tmp_path / name, "21.0.1") for name in ("first", "second"))
    assert choose([("a", old), ("b", first), ("c", second)]) == first


def test_no_java_lists_each_one_tried(tmp_path: Path) -> None:
    old, jre = make_java(tmp_path / "old", "17.0.1"), make_java(tmp_path / "jre", "21.0.1", "java.base jdk.attach")
    with pytest.raises(NodeError) as caught:
        choose([("JAVA_HOME", old), ("again", old), ("installed", jre), ("gone", tmp_path / "gone")])
    lines = [line for line in caught.value.what.splitlines() if line.startswith("  ")]
    assert lines == [
        f"  {old} (JAVA_HOME) is Java 17, too old",
        f"  {jre} (installed) lacks jdk.incubator.vector (a JRE? a full JDK has them)",
        f"  {tmp_path / 'gone'} (gone) has no bin/java",
    ]
    assert "node.java_home" in caught.value.hint


def test_no_candidates_at_all() -> None:
    with pytest.raises(NodeError, match="none was found"):
        choose([])


def test_a_configured_java_home_is_not_silently_replaced(tmp_path: Path) -> None:
    old = make_java(tmp_path / "old", "17.0.1")
    with pytest.raises(NodeError, match=r"node\.java_home\) is Java 17, too old"):
        find_java(str(old), tmp_path)


def test_candidates_come_in_the_order_of_preference(tmp_path: Path) -> None:
    distribution = tmp_path / "dist"
    (distribution / "jdk").mkdir(parents=True)
    on_path = make_java(tmp_path / "path", "", script=f'echo "    java.home = {tmp_path}/real"')
    environ = {"JAVA_HOME": "/java", "ES_JAVA_HOME": "/es-java", "PATH": str(on_path / "bin")}
    assert list(candidates(distribution, environ))[:4] == [
        ("ES_JAVA_HOME", Path("/es-java")),
        ("the distribution's own", distribution / "jdk"),
        ("JAVA_HOME", Path("/java")),
        ("java on PATH", tmp_path / "real"),
    ]
