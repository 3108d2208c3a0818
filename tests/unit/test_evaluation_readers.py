"""Reading judgements: what is kept, what is counted, and which line is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import UsageError
from es_semantic.evaluation.beir import read_beir, read_corpus, sampled_corpus
from es_semantic.evaluation.csv_judgements import read_csv, read_queries
from es_semantic.evaluation.judgements import whole_number

HEADER = "query-id\tcorpus-id\tscore\n"


def folder(
    path: Path,
    *,
    qrels: str | bytes = HEADER + "q1\td1\t1\n",
    queries: str | bytes = '{"_id": "q1", "text": "one"}\n',
    corpus: str | bytes = '{"_id": "d1", "title": "t", "text": "x", "metadata": {}}\n',
) -> Path:
    (path / "qrels").mkdir()
    for name, content in {"qrels/test.tsv": qrels, "queries.jsonl": queries, "corpus.jsonl": corpus}.items():
        (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def csv(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "judged.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_beir_folder(tmp_path: Path) -> None:
    queries = "".join(
        json.dumps(row) + "\n"
        for row in (
            {"_id": "q1", "text": "one"},
            {"_id": 2, "text": "two", "metadata": {}},
            {"_id": "q3", "text": "nobody judged this"},
            {"_id": "q4", "text": "nothing relevant"},
        )
    )
    qrels = HEADER + "q1\td1\t2\nq1\td2\t0\n2\td1\t1.0\nq4\td1\t0\nq5\td9\t1\n"
    read = read_beir(folder(tmp_path, queries=queries, qrels=qrels))
    assert read.queries == {"q1": "one", "2": "two"}
    assert read.grades == {"q1": {"d1": 2, "d2": 0}, "2": {"d1": 1}}
    assert read.documents == {"d1", "d2"}
    assert (read.left_out.unjudged, read.left_out.without_relevant, read.left_out.unknown) == (1, 1, ("q5",))
    assert read.name == f"{tmp_path.name}/test"


def test_files_of_another_system(tmp_path: Path) -> None:
    """A byte order mark, CRLF, blank lines and no header line."""
    path = folder(
        tmp_path,
        queries=b'\xef\xbb\xbf{"_id": "q1", "text": "na\xc3\xafve \\u2028 query"}\r\n\r\n',
        qrels=b"\xef\xbb\xbfq1\td1\t1\r\n\r\n",
        corpus=b'\xef\xbb\xbf{"_id": "d1", "text": "line separator \xe2\x80\xa8 inside"}\r\n',
    )
    read = read_beir(path)
    assert read.grades == {"q1": {"d1": 1}}
    assert read.queries["q1"].startswith("naïve")
    assert list(read_corpus(path)) == [("d1", {"title": "", "text": "line separator \u2028 inside"})]


def test_another_file_of_judgements(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "qrels" / "graded.tsv").write_text(HEADER + "q1\td1\t3\n")
    assert read_beir(path, "graded").grades == {"q1": {"d1": 3}}
    with pytest.raises(UsageError, match="no judgements") as caught:
        read_beir(path, "train")
    assert "graded, test" in caught.value.hint


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"qrels": HEADER + "q1\td1\n"}, "qrels/test.tsv:2: 2 columns, not 3"),
        ({"qrels": HEADER + "q1\td1\tmany\n"}, "qrels/test.tsv:2: the grade 'many' is not a whole number"),
        ({"qrels": HEADER + "q1\td1\t0.5\n"}, "test.tsv:2: the grade '0.5'"),
        ({"qrels": HEADER + "q1\t\t1\n"}, "test.tsv:2: a judgement needs a query and a document id"),
        ({"qrels": HEADER + "q1\td1\t1\nq1\td1\t2\n"}, "test.tsv:3: document 'd1' was judged 1 for this query before"),
        ({"qrels": HEADER}, "no query has a relevant document"),
        ({"qrels": HEADER + "q1\td1\t0\n"}, "no query has a relevant document"),
        ({"qrels": HEADER + "q9\td1\t1\n"}, "no query has a relevant document"),
        ({"queries": '{"_id": "q1", "text": "one"}\n{\n'}, "queries.jsonl:2: not JSON"),
        ({"queries": '["q1"]\n'}, "queries.jsonl:1: not a JSON object"),
        ({"queries": '{"text": "one"}\n'}, "queries.jsonl:1: no _id"),
        ({"queries": '{"_id": true, "text": "one"}\n'}, "queries.jsonl:1: no _id"),
        ({"queries": '{"_id": "q1"}\n'}, "queries.jsonl:1: no text in 'text'"),
        ({"queries": '{"_id": "q1", "text": " \\u0001"}\n'}, "queries.jsonl:1: the query is empty"),
        ({"queries": '{"_id": "q1", "text": "a"}\n' * 2}, "queries.jsonl:2: query id 'q1' stands twice"),
        ({"queries": b'{"_id": "q1", "text": "\xff"}\n'}, "queries.jsonl:1: not UTF-8"),
    ],
)
def test_broken_judgements(tmp_path: Path, parts: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_beir(folder(tmp_path, **parts))
    assert said in caught.value.what


@pytest.mark.parametrize(
    ("corpus", "said"),
    [
        ('{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}\n', "corpus.jsonl:2: document id 'd1' stands twice"),
        ('{"_id": "d1", "text": ["a"]}\n', "corpus.jsonl:1: no text in 'text'"),
        ('{"_id": "d1", "title": 1, "text": "a"}\n', "corpus.jsonl:1: no text in 'title'"),
        ('{"_id": "", "text": "a"}\n', "corpus.jsonl:1: no _id"),
        ("[" * 100_000, "corpus.jsonl:1: not JSON"),
    ],
)
def test_a_broken_corpus(tmp_path: Path, corpus: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        list(read_corpus(folder(tmp_path, corpus=corpus)))
    assert said in caught.value.what


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        read_beir(tmp_path / "nowhere")
    path = folder(tmp_path)
    (path / "corpus.jsonl").unlink()
    with pytest.raises(UsageError, match=r"corpus\.jsonl cannot be read: No such file"):
        list(read_corpus(path))


def test_an_unjudged_query_may_be_empty(tmp_path: Path) -> None:
    queries = '{"_id": "q0", "text": ""}\n{"_id": "q1", "text": "one"}\n'
    assert read_beir(folder(tmp_path, queries=queries)).queries == {"q1": "one"}


def test_a_sample_of_the_corpus_has_what_is_wanted(tmp_path: Path) -> None:
    corpus = "".join(json.dumps({"_id": f"d{i}", "text": "x"}) + "\n" for i in range(50))
    path = folder(tmp_path, corpus=corpus)
    documents = sampled_corpus(path, {"d3", "d40", "nowhere"}, 10)
    first, second = [[doc_id for doc_id, _ in documents()] for _ in range(2)]
    assert first == second
    assert len(first) == 10
    assert {"d3", "d40"} <= set(first)
    assert len(list(sampled_corpus(path, {"d3", "d40"}, 1)())) == 2
    assert len(list(sampled_corpus(path, set(), None)())) == 50


def test_a_csv_file(tmp_path: Path) -> None:
    read = read_csv(csv(tmp_path, "Query,note,ID,Grade\nred shoes,x,1,2\nred shoes,,2,0\n blue hat ,y,1,1\n"))
    assert read.queries == {"1": "red shoes", "2": "blue hat"}
    assert read.grades == {"1": {"1": 2, "2": 0}, "2": {"1": 1}}
    assert read.name == "judged.csv"


@pytest.mark.parametrize("delimiter", ["\t", ";", ","])
def test_other_delimiters_and_names(tmp_path: Path, delimiter: str) -> None:
    text = "\n".join(delimiter.join(row) for row in (["relevance", "question", "doc_id"], ["3", "why", "a"]))
    assert read_csv(csv(tmp_path, text)).grades == {"1": {"a": 3}}


def test_a_csv_file_of_a_spreadsheet(tmp_path: Path) -> None:
    """A byte order mark, CRLF, quotes, line break and delimiter inside a cell, Chinese, an empty row at the end."""
    read = read_csv(csv(tmp_path, '\ufeffquery;id;grade\r\n"a ""b""; c\r\nd";7;1\r\n战国无双;8;1\r\n;;\r\n'.encode()))
    assert list(read.queries.values()) == ['a "b"; c d', "战国无双"]
    assert read.grades == {"1": {"7": 1}, "2": {"8": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column 'query' in the header"),
        ("id,grade\n1,1\n", "judged.csv:1: no column 'query' in the header"),
        ("query,question,id,grade\na,b,1,1\n", "judged.csv:1: more than one column 'query'"),
        ("query,id,grade\na,1\n", "judged.csv:2: 2 columns, fewer than the header has"),
        ('query,id,grade\n"a\nb",1,1\nc,2,x\n', "judged.csv:4: the grade 'x'"),
        ("query,id,grade\n  ,1,1\n", "judged.csv:2: the query is empty"),
        ("query,id,grade\na,,1\n", "judged.csv:2: a judgement needs"),
        ('query,id,grade\n"a"b,1,1\n', "judged.csv:2: "),
        ('query,id,grade\n"a,1,1\n', "judged.csv:2: unexpected end of data"),
        ("query,id,grade\na,1,1\na,1,0\n", "judged.csv:3: document '1' was judged 1"),
        ("query,id,grade\n" + "a" * 10_001 + ",1,1\n", "judged.csv:2: the query has 10,001 characters"),
    ],
)
def test_a_broken_csv_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_csv(csv(tmp_path, text))
    assert said in caught.value.what


def test_a_file_of_queries(tmp_path: Path) -> None:
    assert read_queries(csv(tmp_path, "\ufeffone, two\r\n\r\nthree\r\n")) == {"1": "one, two", "3": "three"}
    with pytest.raises(UsageError, match="no query"):
        read_queries(csv(tmp_path, "\n\n"))


@given(st.integers(-(2**31) + 1, 2**31 - 1))
def test_whole_numbers(number: int) -> None:
    assert whole_number(str(number)) == number
    assert whole_number(f"{number}.0") == number
    assert whole_number(f"{number}.5") is None


@pytest.mark.parametrize("text", ["", "one", "nan", "inf", "1,5", "0x1", "1e30", "2147483648"])
def test_what_is_no_whole_number(text: str) -> None:
    assert whole_number(text) is None
