"""Which documents need a vector, and what is written: without a server."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from es_semantic.embedding.encoding import decode_vector
from es_semantic.schema.binding import Binding
from es_semantic.schema.text import text_hash
from es_semantic.sync.documents import (
    HAS_VECTOR,
    Document,
    Verdict,
    empty_update,
    failed_update,
    page_body,
    read_document,
    ready_update,
)
from es_semantic.sync.pit import page
from tests.embedder import TinyEmbedder
from tests.schema_targets import index

FINGERPRINT = TinyEmbedder().profile.fingerprint
BINDING = Binding(source=["title"], fingerprint=FINGERPRINT, similarity="cosine", index_options={})
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
        ({"title": "red", "semantic": {**GOOD, "status": "failed"}}, False, Verdict.STALE),
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


def test_a_hit_without_source_is_a_document_without_text() -> None:
    assert read_document({**hit({}, vector=False), "_source": None}, BINDING, "semantic").verdict is Verdict.EMPTY


def read() -> Document:
    return read_document({**hit({"title": "red"}, vector=False), "_routing": "r"}, BINDING, "semantic")


def test_a_vector_is_written_only_over_the_version_that_was_read() -> None:
    vector = np.array([0.25, -1.5], dtype=np.float32)
    action, body = map(orjson.loads, ready_update(read(), vector, "model", name="semantic", base64=True))
    assert action == {"update": {"_index": "i", "_id": "1", "if_seq_no": 7, "if_primary_term": 2, "routing": "r"}}
    state = body["doc"]["semantic"]
    assert decode_vector(state["vector"]).tolist() == [0.25, -1.5]
    assert (state["status"], state["hash"], state["model"], state["error"]) == (
        "ready",
        text_hash("red"),
        "model",
        None,
    )


def test_older_servers_get_lists() -> None:
    vector = np.array([0.25, -1.5], dtype=np.float32)
    _, body = map(orjson.loads, ready_update(read(), vector, "model", name="semantic", base64=False))
    assert body["doc"]["semantic"]["vector"] == [0.25, -1.5]


def test_marks_take_an_old_vector_away() -> None:
    for lines in (empty_update(read(), "m", name="s"), failed_update(read(), "m", "why", name="s")):
        state = orjson.loads(lines[1])["doc"]["s"]
        assert "vector" in state
        assert state["vector"] is None


def test_no_vector_travels_when_reading() -> None:
    body = page_body(BINDING, "semantic")
    assert body["_source"] == {"includes": ["title", "semantic"], "excludes": ["semantic.vector"]}


def test_a_page_goes_on_after_the_last_and_is_no_larger_than_the_index_allows() -> None:
    request = page("pit", {"query": {}}, size=256, after=[3], max_size=50, about="i")
    assert isinstance(request.body, dict)
    assert (request.body["size"], request.body["search_after"]) == (50, [3])
    assert index({}, max_result_window="50").max_result_window == 50
    assert index({}).max_result_window == 10_000
