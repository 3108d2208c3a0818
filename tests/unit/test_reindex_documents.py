"""Documents on their way: whole, byte for byte what they were, and with vectors only where these are true."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.embedding.chunking import Chunking
from es_semantic.embedding.encoding import decode_vector, encode_vector
from es_semantic.reindex.document import FOREIGN, NOT_FINITE, Whole, encode, index_item, new_state, with_field
from es_semantic.schema.text import text_hash
from es_semantic.sync.documents import Verdict
from es_semantic.sync.embed import Embedded
from tests.schema_targets import binding

BOUND = binding("title")
READER = Whole("semantic", BOUND, vectors_hidden=True, base64=True)
VECTOR = np.arange(BOUND.fingerprint.dims, dtype=np.float32)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=4)


@given(objects, st.text(min_size=1), st.one_of(st.none(), values))
def test_a_field_is_put_into_an_object_as_json_would_have_it(source: dict[str, Any], name: str, value: Any) -> None:
    source.pop(name, None)
    assert with_field(encode(source), name, None) == encode(source)
    assert json.loads(with_field(encode(source), name, encode({"v": value}))) == {**source, name: {"v": value}}


def hit(source: Any, **more: Any) -> dict[str, Any]:
    return {"_id": "1", "_version": 3, "_source": source, **more}


def state(**more: Any) -> dict[str, Any]:
    ready = {"status": "ready", "hash": text_hash("red"), "model": BOUND.stamp, "vector": VECTOR.tolist()}
    return {**ready, **more}


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ({"title": "red", "semantic": state()}, Verdict.TRUE),
        ({"title": "red", "semantic": state(vector=encode_vector(VECTOR))}, Verdict.TRUE),
        ({"title": "red"}, Verdict.STALE),
        ({"title": "blue", "semantic": state()}, Verdict.STALE),
        ({"title": "red", "semantic": state(model="another")}, Verdict.STALE),
        ({"title": "red", "semantic": state(vector=None)}, Verdict.STALE),
        ({"title": "red", "semantic": state(status="failed", vector=None)}, Verdict.STALE),
        ({"title": "red", "semantic": state(status="pending")}, Verdict.STALE),
        ({"title": " "}, Verdict.EMPTY),
        ({}, Verdict.EMPTY),
        (None, Verdict.EMPTY),
        ({"title": "red", "semantic": "mine"}, Verdict.FOREIGN),
        ({"title": "red", "semantic": {"mine": 1}}, Verdict.FOREIGN),
        ({"title": "red", "semantic.vector": [1]}, Verdict.FOREIGN),
        ({"title": "red", "n": float("inf")}, Verdict.FOREIGN),
    ],
)
def test_only_true_vectors_are_kept(source: Any, verdict: Verdict) -> None:
    copied = READER.read(hit(source, _routing="r"))
    assert copied.verdict is verdict
    assert copied.place == ("1", "r")
    assert (copied.state is not None) == (verdict is Verdict.TRUE)
    assert bool(copied.reason) == (verdict is Verdict.FOREIGN)
    if verdict is not Verdict.FOREIGN:
        assert json.loads(copied.body) == {k: v for k, v in (source or {}).items() if k != "semantic"}
    if copied.state is not None:
        assert (decode_vector(orjson.loads(copied.state)["vector"]) == VECTOR).all()


def test_why_a_document_is_not_copied_is_said() -> None:
    assert READER.read(hit({"semantic": "mine"})).reason == FOREIGN.format(name="semantic")
    assert READER.read(hit({"n": [float("-inf")]})).reason == NOT_FINITE


def test_chunks_are_kept_where_each_has_its_vector() -> None:
    bound = BOUND.model_copy(update={"chunking": Chunking(max_tokens=64, overlap=8)})
    reader = Whole("semantic", bound, vectors_hidden=True, base64=False)
    chunk = {"start": 0, "end": 3, "vector": VECTOR.tolist()}
    held = {"status": "ready", "hash": text_hash("red"), "model": bound.stamp, "chunks": [chunk]}
    kept = reader.read(hit({"title": "red", "semantic": held}))
    assert kept.verdict is Verdict.TRUE
    assert orjson.loads(kept.state or b"")["chunks"] == [chunk]
    for chunks in ([], None, "x", [{"start": 0, "end": 3}], [chunk, {"start": 1, "end": 3, "vector": None}]):
        assert reader.read(hit({"title": "red", "semantic": {**held, "chunks": chunks}})).verdict is Verdict.STALE


def test_without_a_binding_the_field_is_left_out() -> None:
    copied = Whole("semantic", None, vectors_hidden=True, base64=True).read(hit({"a": 1, "semantic": state()}))
    assert (copied.body, copied.state, copied.verdict) == (b'{"a":1}', None, Verdict.TRUE)


def test_a_document_goes_under_its_version_and_past_pipelines() -> None:
    copied = READER.read(hit({"title": "red"}, _routing="r"))
    action, body = index_item("alias", copied, "semantic", b'{"status":"ready"}')
    assert orjson.loads(action)["index"] == {
        "_index": "alias",
        "_id": "1",
        "routing": "r",
        "version": 3,
        "version_type": "external_gte",
        "pipeline": "_none",
        "require_alias": True,
    }
    assert orjson.loads(body) == {"title": "red", "semantic": {"status": "ready"}}
    over = {"_seq_no": 7, "_primary_term": 2}
    replacing = orjson.loads(index_item("alias", copied, "semantic", None, over=over)[0])["index"]
    assert (replacing["if_seq_no"], replacing["if_primary_term"]) == (7, 2)
    assert not {"version", "version_type"} & replacing.keys()
    assert "version" not in orjson.loads(index_item("alias", copied, "semantic", None, over={})[0])["create"]


def test_new_states() -> None:
    copied = READER.read(hit({"title": "red"}))
    ready = orjson.loads(new_state(copied, Embedded(VECTOR[None, :], [(0, 3)]), BOUND, base64=True))
    assert (ready["status"], ready["hash"], ready["model"]) == ("ready", text_hash("red"), BOUND.stamp)
    assert (decode_vector(ready["vector"]) == VECTOR).all()
    failed = orjson.loads(new_state(copied, Embedded(None, reason="too long"), BOUND, base64=True))
    assert (failed["status"], failed["error"]) == ("failed", "too long")
    assert "vector" not in failed
    assert orjson.loads(new_state(copied, None, BOUND, base64=True))["status"] == "empty"
