"""Language codes, and what they do to the fields that BM25 looks at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.config import parse_config
from es_semantic.config.languages import ANALYZERS, language_of
from es_semantic.errors import ConfigError, UsageError
from es_semantic.schema.analysis import Analysis, bm25_fields, common_analysis, missing_query, require_language
from es_semantic.schema.binding import bm25_fields_of
from tests.schema_targets import binding

FIELDS = st.lists(st.sampled_from(["title", "body", "notes.text"]), min_size=1, unique=True)


@pytest.mark.parametrize(
    ("code", "language", "analyzer"),
    [
        ("en", "en", "english"),
        ("EN", "en", "english"),
        (" de-AT ", "de", "german"),
        ("zh", "zh", "cjk"),
        ("zh-Hant-TW", "zh", "cjk"),
        ("zh_CN", "zh", "cjk"),
        ("ja", "ja", "cjk"),
        ("ko", "ko", "cjk"),
        ("pt", "pt", "portuguese"),
        ("pt-PT", "pt", "portuguese"),
        ("pt_BR", "pt-br", "brazilian"),
        ("nb", "no", "norwegian"),
        ("nn-NO", "no", "norwegian"),
        ("ckb", "ckb", "sorani"),
    ],
)
def test_codes(code: str, language: str, analyzer: str) -> None:
    assert (language_of(code), ANALYZERS[language_of(code)]) == (language, analyzer)


@pytest.mark.parametrize("code", ["", "xx", "english", "e", "en us", "tlh", "-", "-en"])
def test_an_unknown_code_tells_the_known_ones(code: str) -> None:
    with pytest.raises(UsageError, match="no built-in analyser for the language") as caught:
        require_language(code)
    assert ", en, " in caught.value.hint
    assert ", tr, zh." in caught.value.hint


def semantic_field(language: str) -> str:
    return f"semantic_fields:\n  - index: a\n    fields: [t]\n    language: {language}\n"


@pytest.mark.parametrize(("written", "read"), [("en", "en"), ("zh-Hans", "zh"), ("no", "no"), ("'no'", "no")])
def test_a_language_in_the_settings_file(written: str, read: str) -> None:
    config = parse_config(semantic_field(written), filename="es-semantic.yml", env={})
    assert config.semantic_fields[0].language == read


@pytest.mark.parametrize("written", ["klingon", "yes", "7", "[en]"])
def test_an_unknown_language_in_the_settings_file_is_named_by_its_line(written: str) -> None:
    with pytest.raises(ConfigError, match=r"4: semantic_fields\[0\]\.language: must be") as caught:
        parse_config(semantic_field(written), filename="es-semantic.yml", env={})
    assert "klingon" not in str(caught.value)


def analysis(*fields: str, complete: bool = False, language: str = "en") -> Analysis:
    return Analysis(language=language, analyzer=ANALYZERS[language], fields=list(fields), complete=complete)


def test_without_a_language_bm25_looks_at_the_source_fields() -> None:
    assert bm25_fields(["title", "body"], None) == ["title", "body"]


def test_the_source_fields_remain_and_count_less_once_every_document_is_in_the_others() -> None:
    fields = ["title.e", "body.e"]
    assert bm25_fields(["title", "body"], analysis(*fields)) == ["title.e", "body.e", "title", "body"]
    assert bm25_fields(["title", "body"], analysis(*fields, complete=True)) == [
        "title.e",
        "body.e",
        "title^0.5",
        "body^0.5",
    ]


def test_a_source_field_that_its_owner_analyses_so_is_searched_once() -> None:
    assert bm25_fields(["title", "body"], analysis("title", "body.e", complete=True)) == [
        "title",
        "body.e",
        "body^0.5",
    ]


@given(FIELDS, st.data(), st.booleans())
def test_every_source_field_is_searched_once_and_the_analysed_ones_first(
    source: list[str], data: st.DataObject, complete: bool
) -> None:
    own = data.draw(st.lists(st.booleans(), min_size=len(source), max_size=len(source)))
    analysed = [field if itself else f"{field}.e" for field, itself in zip(source, own, strict=True)]
    found = bm25_fields(source, analysis(*analysed, complete=complete))
    plain = [field.partition("^")[0] for field in found]
    assert len(set(plain)) == len(plain)
    assert set(plain) == {*source, *analysed}
    assert found[: len(analysed)] == analysed


ENGLISH, GERMAN = analysis("title.e", complete=True), analysis("title.d", complete=True, language="de")


@pytest.mark.parametrize(
    ("analyses", "fields"),
    [
        ([], ["title"]),
        ([None, None], ["title"]),
        ([ENGLISH, ENGLISH], ["title.e", "title^0.5"]),
        ([ENGLISH, GERMAN], ["title.e", "title.d", "title^0.5"]),
        ([ENGLISH, None], ["title.e", "title"]),
        ([None, ENGLISH], ["title.e", "title"]),
        ([ENGLISH, analysis("title.e")], ["title.e", "title"]),
        ([analysis("title.e"), GERMAN], ["title.e", "title.d", "title"]),
        ([ENGLISH, analysis("title", complete=True)], ["title.e", "title"]),
    ],
)
def test_indices_that_differ_are_searched_in_the_fields_of_all(
    analyses: list[Analysis | None], fields: list[str]
) -> None:
    assert bm25_fields(["title"], common_analysis(analyses)) == fields
    bound = [binding("title").model_copy(update={"analysis": each}) for each in analyses]
    if bound:
        assert bm25_fields_of(bound) == fields


def test_several_semantic_fields_are_searched_together() -> None:
    first = binding("title", "body").model_copy(update={"analysis": analysis("title.e", "body.e", complete=True)})
    second = binding("body", "notes").model_copy(update={"analysis": analysis("body.e", "notes.e", complete=True)})
    fields = ["title.e", "body.e", "notes.e", "title^0.5", "body^0.5", "notes^0.5"]
    assert bm25_fields_of([first, second]) == fields
    assert bm25_fields_of([first, binding("other")]) == ["title.e", "body.e", "title", "body", "other"]


def test_no_document_is_missing_from_a_field_that_is_the_source_field_itself() -> None:
    assert missing_query(["title"], analysis("title")) == {"match_none": {}}
    (clause,) = missing_query(["title", "body"], analysis("title", "body.e"))["bool"]["should"]
    assert clause["bool"] == {
        "filter": [{"exists": {"field": "body"}}],
        "must_not": [{"exists": {"field": "body.e"}}],
    }
