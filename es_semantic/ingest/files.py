"""Find the files to ingest, and read them."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from es_semantic.errors import UsageError
from es_semantic.ingest.documents import Document, identity

TEXT = frozenset({".md", ".markdown", ".txt"})
"""Suffixes of files that are text as they are."""

CONVERTED = frozenset({".pdf", ".docx", ".html", ".htm"})
"""Suffixes of files that become Markdown first."""

KINDS = TEXT | CONVERTED

LARGEST = 100 * 1024 * 1024
"""Bytes of one file."""

HIDDEN, LINKS, NO_FILE = "hidden", "symbolic link", "neither file nor folder"


@dataclass(slots=True)
class Found:
    """What is at the given paths.

    ``files`` are those to read, in the order of their names. ``roots`` are the folders that were gone through: what
    came from a file below one of them, and is no more, shall go. ``skipped`` counts by reason, and ``closed`` are the
    folders that could not be read: of what is below them nothing is known.
    """

    files: list[Path] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    closed: dict[Path, str] = field(default_factory=dict)


def find_files(paths: Sequence[Path]) -> Found:
    """Return the files at these paths and, recursively, below them; no symbolic link below a path is followed.

    Raises:
        UsageError: nothing is at one of the paths.
    """
    found = Found()
    for path in paths:
        place = Path(os.path.realpath(path))
        if place.is_dir():
            found.roots.append(place)
            _walk(place, found)
        elif place.is_file():
            _take(place, found)
        else:
            raise UsageError(
                f"no file or folder {str(path)!r}",
                hint="What came from files that are gone is removed when the folder they were in is ingested again.",
            )
    found.files = list(dict.fromkeys(found.files))
    return found


def _walk(root: Path, found: Found) -> None:
    def closed(error: OSError) -> None:
        found.closed[Path(error.filename)] = f"the folder cannot be read: {error.strerror}"

    for folder, folders, names in os.walk(root, onerror=closed):
        here = Path(folder)
        for name in [*folders, *names]:
            if name.startswith("."):
                found.skipped[HIDDEN] += 1
            elif (here / name).is_symlink():
                found.skipped[LINKS] += 1
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and not (here / name).is_symlink():
                _take(here / name, found)


def _take(path: Path, found: Found) -> None:
    if path.suffix.lower() not in KINDS:
        found.skipped[f"unknown kind {path.suffix.lower() or 'without a suffix'}"] += 1
    elif not _is_regular(path):
        found.skipped[NO_FILE] += 1
    else:
        found.files.append(path)


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def source_of(path: Path) -> str:
    """Return a path as text; bytes in it that are no UTF-8 are spelled out."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def read_files(files: Sequence[Path], dataset: str) -> Iterator[Document]:
    """Yield the documents, of files that are still there; one that cannot be read says why."""
    for path in files:
        try:
            yield _document(path, dataset, *_content(path))
        except FileNotFoundError:
            continue


def _content(path: Path) -> tuple[bytes, str]:
    try:
        # The file may have become a link since it was found.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with open(number, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        return b"", f"the file cannot be read: {error.strerror}"
    return (data, "") if len(data) <= LARGEST else (b"", f"the file is larger than {LARGEST >> 20} MiB")


def _document(path: Path, dataset: str, data: bytes, broken: str) -> Document:
    source = source_of(path)
    return Document(
        id=identity(dataset, source),
        name=source.rsplit("/", 1)[-1],
        source=source,
        label=source,
        kind=path.suffix.lower(),
        data=data,
        broken=broken,
    )
