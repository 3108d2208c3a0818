"""Small judged collections on disk, as BEIR folders and CSV files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

LINES = (
    "apple pear plum grape melon red green blue black white run walk swim climb jump fast slow big small old new day "
    "night sun moon river hill forest road city house door table chair lamp book pen paper song dance"
)
WORDS = LINES.split()

DOCUMENTS = 60
QUERIES = 16
WORDS_A_DOCUMENT = 12
WORDS_A_QUERY = 3


def corpus() -> dict[str, dict[str, str]]:
    """Documents of random words, the same ones every time."""
    random = np.random.default_rng(7)
    words = {f"d{i}": list(random.choice(WORDS, size=WORDS_A_DOCUMENT)) for i in range(DOCUMENTS)}
    return {doc_id: {"title": " ".join(some[:3]), "text": " ".join(some[3:])} for doc_id, some in words.items()}


def queries() -> dict[str, str]:
    """Queries of three words."""
    random = np.random.default_rng(8)
    return {f"q{i}": " ".join(random.choice(WORDS, size=WORDS_A_QUERY, replace=False)) for i in range(QUERIES)}


def grades() -> dict[str, dict[str, int]]:
    """A document's grade is how many words of the query it has, less one: 0 for one word, 2 for all three."""
    found: dict[str, dict[str, int]] = {}
    for query, text in queries().items():
        wanted = set(text.split())
        for doc_id, document in corpus().items():
            common = len(wanted & set(" ".join(document.values()).split()))
            if common:
                found.setdefault(query, {})[doc_id] = common - 1
    return found


def beir_folder(
    folder: Path,
    *,
    documents: Mapping[str, Mapping[str, str]] | None = None,
    texts: Mapping[str, str] | None = None,
    judged: Mapping[str, Mapping[str, int]] | None = None,
) -> Path:
    """Write a folder and return it; by default the collection above."""
    (folder / "qrels").mkdir(parents=True)
    documents, texts = documents if documents is not None else corpus(), texts if texts is not None else queries()
    _write(folder / "corpus.jsonl", [{"_id": doc_id, **fields} for doc_id, fields in documents.items()])
    _write(folder / "queries.jsonl", [{"_id": query, "text": text} for query, text in texts.items()])
    rows = [
        f"{query}\t{doc_id}\t{grade}"
        for query, some in (judged if judged is not None else grades()).items()
        for doc_id, grade in some.items()
    ]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    return folder


def csv_file(path: Path) -> Path:
    """Write the collection's judgements as a CSV file and return it."""
    rows = [
        f"{queries()[query]},{doc_id},{grade}" for query, some in grades().items() for doc_id, grade in some.items()
    ]
    path.write_text("\n".join(["query,id,grade", *rows]) + "\n")
    return path


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
