"""Sub-fields that attach adds: the owner's part of a mapping or template stays what it was, and comes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import BindingConflict, SchemaError
from es_semantic.schema.analysis import Analysis
from es_semantic.schema.binding import Bindings, meta_with, read_bindings
from es_semantic.schema.checks import text_fields
from es_semantic.schema.language import choose_analysis
from es_semantic.schema.plan import attach_requests, attached_template, complete_requests, detach_requests
from es_semantic.schema.subfields import (
    additions,
    analysed_fields,
    dynamic_at,
    field_at,
    find,
    with_added,
    without_unneeded,
)
from es_semantic.schema.target import Gives, Target
from tests.schema_targets import TEXT, binding, bindings, index, templated

SUB = "es_semantic_english"
ENGLISH = {"type": "text", "analyzer": "english"}
Tree = dict[str, Any]


def analyzed(*source: str, fields: list[str] | None = None, complete: bool = False) -> Bindings:
    """A binding of these fields whose sub-fields are ours."""
    analysis = Analysis(
        language="en", analyzer="english", fields=fields or [f"{field}.{SUB}" for field in source], complete=complete
    )
    return bindings(semantic=binding(*source).model_copy(update={"analysis": analysis}))


def gives(properties: Tree, **settings: str) -> Gives:
    return Gives({"properties": properties}, {f"index.analysis.analyzer.{k}.type": v for k, v in settings.items()})


LEAVES = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "keyword"])},
    optional={
        "analyzer": st.sampled_from(["standard", "whitespace"]),
        "norms": st.just(False),
        "copy_to": st.just(["all"]),
        "fields": st.dictionaries(st.sampled_from(["raw", "en"]), st.just({"type": "keyword"}), min_size=1),
    },
)
KEYS = st.sampled_from(["a", "b", "c", "d.e", "f.g.h"])
"""Keys with dots, as under ``subobjects: false`` and in templates as people write them."""
TREES = st.recursive(
    st.dictionaries(KEYS, LEAVES, min_size=1, max_size=4),
    lambda inner: st.dictionaries(KEYS, LEAVES | inner.map(lambda properties: {"properties": properties}), max_size=4),
    max_leaves=12,
)


@given(TREES, st.data())
def test_what_is_added_is_the_sub_field_and_nothing_else(tree: Tree, data: st.DataObject) -> None:
    paths = [path for path, _ in text_fields({"properties": tree})]
    source = data.draw(st.lists(st.sampled_from(paths), unique=True, min_size=1)) if paths else []
    if not source:
        return
    wanted = analyzed(*source)
    after = with_added(tree, additions(gives(tree), wanted, where="a test"))
    for path, _ in text_fields({"properties": after}):
        keys = find(after, path)
        assert keys is not None
        body, before = field_at(after, keys), field_at(tree, keys)
        expected = {**before.get("fields", {}), SUB: ENGLISH} if path in source else before.get("fields", {})
        assert body.get("fields", {}) == expected
        assert {k: v for k, v in body.items() if k != "fields"} == {k: v for k, v in before.items() if k != "fields"}
    assert [path for path, _ in text_fields({"properties": after})] == paths
    assert additions(gives(after), wanted, where="a test") == {}
    assert without_unneeded(after, wanted, Bindings()) == tree


@given(TREES, st.data())
def test_a_template_that_repeats_fields_of_its_components_forgets_them_again(tree: Tree, data: st.DataObject) -> None:
    """``tree`` is what the components map, in the form in which Elasticsearch composes it; the template has a part."""
    paths = [path for path, _ in text_fields({"properties": tree})]
    if not paths:
        return
    source = data.draw(st.lists(st.sampled_from(paths), unique=True, min_size=1))
    own: Tree = {"its own": TEXT}
    wanted = analyzed(*source)
    after = with_added(own, additions(gives({**tree, **own}), wanted, where="a test"))
    for path in source:
        keys = find(after, path)
        assert keys is not None
        assert field_at(after, keys)["fields"][SUB] == ENGLISH
    assert without_unneeded(after, wanted, Bindings(), copied=source) == own


def test_a_field_of_a_template_is_changed_where_the_template_has_it() -> None:
    own = {"notes.text": {"type": "text", "index": True}}
    composed = {"notes": {"properties": {"text": {"type": "text"}}}}
    after = with_added(own, additions(gives(composed), analyzed("notes.text"), where="a test"))
    assert after == {"notes.text": {"type": "text", "fields": {SUB: ENGLISH}}}


def test_another_semantic_field_keeps_the_sub_field_that_it_shares() -> None:
    both = Bindings(fields={**analyzed("title").fields, "other": analyzed("title", "body").fields["semantic"]})
    tree: Tree = {"title": TEXT, "body": TEXT}
    after = with_added(tree, additions(gives(tree), both, where="a test"))
    left = without_unneeded(after, both, both.without_field("other"))
    assert left == {"title": {"type": "text", "fields": {SUB: ENGLISH}}, "body": TEXT}


@pytest.mark.parametrize("there", [{"type": "keyword"}, {"type": "text"}, {"type": "text", "analyzer": "german"}])
def test_a_sub_field_of_our_name_that_is_mapped_otherwise(there: Tree) -> None:
    tree = {"title": {"type": "text", "fields": {SUB: there}}}
    with pytest.raises(SchemaError, match=f"field 'title' of a test has a sub-field '{SUB}' already") as caught:
        additions(gives(tree), analyzed("title"), where="a test")
    assert "without --language" in caught.value.hint


# Which field is, or shall be, analysed.

PLAIN, ITSELF = {"title": TEXT}, {"title": ENGLISH}
THEIRS = {"title": {"type": "text", "fields": {"en": ENGLISH, "raw": {"type": "keyword"}}}}
OURS = {"title": {"type": "text", "fields": {SUB: ENGLISH}}}
BOTH = {"title": {"type": "text", "fields": {SUB: ENGLISH, "en": ENGLISH}}}
UNINDEXED = {"title": {"type": "text", "fields": {"en": {**ENGLISH, "index": False}}}}


@pytest.mark.parametrize(
    ("trees", "field"),
    [
        ([PLAIN], f"title.{SUB}"),
        ([ITSELF], "title"),
        ([THEIRS], "title.en"),
        ([OURS], f"title.{SUB}"),
        ([BOTH], "title.en"),
        ([UNINDEXED], f"title.{SUB}"),
        ([{"title": {**THEIRS["title"], "analyzer": "english"}}], "title"),
        ([THEIRS, THEIRS], "title.en"),
        ([THEIRS, PLAIN], f"title.{SUB}"),
        ([ITSELF, PLAIN], f"title.{SUB}"),
        ([THEIRS, {"other": TEXT}], "title.en"),
        ([{"other": TEXT}], f"title.{SUB}"),
    ],
)
def test_what_the_owner_analyses_so_already_is_used(trees: list[Tree], field: str) -> None:
    assert analysed_fields([gives(tree) for tree in trees], ["title"], "english") == [field]


def test_an_analyser_of_the_index_that_is_of_that_type_is_it() -> None:
    own = {"title": {"type": "text", "analyzer": "ours"}}
    assert analysed_fields([gives(own, ours="english")], ["title"], "english") == ["title"]
    assert analysed_fields([gives(own, ours="custom")], ["title"], "english") == [f"title.{SUB}"]
    assert analysed_fields([gives(PLAIN, default="english")], ["title"], "english") == ["title"]
    assert analysed_fields([gives(ITSELF, english="custom")], ["title"], "english") == [f"title.{SUB}"]


# Plans.


def test_the_sub_fields_are_put_with_the_binding() -> None:
    mapping = {"properties": {"o": {"properties": {"text": {"type": "text", "analyzer": "whitespace"}}}}}
    put, *_ = attach_requests(index(mapping), analyzed("o.text"))
    assert isinstance(put.body, dict)
    assert put.body["properties"]["o"] == {
        "properties": {"text": {"type": "text", "analyzer": "whitespace", "fields": {SUB: ENGLISH}}}
    }
    assert put.body["_meta"]["es_semantic"]["fields"]["semantic"]["analysis"]["fields"] == [f"o.text.{SUB}"]


def test_indices_that_map_the_field_differently_each_get_their_own() -> None:
    old, new = gives({"title": {"type": "text", "norms": False}}), gives({"title": TEXT})
    body = {"template": {"mappings": new.mapping}}
    target = Target("data stream", "logs", new.mapping, {}, "t", body, new, {".ds-1": old, ".ds-2": new})
    everywhere, first, second = attach_requests(target, analyzed("title"))[:3]
    assert isinstance(everywhere.body, dict)
    assert (everywhere.path, list(everywhere.body["properties"])) == ("/logs/_mapping", ["semantic"])
    for request, path, more in ((first, "/.ds-1/_mapping", {"norms": False}), (second, "/.ds-2/_mapping", {})):
        assert isinstance(request.body, dict)
        assert request.path == path
        assert request.body["properties"] == {"title": {"type": "text", "fields": {SUB: ENGLISH}, **more}}


def test_an_index_that_does_not_map_the_field_gets_none() -> None:
    old, new = gives({"other": TEXT}), gives({"title": TEXT})
    target = Target("data stream", "logs", new.mapping, {}, "t", {}, new, {".ds-1": old, ".ds-2": new})
    first = attach_requests(target, analyzed("title"))[1]
    assert isinstance(first.body, dict)
    assert (first.path, list(first.body)) == ("/.ds-1/_mapping", ["_meta"])


def test_what_a_template_makes_is_complete_and_a_detached_template_is_what_it_was() -> None:
    body = {"index_patterns": ["logs-*"], "template": {"mappings": {"properties": {"body": TEXT}}}}
    mapping = {"properties": {"body": TEXT, "title": TEXT}}
    wanted = analyzed("title", "body")
    attached = attached_template(templated("index template", body, mapping), wanted)
    mappings = attached["template"]["mappings"]
    assert (
        mappings["properties"]["title"] == mappings["properties"]["body"] == {"type": "text", "fields": {SUB: ENGLISH}}
    )
    assert mappings["_meta"]["es_semantic"]["fields"]["semantic"]["analysis"]["complete"] is True
    target = templated("index template", attached, mappings, final="es-semantic-template-logs-template")
    last = detach_requests(target, "semantic", wanted, copied=["title"])[-1]
    assert last.body == body


def test_the_mark_of_completeness_leaves_everything_else_in_the_meta() -> None:
    wanted = Bindings(fields={**analyzed("title").fields, "other": analyzed("title").fields["semantic"]})
    one = {"properties": {}, "_meta": meta_with({"_meta": {"team": "search"}}, wanted)}
    done = {"properties": {}, "_meta": meta_with({}, wanted.completed())}
    target = Target(
        "data stream", "s", one, {}, indices={"a": Gives(one, {}), "b": Gives(done, {}), "c": Gives(one, {})}
    )
    (request,) = complete_requests(target, "semantic")
    assert (request.method, request.path) == ("PUT", "/a%2Cc/_mapping")
    expected = wanted.with_field("semantic", wanted.fields["semantic"].analyzed(complete=True))
    assert request.body == {"_meta": {"team": "search", "es_semantic": expected.model_dump()}}


def test_a_binding_without_a_language_is_what_older_versions_read() -> None:
    stored = meta_with({}, bindings(semantic=binding("title")))["es_semantic"]["fields"]["semantic"]
    assert sorted(stored) == ["chunking", "fingerprint", "index_options", "similarity", "source"]


def test_a_binding_with_a_language_is_read_back() -> None:
    wanted = analyzed("title", "body", complete=True)
    assert read_bindings({"_meta": meta_with({}, wanted)}, index="books") == wanted


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"fields": ["title.e"]}, "one field for each source field"),
        ({"fields": []}, r"analysis\.fields"),
        ({"more": 1}, r"analysis\.more"),
        ({"complete": "maybe"}, r"analysis\.complete"),
    ],
)
def test_an_edited_analysis_is_named(change: Tree, where: str) -> None:
    meta = meta_with({}, analyzed("title", "body"))
    meta["es_semantic"]["fields"]["semantic"]["analysis"] |= change
    with pytest.raises(SchemaError, match=where):
        read_bindings({"_meta": meta}, index="books")


def test_fields_are_complete_only_where_every_index_says_so() -> None:
    new, old, bare = analyzed("title", complete=True), analyzed("title"), bindings(semantic=binding("title"))
    assert new.no_more_complete_than([new, Bindings(), bare]) == new
    assert new.no_more_complete_than([new, old]) == old
    assert old.completed() == new
    assert bare.completed() == bare


# What is refused.


def test_another_language_than_the_bound_one() -> None:
    bound = analyzed("title").fields["semantic"]
    target = index({"properties": PLAIN})
    assert choose_analysis(target, ["title"], "en", bound, name="semantic") == bound.analysis
    assert choose_analysis(target, ["title"], None, bound, name="semantic") == bound.analysis
    with pytest.raises(BindingConflict, match="bound to the language 'en', wanted 'de'"):
        choose_analysis(target, ["title"], "de", bound, name="semantic")


def test_a_template_that_does_not_map_the_field() -> None:
    new = gives({"@timestamp": {"type": "date"}})
    mapping = {"properties": {"title": {"type": "text", "fields": {"keyword": {"type": "keyword"}}}}}
    target = Target("data stream", "logs", mapping, {}, "t", {}, new, {".ds-1": Gives(mapping, {})})
    with pytest.raises(SchemaError, match="index template 't' does not map title") as caught:
        choose_analysis(target, ["title"], "en", None, name="semantic")
    assert '"keyword": {' in caught.value.hint
    assert choose_analysis(target, ["title"], None, None, name="semantic") is None


@pytest.mark.parametrize(
    ("mapping", "dynamic"),
    [
        ({}, "true"),
        ({"dynamic": "strict"}, "strict"),
        ({"dynamic": "strict", "properties": {"o": {}}}, "strict"),
        ({"dynamic": "strict", "properties": {"o": {"dynamic": True}}}, "true"),
        ({"properties": {"o": {"dynamic": "strict"}}}, "strict"),
        ({"dynamic": False, "properties": {"o": {}}}, "false"),
    ],
)
def test_the_nearest_object_says_whether_undeclared_fields_are_allowed(mapping: Tree, dynamic: str) -> None:
    assert dynamic_at(mapping, ("o", "text")) == dynamic
