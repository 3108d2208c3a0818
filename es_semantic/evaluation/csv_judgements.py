"""Judgements as people keep them in a spreadsheet: one row is a query, a document id and a grade."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from es_semantic.errors import UsageError
from es_semantic.evaluation.judgements import Collected, Judgements, judgements, text_lines, usable_query

COLUMNS = {
    "query": ("query", "query_text", "question"),
    "id": ("id", "_id", "doc_id", "document", "document_id", "corpus-id"),
    "grade": ("grade", "score", "relevance", "rating"),
}
"""What the three columns may be called, in any order and case; others are not looked at."""

DELIMITERS = "\t;,"


def read_csv(path: Path) -> Judgements:
    """Read judgements with a header row; the delimiter is a tab, a semicolon or a comma, as the header has it.

    A query is known by its text, and its id is the number of its first row among the queries, from 1.

    Raises:
        UsageError: the file cannot be read, a column is missing or a row is broken, with file and line; or no query
            has a relevant document.
    """
    rows = _rows(path)
    header, at = next(rows, ([], str(path)))
    columns = [_column(header, kind, at) for kind in COLUMNS]
    ids: dict[str, str] = {}
    collected = Collected()
    for row, at in rows:
        if len(row) <= max(columns):
            raise UsageError(f"{at}: {len(row)} columns, fewer than the header has")
        query, document, grade = (row[column].strip() for column in columns)
        text = usable_query(query, at=at)
        collected.add(ids.setdefault(text, str(len(ids) + 1)), document, grade, at=at)
    return judgements(path.name, {number: text for text, number in ids.items()}, collected.grades)


def read_queries(path: Path) -> dict[str, str]:
    """Read a plain file of queries, one a line; the id is the line's number.

    Raises:
        UsageError: it cannot be read, a query is too long, or there is none.
    """
    queries = {
        str(number): usable_query(line, at=f"{path}:{number}") for number, line in text_lines(path) if line.strip()
    }
    if not queries:
        raise UsageError(f"{path}: no query", hint="It holds one query a line.")
    return queries


def _column(header: list[str], kind: str, at: str) -> int:
    found = [i for i, name in enumerate(header) if name.strip().lower() in COLUMNS[kind]]
    if len(found) != 1:
        raise UsageError(
            f"{at}: {'no' if not found else 'more than one'} column {kind!r} in the header",
            hint="The first row must name the columns: query,id,grade (query is the text that people type).",
        )
    return found[0]


def _rows(path: Path) -> Iterator[tuple[list[str], str]]:
    """Yield the rows that hold anything, each with its place: the line that it begins in."""
    lines = [f"{line}\n" for _, line in text_lines(path)]
    header = next((line for line in lines if line.strip()), "")
    delimiter = next((each for each in DELIMITERS if each in header), ",")
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=delimiter, strict=True)
    while True:
        at = f"{path}:{reader.line_num + 1}"
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UsageError(f"{at}: {error}") from error
        if any(cell.strip() for cell in row):
            yield row, at
