"""Models behind HTTP: what is sent and what is read.

The bodies are those of the public API references of OpenAI ("Create embeddings") and Ollama ("Generate Embeddings"). A
real server answers in ``tests/contracts``.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from es_semantic.config import OllamaModel, OpenAIModel
from es_semantic.embedding import load_embedder, openai
from es_semantic.embedding.ollama import OllamaEmbedder
from es_semantic.embedding.openai import OpenAIEmbedder
from es_semantic.errors import BadVector, ModelUnavailable
from tests.unit.http_answers import (
    KEY,
    OLLAMA,
    OPENAI,
    Answering,
    Scripted,
    embedder_on,
    lengths,
    little_endian,
    ollama_answer,
    openai_answer,
    row,
)

# What is sent.


def test_openai_is_asked_for_base64() -> None:
    embedder, transport = embedder_on(httpx.Response(200, json=openai_answer([row(0, [1.0, 2.0])])))
    embedder.embed_documents(["The food was delicious and the waiter..."])
    (request,) = transport.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.openai.com/v1/embeddings")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert transport.bodies == [
        {
            "model": "text-embedding-3-small",
            "input": ["The food was delicious and the waiter..."],
            "encoding_format": "base64",
        }
    ]


def test_openai_is_asked_for_dimensions_only_where_they_are_set() -> None:
    assert "dimensions" not in openai.request_body(OPENAI, ["a"])
    shorter = OPENAI.model_copy(update={"dimensions": 256})
    assert openai.request_body(shorter, ["a"])["dimensions"] == 256


@pytest.mark.parametrize("key", [None, SecretStr("")])
def test_a_server_without_a_key_gets_no_authorization_header(key: SecretStr | None) -> None:
    transport = Answering(lengths)
    seen: list[httpx.Request] = []

    class Watching(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return transport.handle_request(request)

    settings = OpenAIModel(provider="openai", name="local", url="http://localhost:8000/v1", api_key=key)
    OpenAIEmbedder(settings, transport=Watching()).embed_documents(["a"])
    assert "authorization" not in seen[0].headers


def test_ollama_is_asked_not_to_cut() -> None:
    transport = Scripted(httpx.Response(200, json=ollama_answer([[0.1, 0.2], [0.3, 0.4]])))
    OllamaEmbedder(OLLAMA, transport=transport).embed_documents(["Why is the sky blue?", "Why is the grass green?"])
    (request,) = transport.requests
    assert (request.method, str(request.url)) == ("POST", "http://localhost:11434/api/embed")
    assert transport.bodies == [
        {
            "model": "all-minilm",
            "input": ["Why is the sky blue?", "Why is the grass green?"],
            "truncate": False,
        }
    ]


def test_prompts_go_before_each_text() -> None:
    transport = Answering(lengths)
    settings = OPENAI.model_copy(update={"document_prompt": "passage: ", "query_prompt": "query: "})
    embedder = OpenAIEmbedder(settings, transport=transport)
    embedder.embed_documents(["a"])
    embedder.embed_queries(["a"])
    assert [body["input"] for body in transport.bodies] == [["passage: a"], ["query: a"]]


def test_a_lone_surrogate_is_sent_as_a_question_mark() -> None:
    transport = Answering(lengths)
    OpenAIEmbedder(OPENAI, transport=transport).embed_documents(["a\ud800b"])
    assert transport.bodies[0]["input"] == ["a?b"]


def test_many_texts_go_in_batches_and_come_back_in_order() -> None:
    transport = Answering(lengths)
    texts = ["x" * (1 + i * 7 % 23) for i in range(23)]
    embedder = OpenAIEmbedder(OPENAI.model_copy(update={"batch_size": 5}), transport=transport)
    vectors = embedder.embed_documents(texts).vectors
    assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert [len(body["input"]) for body in transport.bodies] == [5, 5, 5, 5, 3]


def test_no_texts_send_nothing() -> None:
    embedder, transport = embedder_on(httpx.Response(500))
    assert embedder.embed_documents([]).vectors.shape == (0, 0)
    assert transport.requests == []


def test_making_an_embedder_sends_nothing_and_its_profile_sends_the_probe_once() -> None:
    transport = Answering(lengths)
    embedder = OpenAIEmbedder(OPENAI, transport=transport)
    assert transport.bodies == []
    profile = embedder.profile
    assert embedder.profile is profile
    assert len(transport.bodies) == 1
    assert (profile.dims, profile.similarity, profile.max_tokens) == (2, "cosine", None)
    assert (profile.fingerprint.provider, profile.fingerprint.model) == ("openai", "text-embedding-3-small")


@pytest.mark.parametrize(("settings", "kind"), [(OPENAI, OpenAIEmbedder), (OLLAMA, OllamaEmbedder)])
def test_loading_chooses_the_provider_and_sends_nothing(settings: OpenAIModel | OllamaModel, kind: type) -> None:
    assert isinstance(load_embedder(settings), kind)


def test_one_embedder_serves_many_threads() -> None:
    embedder = OpenAIEmbedder(OPENAI, transport=Answering(lengths))

    def embed(size: int) -> list[float]:
        column: list[float] = embedder.embed_documents(["x" * size] * 3).vectors[:, 0].tolist()
        return column

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(embed, range(1, 65))) == [[float(size)] * 3 for size in range(1, 65)]


# What is read.


def _read(*rows: dict[str, Any]) -> list[list[float]]:
    return [np.asarray(vector).tolist() for vector in openai.parse_response(openai_answer(list(rows)))]


def test_openai_answers_with_base64_of_little_endian_numbers() -> None:
    assert little_endian(1, -2) == "AACAPwAAAMA="
    assert _read(row(0, "AACAPwAAAMA="), row(1, little_endian(0.5, 0.25))) == [[1, -2], [0.5, 0.25]]


def test_a_server_that_ignores_the_format_answers_with_lists() -> None:
    assert _read(row(0, [1.0, -2]), row(1, [0.5, 0.25])) == [[1, -2], [0.5, 0.25]]


def test_rows_are_ordered_by_index() -> None:
    assert _read(row(2, [3]), row(0, [1]), row(1, [2])) == [[1], [2], [3]]


@pytest.mark.parametrize(
    "indexes", [(0, 0), (1, 2), (0, 2), (-1, 0), (0, None), (0, "1"), (0, 1.0), (False, True)], ids=str
)
def test_an_index_that_is_missing_repeated_or_no_whole_number_is_refused(indexes: tuple[Any, Any]) -> None:
    with pytest.raises(BadVector, match="lacks, skips or repeats an index"):
        _read(*(row(index, [1.0]) for index in indexes))


def test_a_row_without_an_index_is_refused() -> None:
    with pytest.raises(BadVector, match="lacks, skips or repeats an index"):
        _read({"object": "embedding", "embedding": [1.0]})


WRONG_OPENAI: dict[str, Any] = {
    "no data": {"object": "list"},
    "an error with status 200": {"error": {"message": "overloaded"}},
    "null": {"data": None},
    "an object": {"data": {"0": [1.0]}},
    "rows that are lists": {"data": [[1.0, 2.0]]},
    "rows without an embedding": {"data": [{"index": 0}]},
    "no rows": openai_answer([]),
    "too few rows": openai_answer([row(0, [1.0, 2.0])]),
    "too many rows": openai_answer([row(i, [1.0, 2.0]) for i in range(3)]),
    "null as a vector": openai_answer([row(0, None), row(1, [1.0])]),
    "an object as a vector": openai_answer([row(0, {"a": 1}), row(1, {"a": 1})]),
    "a matrix as a vector": openai_answer([row(i, [[1.0, 2.0]]) for i in range(2)]),
    "words as a vector": openai_answer([row(i, ["one", KEY]) for i in range(2)]),
    "sizes that differ": openai_answer([row(0, [1.0, 2.0]), row(1, [1.0])]),
    "no base64": openai_answer([row(0, KEY), row(1, KEY)]),
    "base64 of half a number": openai_answer([row(0, "AACA"), row(1, "AACA")]),
    "base64 of nothing": openai_answer([row(0, ""), row(1, "")]),
    "a whole number too large for any float": openai_answer([row(i, [10**400, 1]) for i in range(2)]),
    "a number too large for float32": openai_answer([row(i, [1e39, 1]) for i in range(2)]),
    "zeros": openai_answer([row(i, [0, 0]) for i in range(2)]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("answer", WRONG_OPENAI.values(), ids=WRONG_OPENAI)
def test_an_answer_that_is_not_openais_is_a_bad_vector(answer: dict[str, Any]) -> None:
    embedder, _ = embedder_on(httpx.Response(200, content=json.dumps(answer)))
    with pytest.raises(BadVector) as caught:
        embedder.embed_documents(["a", "b"])
    assert KEY not in str(caught.value)


def test_nan_in_an_answer_is_a_bad_vector() -> None:
    embedder, _ = embedder_on(httpx.Response(200, content=json.dumps(openai_answer([row(0, [float("nan")])]))))
    with pytest.raises(BadVector, match="NaN"):
        embedder.embed_documents(["a"])


def test_ollama_answers_with_lists_in_the_order_of_the_request() -> None:
    golden = ollama_answer([[0.010071029, -0.0017594862], [-0.0098027075, 0.06042469]])
    vectors = OllamaEmbedder(OLLAMA, transport=Scripted(httpx.Response(200, json=golden))).embed_documents(["b", "a"])
    assert np.allclose(vectors.vectors, golden["embeddings"])


WRONG_OLLAMA: dict[str, Any] = {
    "the answer of the old /api/embeddings": {"embedding": [0.1, 0.2]},
    "null": ollama_answer(None),
    "no vectors": ollama_answer([]),
    "too few vectors": ollama_answer([[0.1, 0.2]]),
    "a flat list": ollama_answer([0.1, 0.2]),
    "sizes that differ": ollama_answer([[0.1, 0.2], [0.1]]),
    "words": ollama_answer([["a", "b"], ["c", "d"]]),
    "zeros": ollama_answer([[0, 0], [0, 0]]),
}


@pytest.mark.parametrize("answer", WRONG_OLLAMA.values(), ids=WRONG_OLLAMA)
def test_an_answer_that_is_not_ollamas_is_a_bad_vector(answer: dict[str, Any]) -> None:
    embedder = OllamaEmbedder(OLLAMA, transport=Scripted(httpx.Response(200, json=answer)))
    with pytest.raises(BadVector):
        embedder.embed_documents(["a", "b"])


NOT_OBJECTS = {
    "HTML": b"<html>It works!</html>",
    "nothing": b"",
    "a list": b"[[1.0, 2.0]]",
    "null": b"null",
    "half of an object": b'{"data": [',
    "not UTF-8": b'{"data": "\xff"}',
    "brackets without end": b"[" * 200_000,
}


@pytest.mark.parametrize("content", NOT_OBJECTS.values(), ids=NOT_OBJECTS)
def test_an_answer_that_is_no_json_object_means_a_wrong_address(content: bytes) -> None:
    embedder, _ = embedder_on(httpx.Response(200, content=content))
    with pytest.raises(ModelUnavailable, match="not a JSON object") as caught:
        embedder.embed_documents(["a"])
    assert "models.*.url" in caught.value.hint


def test_an_answer_that_cannot_be_decompressed_means_a_wrong_address() -> None:
    broken = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))
    embedder, transport = embedder_on(broken)
    with pytest.raises(ModelUnavailable, match="DecodingError"):
        embedder.embed_documents(["a"])
    assert len(transport.requests) == 1


def test_vectors_must_keep_the_size_that_was_asked_for() -> None:
    transport = Scripted(httpx.Response(200, json=openai_answer([row(0, [1.0, 2.0])])))
    embedder = OpenAIEmbedder(OPENAI.model_copy(update={"dimensions": 3}), transport=transport)
    with pytest.raises(BadVector, match=r"shape \(1, 2\), wanted \(1, 3\)"):
        embedder.embed_documents(["a"])


def test_vectors_must_keep_the_size_of_the_probe() -> None:
    first = httpx.Response(200, json=openai_answer([row(0, [1.0, 2.0])]))
    embedder, _ = embedder_on(first, httpx.Response(200, json=openai_answer([row(0, [1.0])])))
    assert embedder.profile.dims == 2
    with pytest.raises(BadVector, match=r"shape \(1, 1\), wanted \(1, 2\)"):
        embedder.embed_documents(["a"])


def test_a_model_that_refuses_even_the_probe_is_unavailable() -> None:
    said = {"error": {"message": "This model does not support specifying dimensions."}}
    embedder, _ = embedder_on(httpx.Response(400, json=said))
    with pytest.raises(ModelUnavailable, match="does not support specifying dimensions"):
        _ = embedder.profile
