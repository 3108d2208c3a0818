"""Models behind HTTP: what an error may say."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from es_semantic.config import OpenAIModel
from es_semantic.embedding.http import JsonPoster
from es_semantic.embedding.openai import OpenAIEmbedder
from es_semantic.embedding.protocol import Embedder
from es_semantic.errors import EsSemanticError, InputRejected, ModelUnavailable
from tests.unit.http_answers import (
    GOOD,
    KEY,
    OPENAI,
    Poster,
    Scripted,
    embedder_on,
)

ECHOES: dict[str, Any] = {
    "OpenAI's form": {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}},
    "a plain string": {"error": f"bad key {KEY}"},
    "FastAPI's form": {"detail": [{"loc": ["header"], "msg": "bad", "input": f"Bearer {KEY}"}]},
    "another form": {"request": {"headers": {"authorization": f"Bearer {KEY}"}}},
    "text": f"your key {KEY} is wrong",
    "the key across the place where long texts are cut": "x" * 280 + KEY,
    "an empty error": {"error": None, "key": KEY},
}


def _texts_of(error: BaseException) -> Iterator[str]:
    yield str(error)
    yield repr(error)
    yield "".join(traceback.format_exception(error))


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_no_error_repeats_the_key_that_the_server_echoes(status: int, echo: Any) -> None:
    response = httpx.Response(status, text=echo) if isinstance(echo, str) else httpx.Response(status, json=echo)
    with pytest.raises(EsSemanticError) as caught:
        Poster(Scripted(response), max_retries=1).post({})
    for text in _texts_of(caught.value):
        assert KEY not in text
        assert KEY[:12] not in text


def test_no_error_repeats_a_key_from_the_network_library() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        Poster(Scripted(httpx.ConnectError(f"proxy says {KEY}")), max_retries=1).post({})
    assert all(KEY not in text for text in _texts_of(caught.value))


@pytest.mark.parametrize("embedder", [OpenAIEmbedder(OPENAI), Poster(Scripted(GOOD)), OPENAI])
def test_no_object_shows_the_key(embedder: Embedder | JsonPoster | OpenAIModel) -> None:
    shown = f"{embedder!r} {embedder} {[repr(value) for value in vars(embedder).values()]}"
    assert KEY not in shown


@pytest.mark.parametrize("key", ["sk-\u00fc", "sk-123\n", "sk 123", "sk-\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    settings = OPENAI.model_copy(update={"api_key": SecretStr(key)})
    with pytest.raises(ModelUnavailable, match="api_key holds a character") as caught:
        OpenAIEmbedder(settings)
    assert all(key not in text and repr(key) not in text for text in _texts_of(caught.value))


def test_a_huge_error_page_is_cut_to_one_short_line() -> None:
    page = "<html>\r\n\t\x1b[31mBad   Gateway\x00\u2028" + "x" * 5_000_000
    with pytest.raises(ModelUnavailable) as caught:
        Poster(Scripted(httpx.Response(502, text=page)), max_retries=0).post({})
    assert len(caught.value.what) < 400
    assert caught.value.what.isprintable()
    assert "HTTP 502: <html> [31mBad Gateway xxx" in caught.value.what


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "This model's maximum context length is 8192 tokens", "code": None}}),
        (400, {"error": "the input length exceeds the context length"}),
        (413, {"error": "Payload too large", "error_type": "validation"}),
        (422, {"detail": [{"loc": ["body", "input"], "msg": "too long"}]}),
    ],
    ids=["OpenAI", "Ollama", "text-embeddings-inference", "FastAPI"],
)
def test_an_over_long_text_is_the_texts_fault(status: int, body: dict[str, Any]) -> None:
    embedder, transport = embedder_on(httpx.Response(status, json=body))
    with pytest.raises(InputRejected, match="refuses the input") as caught:
        embedder.embed_documents(["word " * 100_000])
    assert any(word in caught.value.what for word in ("context length", "too large", "too long"))
    assert len(transport.requests) == 1
