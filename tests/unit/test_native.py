"""Elastic's ``semantic_text`` by our server: what is asked of the server, and the requests to Elasticsearch."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from es_semantic.errors import BadVector, EsSemanticError, ModelUnavailable, UsageError
from es_semantic.native import endpoint as endpoints
from es_semantic.native import index as indices
from es_semantic.native.endpoint import Endpoint
from es_semantic.native.offer import WORDS, Offer, Server, pair
from tests.unit.http_answers import openai_answer, row

KEY = SecretStr("ess_0123456789ab_only-for-tests")
ENDPOINT = Endpoint("es-semantic-articles", "http://host:8600/v1/embeddings", "default", 384, 150)
STORED: dict[str, Any] = {
    "inference_id": "es-semantic-articles",
    "task_type": "text_embedding",
    "service": "openai",
    "service_settings": {
        "model_id": "default",
        "url": "http://host:8600/v1/embeddings",
        "similarity": "cosine",
        "dimensions": 384,
        "rate_limit": {"requests_per_minute": 3000},
    },
    "chunking_settings": {"strategy": "sentence", "max_chunk_size": 150, "sentence_overlap": 1},
}


class Model(httpx.BaseTransport):
    """A server whose model reads the first ``window`` words, and refuses or forgets the rest."""

    def __init__(self, window: int, *, refuses: bool = False, query_prompt: str = "", length: float = 1.0) -> None:
        self.window = window
        self.refuses = refuses
        self.query_prompt = query_prompt
        self.length = length
        self.authorizations: set[str | None] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.authorizations.add(request.headers.get("authorization"))
        body = json.loads(request.content)
        texts = [(self.query_prompt if body["input_type"] == "query" else "") + text for text in body["input"]]
        if self.refuses and any(len(text.split()) > self.window for text in texts):
            return httpx.Response(400, json={"error": {"message": "maximum context length exceeded"}})
        return httpx.Response(200, json=openai_answer([row(i, self.vector(text)) for i, text in enumerate(texts)]))

    def vector(self, text: str) -> list[float]:
        words = text.split()[: self.window]
        total = sum((np.random.default_rng(list(word.encode())).standard_normal(16) for word in words), np.zeros(16))
        vector: list[float] = (total / np.linalg.norm(total) * self.length).tolist()
        return vector


def asked(transport: httpx.BaseTransport, **more: Any) -> Offer:
    return Server("http://host:8600", "default", KEY, transport, lambda _: None, **more).offer()


@pytest.mark.parametrize("refuses", [False, True], ids=["forgets", "refuses"])
@pytest.mark.parametrize(("window", "words"), [(10_000, 250), (250, 250), (246, 150), (120, 100), (56, 40), (5, 20)])
def test_chunks_are_as_long_as_the_window_allows(window: int, words: int, refuses: bool) -> None:
    assert asked(Model(window, refuses=refuses and window >= 20)).words == words


def test_the_server_tells_its_vectors() -> None:
    model = Model(500)
    assert asked(model) == Offer(dims=16, unit_length=True, words=250, alike=True)
    assert model.authorizations == {f"Bearer {KEY.get_secret_value()}"}
    assert not asked(Model(500, query_prompt="query: ")).alike
    assert not asked(Model(500, length=3.0)).unit_length


@pytest.mark.parametrize("words", WORDS)
def test_the_two_texts_differ_in_their_last_words_only(words: int) -> None:
    first, second = (text.split() for text in pair(words))
    assert len(first) == len(second) == words
    assert first[:-4] == second[:-4]
    assert not set(first[-4:]) & set(second[-4:])


@pytest.mark.parametrize(
    ("answer", "error", "said", "hint"),
    [
        (httpx.ConnectError("refused"), ModelUnavailable, "refused", "es-semantic serve"),
        (httpx.Response(503, json={"error": {"message": "busy"}}), ModelUnavailable, "busy", "es-semantic serve"),
        (httpx.Response(401, json={"error": {"message": "no key"}}), ModelUnavailable, "no key", "--scope embed"),
        (httpx.Response(403, json={"error": {"message": "may not"}}), ModelUnavailable, "may not", "scope embed"),
        (httpx.Response(404, json={"detail": "Not Found"}), ModelUnavailable, "Not Found", "without /v1"),
        (httpx.Response(301, headers={"location": "https://host"}), ModelUnavailable, "301", "Redirects"),
        (httpx.Response(400, json={"error": {"message": "no model"}}), UsageError, "no model", "/v1/models"),
        (httpx.Response(200, text="<html>"), ModelUnavailable, "no JSON object", "without /v1"),
        (httpx.Response(200, json={"data": []}), BadVector, "index|array", ""),
        (httpx.Response(200, json=openai_answer([row(0, [0.0, 0.0])])), BadVector, "zero vector", ""),
    ],
)
def test_a_server_of_no_use_is_told(
    answer: httpx.Response | Exception, error: type[EsSemanticError], said: str, hint: str
) -> None:
    class Broken(httpx.BaseTransport):
        def handle_request(self, _: httpx.Request) -> httpx.Response:
            if isinstance(answer, Exception):
                raise answer
            return answer

    with pytest.raises(error, match=said) as caught:
        asked(Broken())
    assert hint in caught.value.hint
    assert KEY.get_secret_value() not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "model", "key"),
    [
        ("host:8600", "default", None),
        ("http://me:secret@host", "default", None),
        ("http://host?key=secret", "default", None),
        ("http://host", " ", None),
        ("http://host", "default", SecretStr("secret\n")),
        ("http://host", "default", SecretStr("sécret")),
    ],
)
def test_what_is_no_server_is_refused_without_asking(url: str, model: str, key: SecretStr | None) -> None:
    with pytest.raises(UsageError) as caught:
        Server(url, model, key)
    assert "secret" not in str(caught.value).lower().replace("es_semantic", "")


def test_the_key_is_in_no_representation() -> None:
    assert KEY.get_secret_value() not in repr(Server("http://host", "default", KEY))


@pytest.mark.parametrize(
    ("index", "id"),
    [
        ("articles", "es-semantic-articles"),
        ("logs.2026+a", "es-semantic-logs-2026-a"),
        ("a_b-c", "es-semantic-a_b-c"),
        ("ends-", "es-semantic-ends"),
        ("日本", "es-semantic"),
    ],
)
def test_every_index_has_an_endpoint_that_elasticsearch_takes(index: str, id: str) -> None:
    assert endpoints.default_id(index) == id
    endpoints.require_id(id)


@pytest.mark.parametrize("id", ["", "-a", "a-", "_a", "A", "a b", "a.b", "a/b", "ä"])
def test_other_endpoints_are_refused(id: str) -> None:
    with pytest.raises(UsageError, match="inference endpoint"):
        endpoints.require_id(id)


@pytest.mark.parametrize("index", ["", "A", "-a", "_a", "+a", ".a", "a*", "a,b", "a/b", "a b", "a#b", "a:b", "a?"])
def test_other_indices_are_refused(index: str) -> None:
    with pytest.raises(UsageError, match="cannot name an index"):
        indices.require_index_name(index)


@pytest.mark.parametrize("fields", [[], ["a", "a"], [""], ["a..b"], [".a"]])
def test_other_fields_are_refused(fields: list[str]) -> None:
    with pytest.raises(UsageError, match="at least one field"):
        indices.require_fields(fields)


def test_an_endpoint_that_is_there_is_compared() -> None:
    assert list(endpoints.differences(ENDPOINT, STORED)) == []
    settings = STORED["service_settings"]
    other = {**STORED, "service_settings": {**settings, "rate_limit": {"requests_per_minute": 9}}}
    assert list(endpoints.differences(ENDPOINT, other)) == []
    for name, value in (("model_id", "large"), ("url", "http://x"), ("similarity", "dot_product"), ("dimensions", 8)):
        other = {**STORED, "service_settings": {**settings, name: value}}
        assert [each.split(":")[0] for each in endpoints.differences(ENDPOINT, other)] == [name]
    assert list(endpoints.differences(ENDPOINT, {**STORED, "service": "cohere"})) == [
        "service: there 'cohere', wanted 'openai'"
    ]
    assert len(list(endpoints.differences(ENDPOINT, {"service": "openai"}))) == 5


def mapping(**field: Any) -> dict[str, Any]:
    made = {"type": "semantic_text", "inference_id": ENDPOINT.id, **field}
    return {"properties": {"meta": {"properties": {"body": made}}, "title": {"type": "keyword"}}}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (mapping(), []),
        (mapping(model_settings={"dimensions": 384}, search_inference_id=ENDPOINT.id), []),
        (mapping(type="text"), ["'meta.body' is text"]),
        (mapping(inference_id="b"), ["'meta.body' is embedded by the endpoint 'b', not by 'es-semantic-articles'"]),
        (mapping(search_inference_id="b"), ["queries of 'meta.body' are embedded by the endpoint 'b'"]),
        (mapping(model_settings={"dimensions": 8}), ["'meta.body' has vectors of 8 dimensions, not of 384"]),
        ({}, ["it has no field 'meta.body'"]),
        ({"properties": {"meta": {"properties": {"body": {"properties": {}}}}}}, ["'meta.body' is object"]),
    ],
)
def test_an_index_that_is_there_is_compared(there: dict[str, Any], said: list[str]) -> None:
    assert list(indices.differences(there, ["meta.body"], ENDPOINT)) == said


def test_the_endpoints_of_a_mapping_are_found_wherever_they_are() -> None:
    assert list(indices.endpoints_of(mapping(search_inference_id="b"))) == [ENDPOINT.id, "b"]
    assert list(indices.endpoints_of({})) == []
