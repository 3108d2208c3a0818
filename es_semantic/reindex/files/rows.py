"""Read files row by row; a row that cannot be read is told of, and the next one follows."""

from __future__ import annotations

import base64
import csv
import datetime
import decimal
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from es_semantic.errors import MissingExtra, UsageError
from es_semantic.reindex.files.columns import SUFFIXES, Format

ENDS = 65_536
"""Bytes at the beginning and at the end by which a file is known again, beside its name, its size and its age."""

PARQUET_ROWS = 512


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its ``number`` from 0, the ``line`` for people, and its value, or the ``error`` in its place.

    A blank line is a row with neither.
    """

    number: int
    line: int
    value: Mapping[str, Any] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: ``history`` tells it from another one of the same name."""

    path: Path
    format: Format
    history: str

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Yield the rows from this number on.

        Raises:
            UsageError: the file as a whole cannot be read.
            MissingExtra: reading Parquet takes pyarrow.
        """
        for row in _READERS[self.format](self.path, start):
            if row.number >= start:
                yield row

    def count(self) -> int:
        """Return how many rows it has."""
        if self.format == "parquet":
            return int(_parquet(self.path).metadata.num_rows)
        if self.format == "jsonl":
            with self.path.open("rb") as file:
                return sum(1 for _ in file)
        return sum(1 for _ in self.rows())


def find_files(source: Path, wanted: Format | None) -> list[File]:
    """Return the file, or those of a folder that have a known suffix, in the order of their names.

    Raises:
        UsageError: there is none, or nothing tells how it is to be read.
    """
    paths = [source] if source.is_file() else sorted(path for path in source.glob("*") if path.suffix in SUFFIXES)
    if not paths:
        raise UsageError(
            f"{source} holds no file to read", hint=f"Known suffixes: {', '.join(SUFFIXES)}; or set `format` in --map."
        )
    return [File(path, _format_of(path, wanted), _history(path)) for path in paths]


def _format_of(path: Path, wanted: Format | None) -> Format:
    by_suffix = SUFFIXES.get(path.suffix)
    if wanted in (None, "qdrant", "weaviate", "pinecone", "chroma", "elasticdump"):
        # What an export holds is one thing, how it is stored another.
        wanted = by_suffix or ("jsonl" if wanted == "elasticdump" else None)
    if wanted is None:
        raise UsageError(f"nothing tells how {path} is to be read", hint="Set `format` in the file that --map names.")
    return wanted


def _history(path: Path) -> str:
    stat = path.stat()
    size = stat.st_size
    digest = hashlib.sha256(f"{path.name} {size} {stat.st_mtime_ns}".encode())
    with path.open("rb") as file:
        digest.update(file.read(ENDS))
        file.seek(max(0, size - ENDS))
        digest.update(file.read(ENDS))
    return digest.hexdigest()[:32]


def _jsonl(path: Path, start: int) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if number < start:
                continue
            value: Any = None
            error = ""
            if line.strip():
                value, error = _object(line)
            yield Row(number, number + 1, value, error)


def _object(line: bytes) -> tuple[Mapping[str, Any] | None, str]:
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        return None, "it is not UTF-8 text"
    except RecursionError:
        return None, "it is nested too deep for Python's JSON parser"
    except ValueError as error:
        # The parser's own message names the position, and quotes nothing.
        return None, f"it is not JSON: {error}"
    return (value, "") if isinstance(value, Mapping) else (None, "it is no JSON object")


def _csv(path: Path, _start: int, delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        header = next(reader, None)
        if not header or len(set(header)) != len(header) or "" in header:
            raise UsageError(f"{path}: the first line must name each column once")
        number = 0
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield Row(number, reader.line_num, None, f"it is not CSV: {error}")
            else:
                if cells is None:
                    return
                yield _cells(number, reader.line_num, header, cells)
            number += 1


def _cells(number: int, line: int, header: list[str], cells: list[str]) -> Row:
    if not cells:
        return Row(number, line, None)
    if len(cells) != len(header):
        return Row(number, line, None, f"it has {len(cells)} columns, the first line {len(header)}")
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return Row(number, line, None, "it is not UTF-8 text")
    # An empty cell is a missing value: no column but one of text could hold "".
    return Row(number, line, {name: cell for name, cell in zip(header, cells, strict=True) if cell})


def _parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet takes pyarrow", hint="pip install 'es-semantic[parquet]'") from error
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not a Parquet file: {error}") from error


def _parquet_rows(path: Path, start: int) -> Iterator[Row]:
    number = 0
    for batch in _parquet(path).iter_batches(batch_size=PARQUET_ROWS):
        if number + batch.num_rows <= start:
            number += batch.num_rows
            continue
        for value in batch.to_pylist():
            yield Row(number, number + 1, {k: _plain(v) for k, v in value.items() if v is not None})
            number += 1


def _plain(value: Any) -> Any:
    """Return a Parquet value as JSON has it: times in ISO 8601, bytes as base64, exact decimals as numbers."""
    match value:
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case decimal.Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Mapping():
            return {key: _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
    return value


def _json(path: Path, _start: int) -> Iterator[Row]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}", hint="One object a line? Then name it .jsonl.") from error
    for number, value in enumerate(_listed(content)):
        is_object = isinstance(value, Mapping)
        yield Row(number, number + 1, value if is_object else None, "" if is_object else "it is no JSON object")


def _listed(content: Any) -> Iterable[Any]:
    """Return the rows of a JSON document: a list, one somewhere in an answer, or the columns that Chroma gives."""
    if isinstance(content, list):
        return content
    if isinstance(content, Mapping):
        if isinstance(content.get("ids"), list):
            return _rows_of_columns(content)
        for key in ("result", "points", "objects", "vectors", "documents", "data"):
            if isinstance(content.get(key), (list, Mapping)):
                return _listed(content[key])
        if content and all(isinstance(value, Mapping) for value in content.values()):
            return list(content.values())
    return [content]


_SINGULAR = {"ids": "id", "embeddings": "embedding", "documents": "document", "metadatas": "metadata", "uris": "uri"}


def _rows_of_columns(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    names = {key: _SINGULAR[key] for key in _SINGULAR if isinstance(content.get(key), list)}
    for number in range(len(content["ids"])):
        yield {name: content[key][number] for key, name in names.items() if number < len(content[key])}


_READERS: dict[str, Any] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": lambda path, start: _csv(path, start, "\t"),
    "parquet": _parquet_rows,
    "json": _json,
}
