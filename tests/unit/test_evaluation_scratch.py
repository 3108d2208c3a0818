"""Scratch indices without a server: what they are made of, and what is copied into them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import SchemaError
from es_semantic.evaluation.compare import first_words
from es_semantic.evaluation.copied import Spool, copied_properties, copied_settings, without_boost
from es_semantic.evaluation.prepared import PreparedQueries
from es_semantic.evaluation.scratch import Content, Document, corpus_content, create_request, lines, pages
from es_semantic.schema.target import Target
from tests.embedder import TinyEmbedder

TEXT = {"type": "text"}


def target(properties: dict[str, Any], settings: dict[str, Any] | None = None) -> Target:
    return Target("index", "owners", {"properties": properties}, settings or {})


def test_a_corpus_is_searched_as_one_field() -> None:
    content = corpus_content(lambda: [], analyzer="cjk", chunk="never")
    assert content.fields == ("contents",)
    assert content.sources == ("title", "text")
    body = create_request("i", content).body
    assert isinstance(body, dict)
    properties = body["mappings"]["properties"]
    assert properties["title"] == properties["text"] == {"type": "text", "analyzer": "cjk", "copy_to": "contents"}
    assert properties["contents"] == {"type": "text", "analyzer": "cjk"}
    assert body["settings"]["index.hidden"] is True


def test_settings_of_ours_win() -> None:
    content = Content(
        TEXT, {"index.refresh_interval": "1s", "index.analysis.x": 1}, lambda: [], ["title"], None, "auto"
    )
    body = create_request("i", content).body
    assert isinstance(body, dict)
    assert body["settings"]["index.refresh_interval"] == "-1"
    assert body["settings"]["index.analysis.x"] == 1


def test_mapping_of_the_chosen_fields_alone() -> None:
    english = {"type": "text", "analyzer": "mine", "fields": {"raw": {"type": "keyword"}}}
    owners = target(
        {
            "title": {**english, "copy_to": ["all", "body"]},
            "body": TEXT,
            "all": TEXT,
            "person": {"properties": {"name": TEXT, "age": {"type": "integer"}}},
            "secret": {"type": "keyword"},
        }
    )
    assert copied_properties(owners, ["title.raw", "title", "body", "person.name"]) == {
        "title": {**english, "copy_to": ["body"]},
        "body": TEXT,
        "person": {"properties": {"name": TEXT}},
    }


def test_a_single_copy_to() -> None:
    owners = target({"title": {**TEXT, "copy_to": "all"}, "all": TEXT})
    assert copied_properties(owners, ["title"]) == {"title": TEXT}
    assert copied_properties(owners, ["title", "all"]) == {"title": {**TEXT, "copy_to": ["all"]}, "all": TEXT}


@pytest.mark.parametrize("field", ["nope", "person", "person.nope"])
def test_fields_that_cannot_be_copied(field: str) -> None:
    with pytest.raises(SchemaError, match="'owners'"):
        copied_properties(target({"person": {"properties": {"name": TEXT}}}), [field])


def test_analyzers_are_copied_and_nothing_else() -> None:
    settings = {
        "index.analysis.analyzer.mine.type": "standard",
        "index.similarity.default.type": "BM25",
        "index.final_pipeline": "owners",
        "index.uuid": "u",
    }
    assert set(copied_settings(target({}, settings))) == {
        "index.analysis.analyzer.mine.type",
        "index.similarity.default.type",
    }


def test_boosts() -> None:
    assert [without_boost(field) for field in ("title^2", "a.b", "x^0.5")] == ["title", "a.b", "x"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), JSON, max_size=3)), max_size=5))
def test_the_spool_gives_back_what_it_got(documents: list[tuple[str, dict[str, Any]]]) -> None:
    spool = Spool(io.BytesIO())
    for document in documents:
        spool.add(document)
    assert spool.count == len(documents)
    assert list(spool.read()) == documents
    assert list(spool.read()) == documents


def test_documents_that_are_hard_to_write() -> None:
    source = {"count": 123456789012345678901234567890, "title": "\ud800"}
    action, body = lines("i", ("1", source))
    assert json.loads(action) == {"index": {"_index": "i", "_id": "1"}}
    assert json.loads(body) == source


def test_pages() -> None:
    documents: list[Document] = [(str(i), {}) for i in range(1001)]
    assert [len(page) for page in pages(documents)] == [500, 500, 1]


def test_queries_of_documents() -> None:
    documents: list[Document] = [
        ("1", {"title": " ", "text": "one " * 20}),
        ("2", {"title": "a title", "text": "more"}),
        ("3", {"title": "a title"}),
        ("4", {}),
        ("5", {"title": "…!"}),
    ]
    content = corpus_content(lambda: documents, analyzer="english", chunk="never")
    assert first_words(content) == {"1": " ".join(["one"] * 12), "2": "a title"}


def test_prepared_queries_are_embedded_once() -> None:
    asked: list[list[str]] = []

    class Counting(TinyEmbedder):
        def embed_queries(self, texts: Any) -> Any:
            asked.append(list(texts))
            return super().embed_queries(texts)

    tiny = Counting()
    prepared = PreparedQueries(tiny, ["one", "two", "one"])
    assert asked == [["one", "two"]]
    assert (prepared.vector("two") == tiny.vector("two")).all()
    assert prepared.embed_queries(["two", "one"]).vectors.shape == (2, 64)
    assert asked == [["one", "two"]]
    assert (prepared.vector("three") == tiny.vector("three")).all()
    assert asked[1:] == [["three"]]
    assert PreparedQueries(tiny, []).profile == tiny.profile
