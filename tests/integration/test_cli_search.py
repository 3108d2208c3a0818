"""Searching from the command line: JSON for scripts, tables for people, and what is missing said on stderr."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex

__all__ = ["cli"]

TEXT = {"type": "text"}
PROPERTIES = {"title": TEXT, "body": TEXT, "kind": {"type": "keyword"}}
DOCUMENTS = {
    "1": {"title": "The cat sat on the mat", "body": "A cat is a small feline animal. It purrs.", "kind": "animal"},
    "2": {"title": "Dogs bark at night", "body": "A dog is loud. Neighbours know.", "kind": "animal"},
    "3": {"title": "How to cook rice", "body": "Wash it. Boil it in water.", "kind": "food"},
    "4": {"title": "", "body": "", "kind": "nothing"},
}


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    """Attached under two names, of which one is embedded."""
    name = make_index(PROPERTIES, documents=DOCUMENTS)
    es_semantic.attach(client, name, ["title", "body"])
    es_semantic.attach(client, name, "title", name="titles")
    es_semantic.sync(client, name)
    return name


def test_every_option_of_search(cli: Cli, index: str) -> None:
    exact = cli("search", index, "a feline animal", "--mode", "exact", "--json").json
    assert (exact["mode"], [list(hit["legs"]) for hit in exact["hits"]]) == ("exact", [["exact"]] * 3)

    pages = [
        cli("search", index, "animal", "--size", "1", "--from", str(at), "--window", "3", "--json").json["hits"]
        for at in range(3)
    ]
    assert sorted(hit["id"] for (hit,) in pages) == ["1", "2", "3"]

    found = cli("search", index, "feline", "--passages", "1", "--highlight", "--size", "1", "--json").json["hits"][0]
    assert found["passages"] == [
        {
            "text": "A cat is a small feline animal. It purrs.",
            "start": 23,
            "end": 64,
            "score": None,
            "field": "semantic",
        }
    ]
    assert "<em>feline</em>" in found["highlights"]["body"][0]

    assert cli("search", index, "cat", "--deadline", "20", "--allow-degraded", "--json").json["degraded"] == []
    beyond = cli("search", index, "cat", "--from", "9", "--window", "5")
    assert (beyond.code, beyond.out) == (2, "")


def test_a_table_has_a_column_for_each_leg(cli: Cli, client: Elasticsearch, index: str) -> None:
    es_semantic.sync(client, index, name="titles")
    both = cli("search", index, "a feline", "--name", "semantic", "--name", "titles").out
    assert all(leg in both for leg in ("bm25", "knn:semantic", "knn:titles"))
    words = cli("search", index, "feline", "--mode", "bm25").out
    assert "bm25" in words
    assert "knn" not in words
    assert "It purrs." in cli("search", index, "feline", "--passages", "2").out
    assert "<em>feline</em>" in cli("search", index, "feline", "--highlight").out
    second = cli("search", index, "animal", "--from", "1", "--size", "1").out
    assert "│ 2 │" in second


def test_several_indices_in_one_table(cli: Cli, client: Elasticsearch, make_index: MakeIndex, index: str) -> None:
    other = make_index({"name": TEXT}, documents={"9": {"name": "felines of the world"}})
    es_semantic.attach(client, other, "name")
    es_semantic.sync(client, other)
    out = cli("search", f"{index},{other}", "felines").out
    assert "felines of the world" in out
    assert "The cat sat on the mat" in out


def test_what_is_missing_is_said(cli: Cli, index: str) -> None:
    never = cli("search", index, "cat", "--name", "titles", "--json")
    assert f"es-semantic sync {index}" in never.err
    Path("es-semantic.yml").write_text(
        "rerankers:\n  gone:\n    provider: tei\n    url: http://127.0.0.1:9\n    timeout: 1\n    max_retries: 0\n"
    )
    failed = cli("search", index, "cat", "--rerank", "gone")
    assert (failed.code, failed.out) == (1, "")
    degraded = cli("search", index, "cat", "--rerank", "gone", "--allow-degraded", "--json")
    assert degraded.code == 0
    assert degraded.json["hits"][0]["id"] == "1"
    assert len(degraded.json["degraded"]) == 1
    assert "Without text_similarity_reranker, which failed:" in degraded.err.replace("\n", " ")


def test_more_like(cli: Cli, index: str) -> None:
    found = cli("more-like", index, "1", "--json").json
    assert [hit["id"] for hit in found["hits"]] == ["2", "3"]
    assert cli("more-like", index, "1", "--filter", "kind=food", "--mode", "exact", "--json").json["mode"] == "exact"
    table = cli("more-like", index, "1", "--size", "1")
    assert "Dogs bark at night" in table.out
    assert "Loading the model" not in table.err
    missing = cli("more-like", index, "77", "--json")
    assert (missing.code, missing.json["error"]["type"]) == (2, "InvalidQuery")
    assert "is empty" in cli("more-like", index, "4").err
    assert "sync" in cli("more-like", index, "1", "--name", "titles").err


def test_context(cli: Cli, index: str) -> None:
    found = cli("context", index, "feline", "--max-tokens", "40", "--title", "title", "--json").json
    assert found["tokens"] <= 40
    first = found["citations"][0]
    assert (first["number"], first["index"], first["id"]) == (1, index, "1")
    text = f"{DOCUMENTS['1']['title']}\n{DOCUMENTS['1']['body']}"
    assert text[first["start"] : first["end"]] == first["text"]
    assert found["text"].startswith("[1] The cat sat on the mat\n")

    for_people = cli("context", index, "feline", "--max-tokens", "40", "--title", "title")
    assert for_people.out == found["text"] + "\n"
    assert f"{found['tokens']} of 40 tokens" in for_people.err
    assert cli("context", index, "feline", "--max-tokens", "0").code == 2
    assert cli("context", index, "feline").code == 2


def test_retrieve(cli: Cli, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {
        "retriever": {
            "rrf": {
                "retrievers": [
                    {"standard": {"query": {"match": {"title": "cat"}}}},
                    {"knn": {"field": "semantic.vector", "k": 3, "num_candidates": 10, **TEXT_BUILDER}},
                ]
            }
        },
        "size": 2,
        "_source": ["kind"],
    }
    file = tmp_path / "request.json"
    file.write_text(json.dumps(body))
    answer = cli("retrieve", index, str(file), "--execution", "client").json
    assert [hit["_id"] for hit in answer["hits"]["hits"]][:1] == ["1"]
    assert len(answer["hits"]["hits"]) == 2
    assert answer["hits"]["hits"][0]["_source"] == {"kind": "animal"}

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(body).encode())))
    piped = cli("retrieve", index, "-", "--execution", "client", "--json").json
    assert piped["hits"] == answer["hits"]


TEXT_BUILDER = {"query_vector_builder": {"text_embedding": {"model_text": "a feline animal"}}}


@pytest.mark.parametrize(
    ("content", "arguments", "code", "said"),
    [
        ("{", [], 2, "is not JSON"),
        ("[]", [], 2, "no search request with a retriever"),
        ('{"query": {}}', [], 2, "no search request with a retriever"),
        ('{"retriever": {"nope": {}}}', [], 2, "nope"),
        ('{"retriever": {"standard": {}}}', ["--execution", "magic"], 2, "native, client"),
        (None, [], 2, "cannot read"),
    ],
)
def test_requests_that_cannot_be_answered(
    cli: Cli, tmp_path: Path, content: str | None, arguments: list[str], code: int, said: str
) -> None:
    file = tmp_path / "request.json"
    if content is not None:
        file.write_text(content)
    ran = cli("retrieve", "no-such-index", str(file), *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err.replace("\n", " ")
