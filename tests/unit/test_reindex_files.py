"""Rows of files as documents: which column is what, which rows are broken, and where reading goes on."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.errors import UsageError
from es_semantic.reindex.files.columns import BadRow, Columns, document_of, id_of, read_columns, vector_of
from es_semantic.reindex.files.rows import File, find_files
from es_semantic.reindex.files.source import RowReader, open_files, shard_of
from es_semantic.reindex.lanes import Rate
from es_semantic.sync.documents import Verdict
from es_semantic.sync.intervals import Intervals
from tests.schema_targets import binding


def one(path: Path, content: bytes | str) -> File:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (file,) = find_files(path, None)
    return file


def test_json_lines(tmp_path: Path) -> None:
    file = one(tmp_path / "a.jsonl", b'{"a": 1}\n\n[1]\n{"a": \n\xff{}\n{"a": "\\ud800"}\n{"a": 2}')
    rows = list(file.rows())
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.value for row in rows] == [{"a": 1}, None, None, None, None, {"a": "\ud800"}, {"a": 2}]
    assert [row.error[:18] for row in rows] == [
        "",
        "",
        "it is no JSON obje",
        "it is not JSON: Ex",
        "it is not UTF-8 te",
        "",
        "",
    ]
    assert list(file.rows(5)) == rows[5:]
    assert file.count() == 7


def test_csv(tmp_path: Path) -> None:
    content = '\ufeffid,text\n1,"two\nlines, and a ""quote"""\n2\n\n3,,\n4,\n5,\u00e9\n'.encode() + b"6,\xff\n"
    file = one(tmp_path / "a.csv", content)
    rows = list(file.rows())
    assert rows[0].value == {"id": "1", "text": 'two\nlines, and a "quote"'}
    assert [row.line for row in rows] == [3, 4, 5, 6, 7, 8, 9]
    assert [row.error for row in rows if row.error] == [
        "it has 1 columns, the first line 2",
        "it has 3 columns, the first line 2",
        "it is not UTF-8 text",
    ]
    assert [row.value for row in rows[4:6]] == [{"id": "4"}, {"id": "5", "text": "\u00e9"}]
    assert file.count() == 7
    assert next(one(tmp_path / "b.tsv", "a\tb\n1\t2\n").rows()).value == {"a": "1", "b": "2"}
    for header in ("", "a,a\n", "a,,b\n"):
        with pytest.raises(UsageError, match="name each column once"):
            list(one(tmp_path / "c.csv", header).rows())


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = {
        "n": [1, None],
        "at": [datetime.datetime(2026, 11, 22, 5, 30), None],
        "exact": [decimal.Decimal("1.50"), decimal.Decimal("2.00")],
        "raw": [b"\x00\xff", None],
        "vector": [[0.5, 0.25], None],
        "inner": [{"a": datetime.date(2026, 1, 2)}, None],
    }
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    (file,) = find_files(path, None)
    first, second = file.rows()
    assert first.value == {
        "n": 1,
        "at": "2026-11-22T05:30:00",
        "exact": 1.5,
        "raw": "AP8=",
        "vector": [0.5, 0.25],
        "inner": {"a": "2026-01-02"},
    }
    assert second.value == {"exact": 2}
    assert file.count() == 2
    assert list(file.rows(1)) == [second]
    with pytest.raises(UsageError, match="is not a Parquet file"):
        list(one(tmp_path / "b.parquet", "PAR1 no").rows())


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        ({"result": {"points": [{"id": 1, "payload": {}}]}}, [{"id": 1, "payload": {}}]),
        ({"x": {"id": "x"}, "y": {"id": "y"}}, [{"id": "x"}, {"id": "y"}]),
        (
            {"ids": ["x", "y"], "documents": ["red", None], "metadatas": None, "embeddings": [[1], [2]]},
            [{"id": "x", "document": "red", "embedding": [1]}, {"id": "y", "document": None, "embedding": [2]}],
        ),
        ([1], [None]),
    ],
)
def test_json_documents(tmp_path: Path, content: Any, rows: Any) -> None:
    assert [row.value for row in one(tmp_path / "a.json", json.dumps(content)).rows()] == rows


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no file to read"):
        find_files(tmp_path, None)
    with pytest.raises(UsageError, match="nothing tells how"):
        one(tmp_path / "a.dat", "x")
    with pytest.raises(UsageError, match="is not JSON"):
        list(one(tmp_path / "a.json", "{").rows())
    (tmp_path / "b.jsonl").write_text("{}")
    assert [file.path.name for file in find_files(tmp_path, None)] == ["a.json", "b.jsonl"]
    before = find_files(tmp_path / "b.jsonl", None)[0].history
    (tmp_path / "b.jsonl").write_text("{}\n{}")
    assert find_files(tmp_path / "b.jsonl", None)[0].history != before


def test_columns() -> None:
    payload = {"text": "red", "deep": {"er": 1}}
    row: dict[str, Any] = {"_id": "x", "n": 7, "payload": payload, "a.b": 5, "v": [1.0, 0.0]}
    assert document_of(row, Columns(vector="v")) == {"n": 7, "payload": payload, "a.b": 5}
    assert document_of(row, Columns(document="payload", fields={"number": "n"})) == {**payload, "number": 7}
    named = Columns(only=True, fields={"a": "payload.deep.er", "b": "a.b", "c": "missing"})
    assert document_of(row, named) == {"a": 1, "b": 5}
    assert document_of(row, Columns(document="nothing")) == {}
    with pytest.raises(BadRow, match="holds no object"):
        document_of(row, Columns(document="n"))
    assert [id_of(row, Columns(id=path), "else") for path in ("_id", "n", None)] == ["x", "7", "else"]
    for path in ("payload", "missing"):
        with pytest.raises(BadRow, match="holds no id"):
            id_of(row, Columns(id=path), "else")
    with pytest.raises(BadRow, match="longer than 512 bytes"):
        id_of({"i": "\u00e9" * 300}, Columns(id="i"), "else")
    vector = vector_of(row, Columns(vector="v"), 2)
    assert vector is not None
    assert vector.tolist() == [1.0, 0.0]
    assert vector_of(row, Columns(), 2) is vector_of(row, Columns(vector="missing"), 2) is None
    for bad in ([1.0], "ab", [1.0, None], [True, False], [0, 0], [float("nan"), 1], 7):
        with pytest.raises(BadRow, match="vector"):
            vector_of({"v": bad}, Columns(vector="v"), 2)


def test_columns_as_they_are_written() -> None:
    assert read_columns(None, "map.yml") == Columns()
    assert read_columns({"format": "qdrant"}, "map.yml").document == "payload"
    assert read_columns({"format": "qdrant", "document": "other", "vector": None}, "map.yml").vector is None
    for content, said in (({"idd": 1}, "idd"), ({"id": ""}, "id"), ([1], "map.yml"), ({"format": "xls"}, "format")):
        with pytest.raises(UsageError, match=said):
            read_columns(content, "map.yml")


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.text(max_size=5), min_size=1), max_size=40),
    st.lists(st.tuples(st.integers(0, 45), st.integers(0, 5)), max_size=4),
)
@settings(max_examples=50)
def test_reading_goes_on_with_whatever_is_not_done(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], done: list[tuple[int, int]]
) -> None:
    file = one(tmp_path_factory.mktemp("rows") / "a.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    shard = shard_of(0, file, len(rows))
    known = Intervals((first, first + length) for first, length in done)
    unread = {shard: list(known.gaps(-1, shard.global_checkpoint))}
    feed = open_files([file], RowReader(Columns(), binding("a"), "semantic", True), unread, Rate(None))
    seen, covered = [], Intervals()
    while (page := feed._page()) is not None:
        seen += page.documents
        for first, last in page.covered:
            assert all(number not in covered for number in range(first, last + 1))
            covered.add(first, last)
    wanted = [number for number in range(len(rows)) if number not in known]
    assert [document.id for document in seen] == [f"a-{number}" for number in wanted]
    assert [json.loads(document.body) for document in seen] == [rows[number] for number in wanted]
    assert [number for number in range(len(rows)) if number in covered] == wanted


def test_vectors_that_come_along_are_kept(tmp_path: Path) -> None:
    bound = binding("title")
    vector = np.ones(bound.fingerprint.dims).tolist()
    lines = [
        {"title": "red", "v": vector},
        {"title": "", "v": vector},
        {"title": "red"},
        {"title": "red", "v": [1]},
        {"title": "red", "semantic": "whatever", "v": None},
    ]
    file = one(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
    reader = RowReader(Columns(vector="v"), bound, "semantic", True)
    documents = [reader.read(file, row) for row in file.rows()]
    assert [document.verdict for document in documents if document] == [
        Verdict.TRUE,
        Verdict.EMPTY,
        Verdict.STALE,
        Verdict.FOREIGN,
        Verdict.STALE,
    ]
    bad = documents[3]
    assert bad is not None
    assert (bad.id, bad.reason) == (
        "a.jsonl:4",
        f"line 4 of a.jsonl: column 'v' holds no vector of {len(vector)} numbers",
    )


def test_a_huge_cell_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], ["x" * 300_000]])
    (row,) = find_files(path, None)[0].rows()
    assert row.value is not None
    assert len(row.value["text"]) == 300_000
