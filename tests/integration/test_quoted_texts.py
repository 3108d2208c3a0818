"""Whatever a real node says of a text that it cannot take, nothing of the text reaches a reason."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest
from elasticsearch import Elasticsearch

from es_semantic.cluster.failures import document_reason_of
from es_semantic.cluster.steps import run
from es_semantic.masking import masked_reason
from es_semantic.sync import bulk
from tests.nodes import MakeIndex

TYPES: dict[str, dict[str, Any]] = {
    each: {"type": each}
    for each in (
        *("boolean", "byte", "completion", "date", "date_nanos", "date_range", "double", "flattened", "geo_point"),
        *(
            "half_float",
            "integer",
            "integer_range",
            "ip",
            "ip_range",
            "keyword",
            "long",
            "nested",
            "object",
            "sparse_vector",
        ),
    )
}
PROPERTIES: dict[str, dict[str, Any]] = {
    **TYPES,
    "vector": {"type": "dense_vector", "dims": 3},
    "join": {"type": "join", "relations": {"question": "answer"}},
    "day": {"type": "date", "format": "yyyy-MM-dd"},
    "whole": {"type": "text", "analyzer": "keyword"},
}
PIPELINES: dict[str, dict[str, Any]] = {
    "convert": {"convert": {"field": "text", "type": "integer"}},
    "date": {"date": {"field": "text", "formats": ["ISO8601"]}},
    "dissect": {"dissect": {"field": "text", "pattern": "%{a}--never--%{b}"}},
    "script": {"script": {"source": "throw new Exception('seen ' + ctx.text)"}},
    "parse": {"script": {"source": "Integer.parseInt(ctx.text)"}},
}
ALPHABET = "abcdefghijklmnopqrstuvwxyzäéß漢0123456789'\"[](){}:, .-\\"


def texts(generator: random.Random, count: int) -> list[tuple[str, str]]:
    """Each has a word of its own in it, which is looked for afterwards."""
    made = []
    for _ in range(count):
        before, after = ("".join(generator.choices(ALPHABET, k=generator.randint(0, 12))) for _ in range(2))
        marker = "Q7" + "".join(generator.choices("bcdfghjklmnpqrstvwxz", k=10))
        made.append((marker, f"{before}{marker}{after}"))
    return made


def documents(text: str) -> list[dict[str, Any]]:
    """The text where it does not belong, by itself, in a list and in an object."""
    long = text * (40_000 // len(text))
    shapes = [{name: shape} for name in PROPERTIES for shape in (text, [text, text, text], {"x": text}, {"gte": text})]
    return [*shapes, {"keyword": long}, {"whole": long}, {"flattened": {"x": long}}, {"vector": [1, 2, text]}]


def refusals(
    client: Elasticsearch, index: str, sources: list[dict[str, Any]], pipeline: str = "_none"
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for source in sources:
        lines += [{"index": {}}, source]
    answer = client.bulk(index=index, operations=lines, pipeline=pipeline)
    return [item["index"]["error"] for item in answer["items"] if "error" in item["index"]]


def look(marker: str, error: dict[str, Any]) -> bool:
    """Look for the text in the reason, and say whether Elasticsearch has quoted it."""
    kind, reason = document_reason_of(error)
    assert marker not in reason, reason
    numbers = ", ".join(str(byte) for byte in marker.encode())
    assert numbers not in reason, reason
    assert masked_reason(f"{kind}: {reason}") == f"{kind}: {reason}"
    whole = json.dumps(error, ensure_ascii=False)
    return marker in whole or numbers in whole


def test_no_text_that_is_refused_is_in_its_reason(client: Elasticsearch, make_index: MakeIndex) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    index = make_index(PROPERTIES)
    for marker, text in texts(generator, 4):
        errors = refusals(client, index, documents(text))
        quoted = [look(marker, error) for error in errors]
        assert sum(quoted) > 30, "the node quotes it, as the test assumes"
        named = [document_reason_of(error)[1] for error in errors]
        assert sum("failed to parse field [" in reason and "] of type [" in reason for reason in named) > 30


@pytest.mark.parametrize("name", PIPELINES)
def test_no_text_that_the_owners_pipeline_refuses_is_in_its_reason(
    client: Elasticsearch, make_index: MakeIndex, unique: str, name: str
) -> None:
    index, marker = make_index({"text": {"type": "text"}}), "Q7zebraquince"
    client.ingest.put_pipeline(id=unique, processors=[PIPELINES[name]])
    try:
        (error,) = refusals(client, index, [{"text": f"it's [{marker}]"}], pipeline=unique)
        assert look(marker, error)
    finally:
        client.ingest.delete_pipeline(id=unique)


def test_the_outcome_of_a_write_quotes_nothing(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"n": {"type": "integer"}})
    action = orjson.dumps({"index": {"_index": index}})
    (outcome,) = run(client, bulk.write([[action, b'{"n": "my diary"}']]))
    assert outcome.status == 400
    assert outcome.reason.endswith("failed to parse field [n] of type [integer]: [masked]")
