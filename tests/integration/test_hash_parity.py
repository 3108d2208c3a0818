"""The pipeline inside Elasticsearch and es_semantic.schema.text agree on every document, to the byte.

Each example is a batch of documents indexed for real: ``_ingest/pipeline/_simulate`` refuses integers beyond 64 bits,
and only a stored document shows that ``sync``, which reads what is stored, finds the same text again. Examples are
derandomized, so that a failure is repeated by running the test again: 100 batches of 25 to 60 documents.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_semantic.schema import render
from es_semantic.schema.text import is_blank, source_text, text_hash
from tests.nodes import remove_everything
from tests.schema_targets import binding, bindings

FIELDS = ["title", "a.b", "a.b.c", "x.y"]
BATCHES = 100
NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}

any_text = st.text(st.characters(codec=None, categories=None), max_size=20)
telling_text = st.sampled_from(
    ["", " ", "\x00\t\x1f ", "\x7f", "\u00a0", "\u2028", "\ud800", "\udc00\ud800", "\U0001f600"]
)
numbers = st.one_of(
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False),
    st.sampled_from([-0.0, 5e-324, 1.5e-323, 1e22, 1e23, 2e23, 1e308, 1e-7, 0.1, 2**63, -(2**63) - 1, 2**53 + 1.0]),
)
# Written as the JSON number itself: forms that Python would never choose.
odd_numbers = st.sampled_from(["1E5", "1.50", "-0", "-0.0e3", "1e400", "-1e400", "123.456e-2", "0.1000000000000000055"])
leaves = st.one_of(any_text, telling_text, numbers, odd_numbers.map("\x00number {}".format), st.booleans(), st.none())
keys = st.sampled_from(["b", "c", "b.c", "y", "other"])
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=12,
)
top_keys = st.sampled_from(["title", "a", "a.b", "a.b.c", "x", "x.y", "unused"])
documents = st.dictionaries(top_keys, values, max_size=5)


def as_json(document: dict[str, Any]) -> str:
    """JSON text with surrogates as escapes, and the odd numbers unquoted."""
    text = json.dumps(document)
    for odd in ("1E5", "1.50", "-0", "-0.0e3", "1e400", "-1e400", "123.456e-2", "0.1000000000000000055"):
        text = text.replace(f'"\\u0000number {odd}"', odd)
    return text.replace("-Infinity", "-1e400").replace("Infinity", "1e400")


@pytest.fixture(scope="module")
def index(client: Elasticsearch) -> Iterator[str]:
    """An index that maps nothing, so that it takes any document, and runs the pipeline on all of them."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.ingest.put_pipeline(id=name, body=render.pipeline(name, bindings(semantic=binding(*FIELDS))))
    client.indices.create(
        index=name,
        mappings={"enabled": False},
        settings={"number_of_replicas": 0, "index.final_pipeline": name, "refresh_interval": "-1"},
    )
    yield name
    remove_everything(client, name)


def stored(client: Elasticsearch, index: str, texts: list[str]) -> list[dict[str, Any]]:
    """Index these JSON texts and return what Elasticsearch keeps of them."""
    body = "".join(f'{{"index":{{"_id":"{i}"}}}}\n{text}\n' for i, text in enumerate(texts)).encode()
    answer: Any = client.perform_request("POST", f"/{index}/_bulk", headers=NDJSON, body=body).body
    refused = [item["index"]["error"] for item in answer["items"] if "error" in item["index"]]
    assert refused == []
    found = client.mget(index=index, ids=[str(i) for i in range(len(texts))])["docs"]
    return [each["_source"] for each in found]


@settings(
    max_examples=BATCHES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batch=st.lists(documents, min_size=25, max_size=60))
def test_hash_and_status_equal_pythons_for_any_json(
    client: Elasticsearch, index: str, batch: list[dict[str, Any]]
) -> None:
    texts = [as_json(document) for document in batch]
    for text, kept in zip(texts, stored(client, index, texts), strict=True):
        written = json.loads(text)
        expected = source_text(written, FIELDS)
        state = kept.pop("semantic", None)
        assert source_text(kept, FIELDS) == expected, text
        if state is None:
            assert is_blank(expected), text
            continue
        assert state.pop("queued_at")
        status = "empty" if is_blank(expected) else "pending"
        assert state == {"status": status, "hash": text_hash(expected), "vector": None}, text
        assert kept.keys() == written.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"title": "\\ud83d\\ude00 \\ud800"}', "\U0001f600 ?"),
        ('{"title": ["one", [["two"]], {"no": 1}, null, true]}', "one\ntwo\ntrue"),
        ('{"a.b": "dotted", "a": {"b": "object", "b.c": 1.50}}', "object\ndotted\n1.5"),
        ('{"x": [{"y": -0.0}, {"y": 123456789012345678901234567890}]}', "0\n123456789012345678901234567890"),
        ('{"title": 5e-324, "a": {"b": 1e400}}', "0." + 323 * "0" + "49\nInfinity"),
        ('{"title": ' + 500 * "[" + '"deep"' + 500 * "]" + "}", "deep"),
    ],
)
def test_telling_documents(client: Elasticsearch, index: str, text: str, expected: str) -> None:
    (kept,) = stored(client, index, [text])
    assert source_text(kept, FIELDS) == expected
    assert kept["semantic"]["hash"] == text_hash(expected)


def test_a_document_without_any_source_field_is_left_as_it_is(client: Elasticsearch, index: str) -> None:
    assert stored(client, index, ['{"unused": "x", "a": {"other": 1}}']) == [{"unused": "x", "a": {"other": 1}}]
