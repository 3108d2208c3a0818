"""What a document may be called and carry, and by what it is known again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from es_semantic.errors import UsageError
from es_semantic.ingest.chunks import chunk_ids, chunk_items
from es_semantic.ingest.documents import Details, Document, Unreadable, details_of, id_of, identity, require_dataset
from es_semantic.ingest.letters import Letters
from es_semantic.ingest.seen import Seen
from es_semantic.ingest.stored import Standing
from es_semantic.sync.dead_letters import LONGEST_REASON, NOT_THERE

PLAIN = Document("1", "a.md", "/a.md", "/a.md", ".md", b"text")


@pytest.mark.parametrize("name", ["manuals", "日本 2026", "a/b:*?", "x" * 256])
def test_a_dataset_has_any_plain_name(name: str) -> None:
    assert require_dataset(name) == name


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "a\x00b", "\ud800", "x" * 257])
def test_a_dataset_has_a_plain_name(name: str) -> None:
    with pytest.raises(UsageError, match="the name of a dataset must"):
        require_dataset(name)


@pytest.mark.parametrize("value", ["", None, True, 1.5, ["a"], "é" * 257, " a", "a\tb"])
def test_what_is_no_id(value: Any) -> None:
    with pytest.raises(Unreadable, match="id"):
        id_of(value)


def test_a_whole_number_is_an_id() -> None:
    assert (id_of(7), id_of("7"), id_of("é" * 256)) == ("7", "7", "é" * 256)


def test_details() -> None:
    metadata = {"year": 2026, "dc.title": "x", "tags": ["a", 1, True], "ratio": 0.5, "none": None}
    found = details_of(metadata, "one", ["two", " ", "three\ud800"], None)
    assert found.metadata == {"year": 2026, "dc.title": "x", "tags": ["a", 1, True], "ratio": 0.5}
    assert (found.keywords, found.questions, found.available) == (("one",), ("two", "three?"), None)
    assert details_of(None, None, None, False) == Details({}, (), (), False)


@pytest.mark.parametrize(
    "metadata",
    [
        *([], "x", {"a": {}}, {"a": [[1]]}, {"a": [None]}, {"a": 2**63}, {"a": float("nan")}, {"": 1}, {".a": 1}),
        *({"a..b": 1}, {"a.": 1}, {" a": 1}, {"a\n": 1}, {"x" * 257: 1}),
    ],
)
def test_metadata_is_scalars_and_lists_of_scalars(metadata: Any) -> None:
    with pytest.raises(Unreadable, match="metadata"):
        details_of(metadata, None, None, None)


@pytest.mark.parametrize(("keywords", "available"), [(1, None), ([1], None), ({"a": 1}, None), ((), 1), ((), "yes")])
def test_keywords_are_texts_and_available_is_true_or_false(keywords: Any, available: Any) -> None:
    with pytest.raises(Unreadable, match=r"`keywords` must be a list|`available` must be true or false"):
        details_of(None, keywords, None, available)


def test_a_document_is_known_again_by_all_that_its_chunks_follow_from() -> None:
    same = replace(PLAIN, id="2", source="/b.md", label="/b.md")
    assert same.hash("model") == PLAIN.hash("model")
    others = [
        replace(PLAIN, data=b"other"),
        replace(PLAIN, name="b.md"),
        replace(PLAIN, kind=".txt"),
        replace(PLAIN, details=Details({"a": 1})),
        replace(PLAIN, details=Details({"a": "1"})),
        replace(PLAIN, details=Details({}, ("a",))),
        replace(PLAIN, details=Details({}, (), ("a",))),
        replace(PLAIN, details=Details({}, available=False)),
    ]
    hashes = {PLAIN.hash("model"), PLAIN.hash("another"), *(other.hash("model") for other in others)}
    assert len(hashes) == 2 + len(others)
    first, second = (replace(PLAIN, details=Details(each)) for each in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert first.hash("") == second.hash("")


def test_ids_of_chunks_follow_from_dataset_document_and_text() -> None:
    ids = list(chunk_ids("d", "1", ["a", "b", "a"]))
    assert len(set(ids)) == 3
    assert list(chunk_ids("d", "1", ["b", "a", "c", "a"])) == [ids[1], ids[0], next(chunk_ids("d", "1", ["c"])), ids[2]]
    assert not set(ids) & {*chunk_ids("e", "1", ["a", "b"]), *chunk_ids("d", "2", ["a", "b"])}
    assert identity("d", "/a") != identity("e", "/a") != identity("d", "/b")


def test_a_chunk_is_new_or_takes_the_place_of_its_older_self() -> None:
    document = replace(PLAIN, details=Details({"a": 1}, ("k",), ("q",)))
    (first, second) = chunk_items("i", "d", document, ["x", "y"], document_hash="h", now="2026-11-22T00:00:00Z")
    body = orjson.loads(second[1])
    chunk = body["script"]["params"]["chunk"]
    assert chunk == {
        "dataset_id": "d",
        "document_id": "1",
        "document_name": "a.md",
        "document_hash": "h",
        "chunk_count": 2,
        "source": "/a.md",
        "metadata": {"a": 1},
        "keywords": ["k"],
        "questions": ["q"],
        "content": "y",
        "position": 1,
    }
    assert body["upsert"] == {**chunk, "available": True, "created_at": "2026-11-22T00:00:00Z"}
    assert orjson.loads(first[0])["update"]["_id"] == next(chunk_ids("d", "1", ["x"]))
    hidden = replace(document, details=replace(document.details, available=False))
    ((_, line),) = chunk_items("i", "d", hidden, ["x"], document_hash="h", now="")
    assert (orjson.loads(line)["upsert"]["available"], b'"available":false' in line) == (False, True)


def test_a_version_is_there_when_all_of_its_chunks_are() -> None:
    standing = Standing("/a", {"old": (2, 3), "new": (3, 3)})
    assert (standing.has("new"), standing.has("old"), standing.has("other")) == (True, False, False)
    assert standing.has_other("new")
    assert not Standing("/a", {"new": (3, 3)}).has_other("new")
    assert not Standing().has("")


def test_what_a_run_has_seen() -> None:
    with Seen() as seen:
        assert [seen.first(*each) for each in (("1", "a"), ("2", "b"), ("1", "c"), ("1", "a"))] == ["a", "b", "a", "a"]
        assert ("1" in seen, "3" in seen) == (True, False)
        for number in range(5):
            seen.first(f"more-{number}", "")
            seen.replace(f"more-{number}", f"hash-{number}")
        assert [len(some) for some in seen.replaced(2)] == [2, 2, 1]
        assert next(pair for some in seen.replaced(3) for pair in some) == ("more-0", "hash-0")


def test_a_dead_letter_is_known_again_by_its_hash() -> None:
    letters = Letters("semantic", "index", "d")
    letter = letters._letter("/a.pdf", "h", "x" * 2000)
    assert (letter.id, letter.model, letter.is_there) == ("d: /a.pdf", "ingest h", False)
    assert len(letter.reason) == LONGEST_REASON
    assert letter.reason.startswith(NOT_THERE)
