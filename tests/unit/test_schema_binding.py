"""The binding in ``_meta``: what the owner keeps there stays, and what cannot be read says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.embedding.chunking import Chunking
from es_semantic.errors import NotAttached, SchemaError
from es_semantic.schema.binding import META_KEY, Bindings, meta_with, read_bindings
from tests.schema_targets import binding, bindings

ATTACHED = bindings("theirs", semantic=binding("title"))


def test_what_is_written_is_read_back() -> None:
    meta = meta_with({}, ATTACHED)
    assert read_bindings({"_meta": meta}, index="books") == ATTACHED


@pytest.mark.parametrize("mapping", [{}, {"_meta": None}, {"_meta": {"team": "search"}}])
def test_nothing_attached(mapping: dict[str, Any]) -> None:
    assert read_bindings(mapping, index="books") == Bindings()


def test_the_owners_meta_stays_while_attached_and_afterwards() -> None:
    owners = {"_meta": {"team": "search", "nested": {"version": 3}}}
    attached = meta_with(owners, ATTACHED)
    assert {key: value for key, value in attached.items() if key != META_KEY} == owners["_meta"]
    assert meta_with({"_meta": attached}, ATTACHED.without_field("semantic")) == owners["_meta"]
    assert owners == {"_meta": {"team": "search", "nested": {"version": 3}}}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"version": 2}, "version"),
        ({"version": "one"}, "version"),
        ({"unknown": 1}, "unknown"),
        ({"fields": []}, "fields"),
        ({"fields": {"semantic": {"source": []}}}, "fields.semantic.source"),
        ({"fields": {"semantic": None}}, "fields.semantic"),
        (
            {"fields": {"semantic": {**binding("title").model_dump(), "chunking": {"max_tokens": 64, "overlap": 32}}}},
            "fields.semantic.chunking",
        ),
    ],
)
def test_an_edited_binding_is_named_and_says_what_to_do(change: dict[str, Any], where: str) -> None:
    stored = {**ATTACHED.model_dump(), **change}
    with pytest.raises(SchemaError, match=f"'books' .* cannot read: {where}") as caught:
        read_bindings({"_meta": {META_KEY: stored}}, index="books")
    assert "Restore it, or remove the key 'es_semantic' from the mapping's _meta and attach again" in caught.value.hint


@pytest.mark.parametrize("stored", ["text", 7, ["list"], True])
def test_a_binding_that_is_no_object_is_refused(stored: Any) -> None:
    with pytest.raises(SchemaError, match="cannot read"):
        read_bindings({"_meta": {META_KEY: stored}}, index="books")


def test_chunks_are_part_of_what_documents_carry() -> None:
    whole = binding("title")
    assert (whole.stamp, whole.holder) == (whole.fingerprint.id, "vector")
    chunked = whole.model_copy(update={"chunking": Chunking(max_tokens=256, overlap=25)})
    assert (chunked.stamp, chunked.holder) == (f"{whole.fingerprint.id}+256/25", "chunks")
    meta = meta_with({}, bindings(semantic=chunked))
    assert read_bindings({"_meta": meta}, index="books").fields["semantic"] == chunked


def test_a_binding_from_before_there_were_chunks_is_read() -> None:
    stored = ATTACHED.model_dump()
    del stored["fields"]["semantic"]["chunking"]
    assert read_bindings({"_meta": {META_KEY: stored}}, index="books") == ATTACHED


def test_an_unknown_name_tells_the_known_ones() -> None:
    with pytest.raises(NotAttached, match=r"no semantic field 'other' \(it has: semantic\)"):
        ATTACHED.one("other", index="books")
    with pytest.raises(NotAttached, match="no semantic field") as caught:
        Bindings().one("semantic", index="books")
    assert "es-semantic attach books" in caught.value.hint
