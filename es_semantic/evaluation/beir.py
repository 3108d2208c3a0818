"""Folders as BEIR has them: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/*.tsv``.

The layout is that of Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval
Models" (2021).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from es_semantic.errors import UsageError
from es_semantic.evaluation.judgements import Collected, Judgements, judgements, text_lines, usable_query, whole_number

DEFAULT_QRELS = "test"
FIELDS = ("title", "text")

SEED = 1
"""So that the same sample is taken every time."""

CorpusDocument = tuple[str, dict[str, str]]
"""Id, and ``title`` and ``text``."""


def read_beir(folder: Path, qrels: str = DEFAULT_QRELS) -> Judgements:
    """Read the queries and one file of judgements, ``qrels/test.tsv`` for instance.

    A judgement is a line of query id, document id and grade, separated by tabs; a header line is left out.

    Raises:
        UsageError: a file is missing or a line broken, with file and line; or no query has a relevant document.
    """
    _require_folder(folder)
    path = _qrels_file(folder, qrels)
    grades = _read_qrels(path)
    queries = {}
    for at, row in _rows(folder / "queries.jsonl"):
        query = _id(row, at)
        if query in queries:
            raise UsageError(f"{at}: query id {query!r} stands twice")
        # A query that nobody has judged is not searched for, so it may be anything.
        queries[query] = usable_query(_text(row, "text", at), at=at) if query in grades else ""
    return judgements(f"{folder.name}/{path.stem}", queries, grades)


def read_corpus(folder: Path) -> Iterator[CorpusDocument]:
    """Yield the documents of ``corpus.jsonl``.

    Raises:
        UsageError: the file is missing, or a line is broken or has an id for the second time.
    """
    _require_folder(folder)
    seen: set[str] = set()
    for at, row in _rows(folder / "corpus.jsonl"):
        document = _id(row, at)
        if document in seen:
            raise UsageError(f"{at}: document id {document!r} stands twice")
        seen.add(document)
        yield document, {field: _text(row, field, at) for field in FIELDS}


def sampled_corpus(folder: Path, wanted: set[str], sample: int | None) -> Callable[[], Iterator[CorpusDocument]]:
    """Return what yields the documents: the ``wanted`` ones, and others until there are ``sample``; all where that is
    None.

    Raises:
        UsageError: as :func:`read_corpus`.
    """
    if sample is None:
        return partial(read_corpus, folder)
    ids = [document for document, _ in read_corpus(folder)]
    chosen = wanted.intersection(ids)
    others = [document for document in ids if document not in chosen]
    free = min(len(others), max(0, sample - len(chosen)))
    chosen |= set(random.Random(SEED).sample(others, free))
    return lambda: ((document, source) for document, source in read_corpus(folder) if document in chosen)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}", hint="It holds corpus.jsonl, queries.jsonl and qrels/test.tsv.")


def _qrels_file(folder: Path, name: str) -> Path:
    path = folder / "qrels" / f"{name}.tsv"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in (folder / "qrels").glob("*.tsv"))) or "none"
        raise UsageError(f"no judgements {path}", hint=f"Choose with --qrels; there: {there}.")
    return path


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    collected = Collected()
    for number, line in text_lines(path):
        parts = [part.strip() for part in line.split("\t")]
        if not any(parts) or (number == 1 and whole_number(parts[-1]) is None):
            continue
        if len(parts) != 3:
            raise UsageError(
                f"{path}:{number}: {len(parts)} columns, not 3",
                hint="A line is query id, document id and grade, separated by tabs.",
            )
        collected.add(*parts, at=f"{path}:{number}")
    return collected.grades


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in text_lines(path):
        if not line.strip():
            continue
        at = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{at}: not JSON") from error
        if not isinstance(row, dict):
            raise UsageError(f"{at}: not a JSON object")
        yield at, row


def _id(row: dict[str, Any], at: str) -> str:
    value = row.get("_id")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise UsageError(f"{at}: no _id, which must be text or a whole number")
    return str(value)


def _text(row: dict[str, Any], field: str, at: str) -> str:
    value = row.get(field)
    if value is None and field != "text":
        return ""
    if not isinstance(value, str):
        raise UsageError(f"{at}: no text in {field!r}")
    return value
