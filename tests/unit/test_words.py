"""The lexical query of a text, by what the fields of a search are analysed with."""

from __future__ import annotations

import pytest

from es_semantic.retrieval.words import highlighted_fields, plain, searched_fields, words_query
from es_semantic.schema.analysis import Analysis
from es_semantic.schema.binding import Binding
from tests.embedder import TinyEmbedder

FINGERPRINT = TinyEmbedder().profile.fingerprint


def bound(source: list[str], analysed: list[str] | None = None, *, complete: bool = True) -> Binding:
    analysis = None
    if analysed is not None:
        analysis = Analysis(language="en", analyzer="english", fields=analysed, complete=complete)
    return Binding(source=source, fingerprint=FINGERPRINT, similarity="cosine", index_options={}, analysis=analysis)


@pytest.mark.parametrize(
    ("bindings", "groups"),
    [
        ([bound(["title", "body"])], [["title", "body"]]),
        ([bound(["title"]), bound(["body", "title"])], [["title", "body"]]),
        ([bound(["title"], ["title.en"])], [["title.en"], ["title^0.5"]]),
        ([bound(["title"], ["title.en"], complete=False)], [["title.en"], ["title"]]),
        ([bound(["title"], ["title"])], [["title"]]),
        ([bound(["title"], ["title.en"]), bound(["body"])], [["title.en"], ["title", "body"]]),
    ],
)
def test_fields_are_grouped_by_how_they_are_analysed(bindings: list[Binding], groups: list[list[str]]) -> None:
    assert searched_fields(bindings) == groups


def test_one_group_is_one_query_and_of_two_the_better_counts() -> None:
    one = words_query("red apple", [["title", "body"]])
    assert one == {
        "multi_match": {
            "query": "red apple",
            "fields": ["title", "body"],
            "type": "cross_fields",
        }
    }
    two = words_query("red", [["title.en"], ["title^0.5"]])
    assert [query["multi_match"]["fields"] for query in two["dis_max"]["queries"]] == [["title.en"], ["title^0.5"]]


def test_boosts_are_taken_off() -> None:
    assert plain(["title^2", "body", "title"]) == ("title", "body")


def test_highlights_are_looked_for_where_the_language_is_and_shown_under_the_source_field() -> None:
    assert highlighted_fields([bound(["title", "body"])]) == {"title": "title", "body": "body"}
    assert highlighted_fields([bound(["title"], ["title.en"]), bound(["body"])]) == {
        "title.en": "title",
        "body": "body",
    }
