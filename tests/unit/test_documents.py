"""Which documents need a vector, and what is written: without a server."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from es_semantic.embedding.chunking import Chunking
from es_semantic.embedding.encoding import decode_vector
from es_semantic.embedding.protocol import Vectors
from es_semantic.schema.binding import Binding
from es_semantic.schema.text import text_hash
from es_semantic.sync.documents import (
    HAS_VECTOR,
    LACKS_VECTOR,
    Document,
    Updates,
    Verdict,
    read_document,
    search_body,
)
from es_semantic.sync.pit import PointInTime, page_request
from tests.embedder import TinyEmbedder
from tests.schema_targets import index

FINGERPRINT = TinyEmbedder().profile.fingerprint
BINDING = Binding(source=["title"], fingerprint=FINGERPRINT, similarity="cosine", index_options={})
CHUNKED = BINDING.model_copy(update={"chunking": Chunking(max_tokens=16, overlap=0)})
GOOD = {"hash": text_hash("red"), "model": FINGERPRINT.id, "status": "ready"}


def hit(source: dict[str, Any], *, vector: bool) -> dict[str, Any]:
    matched = [HAS_VECTOR] if vector else []
    place = {"_index": "i", "_id": "1", "_seq_no": 7, "_primary_term": 2}
    return {**place, "_source": source, "matched_queries": matched}


@pytest.mark.parametrize(
    ("source", "vector", "verdict"),
    [
        ({"title": "red", "semantic": GOOD}, True, Verdict.TRUE),
        ({"title": "red", "semantic": GOOD}, False, Verdict.STALE),
        ({"title": "red", "semantic": {**GOOD, "hash": text_hash("blue")}}, True, Verdict.STALE),
        ({"title": "red", "semantic": {**GOOD, "model": "other"}}, True, Verdict.STALE),
        ({"title": "red", "semantic": {**GOOD, "status": "pending"}}, True, Verdict.STALE),
        ({"title": "red", "semantic": {**GOOD, "status": "failed"}}, False, Verdict.FAILED),
        ({"title": "red", "semantic": {**GOOD, "status": "failed", "model": "other"}}, False, Verdict.STALE),
        ({"title": "blue", "semantic": {**GOOD, "status": "failed"}}, False, Verdict.STALE),
        ({"title": "", "semantic": {**GOOD, "status": "failed"}}, False, Verdict.EMPTY),
        ({"title": "red"}, False, Verdict.STALE),
        ({"title": "red", "semantic": "the owner's own"}, False, Verdict.FOREIGN),
        ({"title": "red", "semantic": {**GOOD, "note": "the owner's own"}}, False, Verdict.FOREIGN),
        ({"title": "red", "semantic": []}, False, Verdict.FOREIGN),
        ({"title": "red", "semantic": {}}, False, Verdict.STALE),
        ({"title": "red", "semantic": None}, False, Verdict.STALE),
        ({"title": " \n"}, False, Verdict.EMPTY),
        ({}, False, Verdict.EMPTY),
        ({"semantic": {"hash": text_hash(""), "status": "empty"}}, False, Verdict.TRUE),
        ({"semantic": {"hash": text_hash(""), "status": "empty"}}, True, Verdict.EMPTY),
        ({"semantic": {"hash": text_hash("red"), "status": "empty"}}, False, Verdict.EMPTY),
    ],
)
def test_the_verdict_on_a_document(source: dict[str, Any], vector: bool, verdict: Verdict) -> None:
    assert read_document(hit(source, vector=vector), BINDING, "semantic").verdict is verdict


@pytest.mark.parametrize(
    ("matched", "verdict"),
    [
        ([HAS_VECTOR], Verdict.TRUE),
        ([HAS_VECTOR, LACKS_VECTOR], Verdict.STALE),
        ([LACKS_VECTOR], Verdict.STALE),
        ([], Verdict.STALE),
    ],
)
def test_one_chunk_without_its_vector_makes_a_document_stale(matched: list[str], verdict: Verdict) -> None:
    found = {**hit({"title": "red", "semantic": {**GOOD, "model": CHUNKED.stamp}}, vector=False)}
    assert read_document({**found, "matched_queries": matched}, CHUNKED, "semantic").verdict is verdict
    assert CHUNKED.stamp != BINDING.stamp


def test_a_hit_without_source_is_a_document_without_text() -> None:
    assert read_document({**hit({}, vector=False), "_source": None}, BINDING, "semantic").verdict is Verdict.EMPTY


def test_why_a_document_has_failed_is_read_where_it_is_marked_so() -> None:
    failed = {**GOOD, "status": "failed", "error": "refused"}
    assert (
        read_document(hit({"title": "red", "semantic": failed}, vector=False), BINDING, "semantic").error == "refused"
    )
    assert read_document(hit({"title": "blue", "semantic": failed}, vector=False), BINDING, "semantic").error == ""


def read() -> Document:
    return read_document({**hit({"title": "red"}, vector=False), "_routing": "r"}, BINDING, "semantic")


def vectors(*rows: list[float]) -> Vectors:
    return np.array(rows, dtype=np.float32)


def test_a_vector_is_written_only_over_the_version_that_was_read() -> None:
    lines = Updates("semantic", BINDING).ready(read(), vectors([0.25, -1.5]), [(0, 3)], base64=True)
    action, body = map(orjson.loads, lines)
    assert action == {"update": {"_index": "i", "_id": "1", "if_seq_no": 7, "if_primary_term": 2, "routing": "r"}}
    state = body["doc"]["semantic"]
    assert decode_vector(state["vector"]).tolist() == [0.25, -1.5]
    assert (state["status"], state["hash"], state["model"], state["error"]) == (
        "ready",
        text_hash("red"),
        FINGERPRINT.id,
        None,
    )


def test_older_servers_get_lists() -> None:
    lines = Updates("semantic", BINDING).ready(read(), vectors([0.25, -1.5]), [(0, 3)], base64=False)
    assert orjson.loads(lines[1])["doc"]["semantic"]["vector"] == [0.25, -1.5]


def test_chunks_are_written_with_their_place_in_the_text() -> None:
    lines = Updates("semantic", CHUNKED).ready(read(), vectors([1, 0], [0, 1]), [(0, 2), (1, 3)], base64=False)
    state = orjson.loads(lines[1])["doc"]["semantic"]
    assert "vector" not in state
    assert state["model"] == CHUNKED.stamp
    assert state["chunks"] == [
        {"start": 0, "end": 2, "vector": [1, 0]},
        {"start": 1, "end": 3, "vector": [0, 1]},
    ]


@pytest.mark.parametrize(("binding", "holder"), [(BINDING, "vector"), (CHUNKED, "chunks")])
def test_marks_take_an_old_vector_away(binding: Binding, holder: str) -> None:
    updates = Updates("s", binding)
    for status, lines in (
        ("empty", updates.empty(read())),
        ("failed", updates.failed(read(), "why")),
        ("pending", updates.pending(read())),
    ):
        state = orjson.loads(lines[1])["doc"]["s"]
        assert holder in state
        assert (state[holder], state["status"]) == (None, status)
        assert state["error"] == ("why" if status == "failed" else None)


def test_a_document_that_is_queued_again_counts_as_stale() -> None:
    state = orjson.loads(Updates("semantic", BINDING).pending(read())[1])["doc"]["semantic"]
    found = hit({"title": "red", "semantic": state}, vector=False)
    assert read_document(found, BINDING, "semantic").verdict is Verdict.STALE


@pytest.mark.parametrize("binding", [BINDING, CHUNKED])
def test_no_vector_travels_when_reading(binding: Binding) -> None:
    body = search_body(binding, "semantic", [])
    excluded = ["semantic.vector", "semantic.chunks"]
    assert body["_source"] == {"includes": ["title", "semantic"], "excludes": excluded}


def test_a_page_goes_on_after_the_last_and_is_no_larger_than_the_index_allows() -> None:
    request = page_request(PointInTime("i", "pit", max_size=50), {"query": {}}, size=256, after=[3])
    assert isinstance(request.body, dict)
    assert (request.body["size"], request.body["search_after"]) == (50, [3])
    assert index({}, max_result_window="50").max_result_window == 50
    assert index({}).max_result_window == 10_000
