"""Read documents from a file that has one on each line, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from es_semantic.embedding.unicode import encodable
from es_semantic.errors import UsageError
from es_semantic.ingest.documents import Details, Document, Unreadable, details_of, id_of, text_of
from es_semantic.ingest.files import LARGEST, source_of

REQUIRED = ("id", "name", "text")
OPTIONAL = ("metadata", "keywords", "questions", "available")

KIND = ".md"
"""The texts are cut as Markdown."""

BOM = b"\xef\xbb\xbf"


def require_lines(path: Path) -> Path:
    """Return where the file is.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    try:
        with path.open("rb"):
            return path.resolve()
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def read_lines(path: Path) -> Iterator[Document]:
    """Yield the documents of a file in their order; a line that is none says why. Blank lines are left out."""
    place = source_of(path)
    with path.open("rb") as file:
        for number, line in _lines(file):
            if line is None or line.strip():
                yield _document(line, f"jsonl:{place}", f"{place}:{number}")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines with their numbers from 1 on; None for one that is longer than a file may be."""
    number = 0
    while line := file.readline(LARGEST + 1):
        number += 1
        whole = len(line) <= LARGEST
        yield number, line.removeprefix(BOM) if whole else None
        while not whole and line and not line.endswith(b"\n"):
            line = file.readline(LARGEST)


def _document(line: bytes | None, source: str, label: str) -> Document:
    try:
        if line is None:
            raise Unreadable(f"the line is longer than {LARGEST >> 20} MiB")
        return _parsed(_object(line), source, label)
    except Unreadable as error:
        return Document("", "", source, label, KIND, line or b"", broken=str(error))


def _parsed(value: Mapping[str, Any], source: str, label: str) -> Document:
    missing = [key for key in REQUIRED if value.get(key) is None]
    if missing:
        raise Unreadable(f"it has no {' and no '.join(f'`{key}`' for key in missing)}")
    if not value.keys() <= {*REQUIRED, *OPTIONAL}:
        known = ", ".join((*REQUIRED, *OPTIONAL))
        raise Unreadable(f"it has other keys than {known}; put what else there is into `metadata`")
    if not isinstance(value["text"], str) or not value["text"].strip():
        raise Unreadable("`text` must be text, and not blank")
    details: Details = details_of(*(value.get(key) for key in OPTIONAL))
    (text,) = encodable([value["text"]])
    return Document(id_of(value["id"]), text_of(value["name"], "`name`"), source, label, KIND, text.encode(), details)


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8 text") from None
    except RecursionError:
        raise Unreadable("it is nested too deep for Python's JSON parser") from None
    except ValueError as error:
        # The parser's own message names the position, and quotes nothing.
        raise Unreadable(f"it is not JSON: {error}") from None
    if not isinstance(value, Mapping):
        raise Unreadable("it is no JSON object")
    return value
