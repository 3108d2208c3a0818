"""Which files are taken, and how those and lines are read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from es_semantic.errors import UsageError
from es_semantic.ingest import files, lines
from es_semantic.ingest.files import find_files, read_files, source_of
from es_semantic.ingest.lines import read_lines, require_lines


def written(path: Path, content: bytes = b"text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(root: Path, *paths: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_files(paths or (root,)).files]


def test_a_folder_is_gone_through(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("b.md", "a.TXT", "sub/deep/c.pdf", "sub/d.docx", "sub/e.htm", "sub/f.html", "g.markdown"):
        written(root / name)
    for name in (".git/a.md", ".a.md", "sub/.b/c.md", "x.exe", "sub/none", "y.exe"):
        written(root / name)
    outside = written(tmp_path / "outside.md")
    (root / "out.md").symlink_to(outside)
    (root / "in.md").symlink_to(root / "b.md")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.md")
    found = find_files([root])
    assert names(root) == ["a.TXT", "b.md", "g.markdown", "sub/d.docx", "sub/e.htm", "sub/f.html", "sub/deep/c.pdf"]
    assert found.roots == [root]
    assert dict(found.skipped) == {
        "hidden": 3,
        "symbolic link": 3,
        "unknown kind .exe": 2,
        "unknown kind without a suffix": 1,
        "neither file nor folder": 1,
    }
    assert names(root, root / "sub", root / "sub/d.docx", root / "b.md", root / "x.exe", root / ".a.md") == [
        "sub/d.docx",
        "sub/e.htm",
        "sub/f.html",
        "sub/deep/c.pdf",
        "b.md",
        ".a.md",
    ]
    assert find_files([root / "in.md"]).files == [root / "b.md"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("missing.md", "loop", "pipe"):
        if name == "pipe":
            os.mkfifo(tmp_path / name)
        with pytest.raises(UsageError, match=f"no file or folder '.*{name}'"):
            find_files([tmp_path / name])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_told(tmp_path: Path) -> None:
    closed = written(tmp_path / "closed/a.md").parent
    closed.chmod(0)
    assert find_files([tmp_path]).closed == {closed: "the folder cannot be read: Permission denied"}
    closed.chmod(0o700)


def test_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [written(tmp_path / name, b"x" * size) for name, size in (("a.md", 3), ("b.TXT", 4), ("c.md", 5))]
    monkeypatch.setattr(files, "LARGEST", 4)
    gone, link = tmp_path / "gone.md", tmp_path / "link.md"
    link.symlink_to(paths[0])
    found = list(read_files([*paths, gone, link], "d"))
    assert [(each.name, each.kind, each.data) for each in found[:2]] == [
        ("a.md", ".md", b"xxx"),
        ("b.TXT", ".txt", b"xxxx"),
    ]
    assert [each.broken[:20] for each in found] == ["", "", "the file is larger t", "the file cannot be r"]
    assert found[0].source == found[0].label == str(paths[0])
    assert len({each.id for each in found}) == 4
    assert next(read_files(paths, "e")).id != found[0].id


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md"))
    assert source_of(path) == f"{tmp_path}/\\xff.md"


def test_lines(tmp_path: Path) -> None:
    full = {"id": 7, "name": "n", "text": "t", "metadata": {"a": [1]}, "keywords": ["k"], "questions": "q"}
    content = [
        b"\xef\xbb\xbf" + json.dumps({**full, "available": False}).encode(),
        b"",
        b'{"id": "8", "name": "m", "text": "\\ud800x", "metadata": null}',
        b"{",
        b"[]",
        b"\xff",
        b'{"id": "9", "text": "t"}',
        b'{"id": "9", "name": "n", "text": " "}',
        b'{"id": "9", "name": "n", "text": 1}',
        b'{"id": "9", "name": "n", "text": "t", "keyword": 1}',
        b'{"id": [], "name": "n", "text": "t"}',
        b'{"id": "9", "name": "", "text": "t"}',
        b'{"id": "9", "name": "n", "text": "t", "metadata": {"a": NaN}}',
        b'{"id": ' + b"1" * 5000 + b"}",
        b'{"id": "9", "name": "n", "text": "t", "metadata": ' + b"[" * 100_000 + b"}",
        b'{"id": "10", "name": "n", "text": "the last has no end"}',
    ]
    path = written(tmp_path / "a.jsonl", b"\n".join(content))
    found = list(read_lines(path))
    assert [each.label.removeprefix(f"{path}:") for each in found] == ["1", *(str(n) for n in range(3, 17))]
    assert {each.source for each in found} == {f"jsonl:{path}"}
    first, second, *broken, last = found
    assert (first.id, first.name, first.data, first.details.available) == ("7", "n", b"t", False)
    assert (first.details.metadata, first.details.keywords, first.details.questions) == ({"a": [1]}, ("k",), ("q",))
    assert (second.id, second.data, second.details.metadata, second.broken) == ("8", b"?x", {}, "")
    assert (last.id, last.broken) == ("10", "")
    said = [
        "it is not JSON: Expecting property name",
        "it is no JSON object",
        "it is not UTF-8 text",
        "it has no `name`",
        "`text` must be text, and not blank",
        "`text` must be text, and not blank",
        "it has other keys than id, name, text, metadata",
        "the id must be text",
        "`name` must have 1 to 256",
        "a value of `metadata` must be",
        "it is not JSON: Exceeds the limit",
        "it is nested too deep",
    ]
    assert len(broken) == len(said)
    for document, words in zip(broken, said, strict=True):
        assert document.broken.startswith(words), document.broken
        assert document.id == ""


def test_a_line_that_is_too_long_is_told_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LARGEST", 60)
    good = b'{"id": "1", "name": "n", "text": "t"}\n'
    path = written(tmp_path / "a.jsonl", good + b"x" * 60 + b"\n" + b"y" * 200 + b"\n" + good + b"z" * 130)
    found = list(read_lines(path))
    assert [each.label.rsplit(":", 1)[1] for each in found] == ["1", "2", "3", "4", "5"]
    assert [bool(each.broken) for each in found] == [False, True, True, False, True]


def test_the_file_of_lines_must_be_there(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            require_lines(path)
