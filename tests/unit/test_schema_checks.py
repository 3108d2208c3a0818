"""What attach refuses before it changes anything, and what the refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.embedding.chunking import Chunking
from es_semantic.errors import IndexUnavailable, SchemaError, UsageError
from es_semantic.schema import checks
from es_semantic.schema.checks import (
    STATE,
    is_semantic_field,
    require_place,
    require_text_fields,
    require_usable_name,
    require_writable,
)
from es_semantic.schema.render import properties
from tests.schema_targets import TEXT, binding, index, templated

MAPPING: dict[str, Any] = {
    "properties": {
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}, "english": {"type": "text"}}},
        "author": {"properties": {"bio": TEXT, "born": {"type": "date"}}},
        "pages": {"type": "integer"},
        "isbn": {"type": "keyword"},
        "heading": {"type": "alias", "path": "title"},
        "reviews": {"type": "nested", "properties": {"text": TEXT}},
    }
}
WANTED = properties("semantic", binding("title"))
CHUNKS = Chunking(max_tokens=256, overlap=25)
CHUNKED = properties("semantic", binding("title").model_copy(update={"chunking": CHUNKS}))


def test_text_fields_are_taken_inside_objects_too() -> None:
    require_text_fields(index(MAPPING), ["title", "author.bio"], name="semantic")


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("missing", "no field 'missing' in index 'books'"),
        ("author.missing", "no field 'author.missing'"),
        ("pages", "field 'pages' is integer, not text"),
        ("isbn", "field 'isbn' is keyword, not text"),
        ("author", "field 'author' is object, not text"),
        ("author.born", "field 'author.born' is date, not text"),
        ("heading", "field 'heading' is alias, not text"),
        ("title.raw", "a sub-field of 'title' (name that field instead)"),
        ("title.english", "a sub-field of 'title' (name that field instead)"),
        ("reviews.text", "inside the nested field 'reviews'"),
        ("semantic.error", "'semantic.error' lies inside the semantic field 'semantic'"),
    ],
)
def test_a_field_that_is_no_text_is_refused_by_name(field: str, why: str) -> None:
    with pytest.raises(SchemaError) as caught:
        require_text_fields(index(MAPPING), [field], name="semantic")
    assert why in caught.value.what
    assert field.startswith("semantic") or caught.value.hint == "Text fields there: author.bio, title."


@pytest.mark.parametrize("fields", [[], ["title", "title"]])
def test_a_field_list_without_sense_is_a_usage_error(fields: list[str]) -> None:
    with pytest.raises(UsageError, match="at least one source field, and none twice"):
        require_text_fields(index(MAPPING), fields, name="semantic")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"enabled": False}, "keeps no _source"),
        ({"mode": "disabled"}, "keeps no _source"),
        ({"excludes": ["title"]}, "field 'title' of index 'books' is not kept in _source"),
        ({"excludes": ["ti*"]}, "field 'title'"),
        ({"includes": ["author.*"]}, "field 'title'"),
        ({"includes": ["title"]}, "field 'semantic.vector'"),
        ({"excludes": ["semantic"]}, "field 'semantic.vector'"),
        ({"excludes": ["*.hash"]}, "field 'semantic.hash'"),
    ],
)
def test_source_must_keep_the_text_and_the_state(source: dict[str, Any], why: str) -> None:
    with pytest.raises(SchemaError) as caught:
        require_text_fields(index({**MAPPING, "_source": source}), ["title"], name="semantic")
    assert why in caught.value.what


def test_a_setting_can_disable_source_as_well() -> None:
    with pytest.raises(SchemaError, match="keeps no _source"):
        require_text_fields(index(MAPPING, **{"mapping.source.mode": "disabled"}), ["title"], name="semantic")


@pytest.mark.parametrize(
    "source", [{"includes": ["title", "semantic.*"]}, {"excludes": ["isbn", "author"]}, {"mode": "stored"}]
)
def test_a_source_that_keeps_what_is_needed_is_accepted(source: dict[str, Any]) -> None:
    require_text_fields(index({**MAPPING, "_source": source}), ["title"], name="semantic")


def test_the_state_that_source_must_keep_is_what_the_mapping_declares() -> None:
    assert set(STATE) == set(WANTED["semantic"]["properties"]) | set(CHUNKED["semantic"]["properties"])


@pytest.mark.parametrize("name", ["semantic", "v2", "A-b_c", "x" * 64])
def test_usable_names(name: str) -> None:
    require_usable_name(name)
    assert properties(name, binding("title"))[name]["properties"]["vector"]["dims"] == 64


@pytest.mark.parametrize("name", ["", "_x", "a.b", "1st", "a b", "x" * 65, "name\n", "é"])
def test_unusable_names(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a semantic field"):
        require_usable_name(name)


@pytest.mark.parametrize("block", ["read_only", "read_only_allow_delete", "write", "metadata", "read"])
def test_a_block_is_named(block: str) -> None:
    require_writable(index(MAPPING, **{f"blocks.{block}": "false"}))
    with pytest.raises(IndexUnavailable, match=f"index.blocks.{block}"):
        require_writable(index(MAPPING, **{f"blocks.{block}": "true"}))


@pytest.mark.parametrize("dynamic", [True, False, "true", "false", "runtime"])
def test_a_free_place_is_taken_whatever_dynamic_says(dynamic: bool | str) -> None:
    require_place(index({**MAPPING, "dynamic": dynamic}), "semantic", WANTED)


def test_strict_without_the_field_is_refused_with_the_request_that_declares_it() -> None:
    with pytest.raises(SchemaError, match="dynamic: strict") as caught:
        require_place(index({**MAPPING, "dynamic": "strict"}), "semantic", WANTED)
    assert "PUT /books/_mapping\n" in caught.value.hint
    assert '"dense_vector"' in caught.value.hint


def test_a_strict_template_is_told_where_to_declare_it() -> None:
    target = templated("index template", {}, {"dynamic": "strict"})
    with pytest.raises(SchemaError, match="dynamic: strict") as caught:
        require_place(target, "semantic", WANTED)
    assert "in the mappings of index template 'logs-template'" in caught.value.hint
    assert "PUT" not in caught.value.hint


def test_strict_with_the_field_declared_is_accepted() -> None:
    require_place(index({**MAPPING, "dynamic": "strict", "properties": WANTED}), "semantic", WANTED)


@pytest.mark.parametrize(
    ("existing", "why"),
    [
        (TEXT, "it is of type 'text'"),
        ({"type": "nested", "properties": WANTED["semantic"]["properties"]}, "it is of type 'nested'"),
        ({"properties": {}}, "type: there None, wanted 'dense_vector'"),
        (properties("semantic", binding("title", dims=32))["semantic"], "dims: there 32, wanted 64"),
        (
            {"properties": {**WANTED["semantic"]["properties"], "status": TEXT}},
            "status: there 'text', wanted 'keyword'",
        ),
    ],
)
def test_a_place_taken_by_something_else_is_refused(existing: dict[str, Any], why: str) -> None:
    with pytest.raises(SchemaError, match="already has a field 'semantic'") as caught:
        require_place(index({"properties": {"semantic": existing}}), "semantic", WANTED)
    assert why in caught.value.what


@pytest.mark.parametrize(
    ("existing", "wanted", "why", "what_to_do"),
    [
        (WANTED, CHUNKED, "it is mapped for one vector a document, wanted one vector a chunk", "--chunk never"),
        (CHUNKED, WANTED, "it is mapped for one vector a chunk, wanted one vector a document", "--chunk always"),
    ],
)
def test_a_field_of_the_other_shape_is_refused_with_the_way_out(
    existing: dict[str, Any], wanted: dict[str, Any], why: str, what_to_do: str
) -> None:
    with pytest.raises(SchemaError, match="already has a field 'semantic'") as caught:
        require_place(index({"properties": existing}), "semantic", wanted)
    assert caught.value.what.endswith(why)
    assert what_to_do in caught.value.hint
    require_place(index({"properties": existing}), "semantic", existing)


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ({"type": "object"}, "chunks: there 'object', wanted 'nested'"),
        ({"type": "nested", "properties": {}}, "chunks.vector.type: there None, wanted 'dense_vector'"),
        ({"type": "nested", "properties": {"vector": {"type": "float"}}}, "chunks.vector.type: there 'float'"),
        (
            {"type": "nested", "properties": {"vector": {"type": "dense_vector", "dims": 3, "similarity": "cosine"}}},
            "chunks.vector.dims: there 3, wanted 64",
        ),
        (
            {**CHUNKED["semantic"]["properties"]["chunks"], "properties": {"start": TEXT}},
            "chunks.start: there 'text', wanted 'integer'",
        ),
    ],
)
def test_chunks_that_cannot_hold_these_vectors_are_refused(chunks: dict[str, Any], why: str) -> None:
    existing = {"properties": {**CHUNKED["semantic"]["properties"], "chunks": chunks}}
    with pytest.raises(SchemaError, match="already has a field 'semantic'") as caught:
        require_place(index({"properties": {"semantic": existing}}), "semantic", CHUNKED)
    assert why in caught.value.what


def test_a_mapping_without_objects_is_refused() -> None:
    with pytest.raises(SchemaError, match="subobjects: false"):
        require_place(index({**MAPPING, "subobjects": False}), "semantic", WANTED)


def test_an_owners_object_is_not_taken_for_a_semantic_field() -> None:
    assert is_semantic_field({"properties": WANTED}, "semantic")
    assert is_semantic_field({"properties": CHUNKED}, "semantic")
    assert not is_semantic_field({"properties": {"order": {"properties": {"status": {"type": "keyword"}}}}}, "order")
    assert not is_semantic_field({}, "semantic")


def test_fields_filled_by_copies_are_named() -> None:
    mapping = {
        "properties": {
            "title": {"type": "text", "copy_to": "all"},
            "meta": {"properties": {"body": {"type": "text", "copy_to": ["all", "other"]}}},
            "all": {"type": "text"},
        }
    }
    assert list(checks.copies_into(mapping, ["all"])) == [("title", "all"), ("meta.body", "all")]
    assert list(checks.copies_into(mapping, ["title"])) == []
