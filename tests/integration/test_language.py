"""``attach --language``: what BM25 finds then, what becomes of the owner's mapping, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.config.languages import ANALYZERS
from es_semantic.errors import BindingConflict, EsSemanticError, SchemaError, UsageError
from es_semantic.schema.attach import attach_steps
from es_semantic.schema.binding import Binding, read_bindings
from es_semantic.schema.lookup import find_binding
from tests.attaching import pipelines_of, run_until, state_of
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex

TEXT = {"type": "text"}
SUB = "es_semantic_english"
ENGLISH = {"type": "text", "analyzer": "english"}
PROPERTIES = {"title": {"type": "text", "fields": {"raw": {"type": "keyword"}}}, "o": {"properties": {"note": TEXT}}}
FIELDS = ["title", "o.note"]


def attach(client: Elasticsearch, index: str, fields: list[str] | None = None, **options: Any) -> Any:
    """Attach with one vector a document, in English unless told otherwise."""
    options = {"model": TinyEmbedder(), "language": "en", "chunk": "never", **options}
    return es_semantic.attach(client, index, fields or FIELDS, **options)


def mapping_of(client: Elasticsearch, index: str) -> dict[str, Any]:
    (body,) = client.indices.get_mapping(index=index).body.values()
    mapping: dict[str, Any] = body["mappings"]
    return mapping


def bound(client: Elasticsearch, index: str, name: str = "semantic") -> Binding:
    return read_bindings(mapping_of(client, index), index=index).one(name, index=index)


def found(client: Elasticsearch, index: str, text: str) -> list[str]:
    """The ids that BM25 finds, best first."""
    client.indices.refresh(index=index)
    fields = run(client, find_binding(index, "semantic"))[0].bm25_fields
    result = es_semantic.search(client, index, text, mode="bm25", fields=fields, model=TinyEmbedder())
    return [hit.id for hit in result.hits]


def test_words_are_found_in_their_other_forms(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    client.index(index=index, id="1", document={"title": "Running dogs", "o": {"note": "They ran"}})
    client.index(index=index, id="2", document={"title": "A cat", "o": {"note": "It jumped over the dog's house"}})
    assert found(client, index, "run") == ["1"]
    assert found(client, index, "jumping") == ["2"]
    assert found(client, index, "houses jumps") == ["2"]
    assert sorted(found(client, index, "dog")) == ["1", "2"]


def test_what_the_analyser_throws_away_is_found_in_the_field_itself(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    client.index(index=index, id="1", document={"title": "To be or not to be"})
    client.index(index=index, id="2", document={"title": "Nothing of that kind"})
    assert found(client, index, "to be or not to be") == ["1"]


CHINESE = {
    "university": "他毕业于北京大学。后来在上海工作。",
    "capital": "北京是中华人民共和国的首都。",
    "apart": "东京的北边有一座大山。很多人来学习滑雪。",
    "tea": "我喜欢喝茶。",
    "other": "猫在睡觉。",
}


def test_chinese_words_of_two_characters(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT}, documents={key: {"title": text} for key, text in CHINESE.items()})
    attach(client, index, ["title"], language="zh-CN")
    es_semantic.sync(client, index, model=TinyEmbedder())
    es_semantic.analyze(client, index)
    assert bound(client, index).bm25_fields == ["title.es_semantic_cjk", "title^0.5"]
    assert set(found(client, index, "北京")[:2]) == {"university", "capital"}
    assert found(client, index, "大学")[0] == "university"
    assert found(client, index, "北京大学")[0] == "university"
    by_words = es_semantic.search(client, index, "北京", mode="bm25", fields=["title.es_semantic_cjk"])
    assert sorted(hit.id for hit in by_words.hits) == ["capital", "university"], "not where 北 and 京 stand apart"
    # A character that stands alone in the query, but not in the text, is no term of the cjk analyser.
    assert es_semantic.search(client, index, "茶", mode="bm25", fields=["title.es_semantic_cjk"]).hits == ()
    assert found(client, index, "茶") == ["tea"]


@pytest.mark.parametrize(
    ("language", "text", "query"),
    [
        ("ja", "東京都に住んでいます", "東京"),
        ("ko", "서울대학교에서 공부했다", "대학"),
        ("de", "Die Häuser am Fluss", "Haus"),
    ],
)
def test_other_languages(client: Elasticsearch, make_index: MakeIndex, language: str, text: str, query: str) -> None:
    index = make_index({"title": TEXT})
    attach(client, index, ["title"], language=language)
    client.index(index=index, id="it", document={"title": text})
    client.index(index=index, id="other", document={"title": "something else"})
    assert found(client, index, query) == ["it"]


def test_the_cluster_has_every_analyser(client: Elasticsearch) -> None:
    for analyzer in set(ANALYZERS.values()):
        assert client.indices.analyze(analyzer=analyzer, text="text")["tokens"]


def test_only_sub_fields_are_added_to_the_owners_mapping(client: Elasticsearch, make_index: MakeIndex) -> None:
    title = {
        "type": "text",
        "analyzer": "whitespace",
        "norms": False,
        "copy_to": ["all"],
        "index_prefixes": {"min_chars": 2, "max_chars": 4},
        "fields": {"raw": {"type": "keyword", "ignore_above": 50}, "german": {"type": "text", "analyzer": "german"}},
        "meta": {"unit": "words"},
    }
    index = make_index({**PROPERTIES, "title": title, "all": TEXT}, _meta={"team": "search"})
    before = mapping_of(client, index)
    attach(client, index)
    after = mapping_of(client, index)
    assert after["properties"]["title"] == {**title, "fields": {**title["fields"], SUB: ENGLISH}}  # type: ignore[dict-item]
    assert after["properties"]["o"] == {"properties": {"note": {"type": "text", "fields": {SUB: ENGLISH}}}}
    assert after["properties"]["all"] == before["properties"]["all"]
    assert after["_meta"]["team"] == "search"


def test_an_empty_index_is_complete_at_once(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    change = attach(client, index)
    assert change.notes == ()
    assert bound(client, index) == change.binding
    assert change.binding.bm25_fields == [f"title.{SUB}", f"o.note.{SUB}", "title^0.5", "o.note^0.5"]
    assert attach(client, index).changed is False
    assert attach(client, index, language=None).changed is False
    assert es_semantic.analyze(client, index).complete


def test_documents_from_before_are_counted_and_found_as_before(client: Elasticsearch, make_index: MakeIndex) -> None:
    documents = {"1": {"title": "Running dogs"}, "2": {"title": "to run"}, "3": {"pages": 7}}
    index = make_index(PROPERTIES, documents=documents)
    change = attach(client, index)
    (note,) = change.notes
    assert note.startswith(f"2 documents are not in title.{SUB}, o.note.{SUB} yet")
    assert f"es-semantic analyze {index}" in note
    assert change.binding.bm25_fields == [f"title.{SUB}", f"o.note.{SUB}", "title", "o.note"]
    assert found(client, index, "run") == ["2"]
    client.index(index=index, id="4", document={"title": "She runs"})
    assert sorted(found(client, index, "run")) == ["2", "4"]
    assert "documents from before" in attach(client, index).notes[0]


def test_a_language_may_be_added_later_but_not_changed(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index, language=None)
    es_semantic.sync(client, index, model=TinyEmbedder())
    assert bound(client, index).bm25_fields == FIELDS
    change = attach(client, index)
    assert change.changed
    assert bound(client, index).analysis.language == "en"  # type: ignore[union-attr]
    before = state_of(client, index)
    with pytest.raises(BindingConflict, match="bound to the language 'en', wanted 'de'"):
        attach(client, index, language="de")
    assert state_of(client, index) == before
    attach(client, index, language="de", name="german")
    assert bound(client, index, "german").analysis.fields[0] == "title.es_semantic_german"  # type: ignore[union-attr]


def test_two_semantic_fields_share_a_sub_field(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index, ["title"])
    first = mapping_of(client, index)["properties"]["title"]
    attach(client, index, ["title"], name="other", model=TinyEmbedder("other"))
    assert mapping_of(client, index)["properties"]["title"] == first
    change, _ = es_semantic.detach(client, index, name="other")
    assert not any("remain mapped" in note for note in change.notes)
    change, _ = es_semantic.detach(client, index)
    assert f"title.{SUB} remain mapped" in change.notes[0]


def test_what_the_owner_analyses_as_that_language_is_used(client: Elasticsearch, make_index: MakeIndex) -> None:
    properties = {
        "title": ENGLISH,
        "body": {"type": "text", "fields": {"en": ENGLISH}},
        "own": {"type": "text", "analyzer": "our_english"},
    }
    analysis = {"analyzer": {"our_english": {"type": "english", "stopwords": ["we"]}}}
    index = make_index(properties, settings={"analysis": analysis}, documents={"1": {"body": "running", "own": "x"}})
    before = mapping_of(client, index)["properties"]
    change = attach(client, index, ["title", "body", "own"])
    assert {k: v for k, v in mapping_of(client, index)["properties"].items() if k != "semantic"} == before
    assert change.binding.bm25_fields == ["title", "body.en", "own", "body^0.5"]
    assert found(client, index, "run") == ["1"]


def test_a_dry_run_changes_nothing_and_its_requests_do_the_same_by_hand(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index(PROPERTIES, documents={"1": {"title": "one"}})
    before = state_of(client, index)
    planned = attach(client, index, dry_run=True)
    assert state_of(client, index) == before
    for request in planned.requests:
        headers = {"accept": "application/json", "content-type": "application/json"}
        client.perform_request(request.method, request.path, headers=headers, body=request.body)
    assert attach(client, index).changed is False


@pytest.mark.parametrize("done", [1, 2])
def test_an_interrupted_attach_is_completed_or_taken_back(
    client: Elasticsearch, make_index: MakeIndex, done: int
) -> None:
    index = make_index(PROPERTIES, documents={"1": {"title": "one"}})
    steps = attach_steps(index, FIELDS, lambda: TinyEmbedder().profile, language="en")
    assert run_until(client, steps, done)
    client.index(index=index, id="2", document={"title": "two"})
    assert attach(client, index).changed
    assert attach(client, index).changed is False
    assert bound(client, index).bm25_fields == [f"title.{SUB}", f"o.note.{SUB}", "title", "o.note"]
    es_semantic.detach(client, index)
    assert pipelines_of(client, f"es-semantic-{index}") == {}


def test_detached_and_attached_again(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    attach(client, index)
    before = state_of(client, index)
    change, _ = es_semantic.detach(client, index)
    (note,) = change.notes
    assert note.startswith(f"title.{SUB}, o.note.{SUB} remain mapped, as Elasticsearch cannot remove a sub-field")
    assert "es_semantic" not in mapping_of(client, index).get("_meta", {})
    client.index(index=index, id="1", document={"title": "Running"}, refresh=True)
    assert client.count(index=index, query={"match": {f"title.{SUB}": "run"}})["count"] == 1
    assert attach(client, index).changed
    assert state_of(client, index) == before


# What is refused.


def refused(client: Elasticsearch, index: str, **options: Any) -> EsSemanticError:
    """Attach, hold that nothing was changed, and return why."""
    before = state_of(client, index)
    with pytest.raises(EsSemanticError) as caught:
        attach(client, index, **options)
    assert state_of(client, index) == before
    return caught.value


def test_an_unknown_language(client: Elasticsearch, make_index: MakeIndex) -> None:
    error = refused(client, make_index(PROPERTIES), language="xx")
    assert isinstance(error, UsageError)
    assert ", en, " in error.hint


def test_a_sub_field_of_our_name_with_another_analyser(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({**PROPERTIES, "title": {"type": "text", "fields": {SUB: TEXT}}})
    error = refused(client, index)
    assert f"field 'title' of index {index!r} has a sub-field {SUB!r} already" in error.what
    assert attach(client, index, language="de").changed


def test_no_room_for_more_fields(client: Elasticsearch, make_index: MakeIndex) -> None:
    # title, title.raw, o, o.note, and eight of the semantic field.
    index = make_index(PROPERTIES, settings={"index.mapping.total_fields.limit": 12})
    error = refused(client, index)
    assert isinstance(error, SchemaError)
    assert "Limit of total fields [12] has been exceeded" in error.what
    assert "index.mapping.total_fields.limit" in error.hint
    assert attach(client, index, language=None).changed


@pytest.mark.parametrize("where", ["root", "object"])
def test_strict_works_once_the_owner_has_sent_the_request_in_the_hint(
    client: Elasticsearch, make_index: MakeIndex, where: str
) -> None:
    note = {"note": TEXT}
    strict: dict[str, Any] = {"dynamic": "strict"}
    properties = {**PROPERTIES, "o": {"properties": note, **(strict if where == "object" else {})}}
    index = make_index(properties, **(strict if where == "root" else {}))
    error = refused(client, index)
    assert "`dynamic: strict`" in error.what
    first, body = error.hint.split("\nPUT ")[1].split("\n", 1)
    assert first == f"/{index}/_mapping"
    client.indices.put_mapping(index=index, **json.loads(body))
    assert attach(client, index).changed
    client.index(index=index, id="1", document={"o": {"note": "running"}})
    assert found(client, index, "run") == ["1"]


def test_an_analyser_that_the_cluster_does_not_have(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANALYZERS, "tlh", "klingon")
    error = refused(client, make_index(PROPERTIES), language="tlh")
    assert "has no analyser 'klingon'" in error.what


# Several indices.


def test_an_alias_of_indices_in_different_languages(client: Elasticsearch, make_index: MakeIndex) -> None:
    english, german, plain = (make_index(PROPERTIES) for _ in range(3))
    attach(client, english)
    attach(client, german, language="de")
    attach(client, plain, language=None)
    for index, text in ((english, "running houses"), (german, "laufende Häuser"), (plain, "houses, Häuser")):
        client.index(index=index, id=index, document={"title": text})
    alias = f"{english}-all"
    client.indices.put_alias(index=[english, german, plain], name=alias)
    assert found(client, alias, "house") == [english]
    assert found(client, alias, "Haus") == [german]
    assert sorted(found(client, alias, "houses Häuser")) == sorted([english, german, plain])
