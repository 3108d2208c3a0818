"""Models behind HTTP: what is sent, what is read, what is tried again, and what an error may say.

The bodies are those of the public API references of OpenAI ("Create embeddings") and Ollama ("Generate Embeddings").
The injected transport only injects faults and golden answers; a real server answers in ``tests/contracts``.
"""

from __future__ import annotations

import base64
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from es_semantic.config import OllamaModel, OpenAIModel
from es_semantic.embedding import load_embedder, openai
from es_semantic.embedding.http import JsonPoster, retry_after
from es_semantic.embedding.ollama import OllamaEmbedder
from es_semantic.embedding.openai import OpenAIEmbedder
from es_semantic.embedding.protocol import Embedder
from es_semantic.errors import BadVector, EsSemanticError, InputRejected, ModelUnavailable
from es_semantic.sync.embed import embed_each

KEY = "sk-proj-Zq8+only/for=tests"
OPENAI = OpenAIModel(provider="openai", name="text-embedding-3-small", api_key=SecretStr(KEY), max_retries=0)
OLLAMA = OllamaModel(provider="ollama", name="all-minilm", max_retries=0)

Answer = httpx.Response | Exception


class Scripted(httpx.BaseTransport):
    """Gives the scripted answers in turn, the last one for ever, and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


class Answering(httpx.BaseTransport):
    """Computes the answer from the request's body; safe for threads."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self._turn = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        with self._turn:
            self.bodies.append(body)
        return httpx.Response(200, json=self.answer(body))


def _row(index: int, embedding: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding}


def _openai_answer(rows: list[dict[str, Any]]) -> dict[str, Any]:
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return {"object": "list", "data": rows, "model": "text-embedding-3-small", "usage": usage}


def _ollama_answer(embeddings: Any) -> dict[str, Any]:
    return {
        "model": "all-minilm",
        "embeddings": embeddings,
        "total_duration": 14143917,
        "load_duration": 1019500,
        "prompt_eval_count": 8,
    }


def _little_endian(*values: float) -> str:
    return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()


def _lengths(body: dict[str, Any]) -> dict[str, Any]:
    return _openai_answer([_row(i, [len(text), 1.0]) for i, text in enumerate(body["input"])])


def _embedder(*answers: Answer) -> tuple[OpenAIEmbedder, Scripted]:
    transport = Scripted(*answers)
    return OpenAIEmbedder(OPENAI, transport=transport), transport


# What is sent.


def test_openai_is_asked_for_base64() -> None:
    embedder, transport = _embedder(httpx.Response(200, json=_openai_answer([_row(0, [1.0, 2.0])])))
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
    transport = Answering(_lengths)
    seen: list[httpx.Request] = []

    class Watching(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return transport.handle_request(request)

    settings = OpenAIModel(provider="openai", name="local", url="http://localhost:8000/v1", api_key=key)
    OpenAIEmbedder(settings, transport=Watching()).embed_documents(["a"])
    assert "authorization" not in seen[0].headers


def test_ollama_is_asked_not_to_cut() -> None:
    transport = Scripted(httpx.Response(200, json=_ollama_answer([[0.1, 0.2], [0.3, 0.4]])))
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
    transport = Answering(_lengths)
    settings = OPENAI.model_copy(update={"document_prompt": "passage: ", "query_prompt": "query: "})
    embedder = OpenAIEmbedder(settings, transport=transport)
    embedder.embed_documents(["a"])
    embedder.embed_queries(["a"])
    assert [body["input"] for body in transport.bodies] == [["passage: a"], ["query: a"]]


def test_a_lone_surrogate_is_sent_as_a_question_mark() -> None:
    transport = Answering(_lengths)
    OpenAIEmbedder(OPENAI, transport=transport).embed_documents(["a\ud800b"])
    assert transport.bodies[0]["input"] == ["a?b"]


def test_many_texts_go_in_batches_and_come_back_in_order() -> None:
    transport = Answering(_lengths)
    texts = ["x" * (1 + i * 7 % 23) for i in range(23)]
    embedder = OpenAIEmbedder(OPENAI.model_copy(update={"batch_size": 5}), transport=transport)
    vectors = embedder.embed_documents(texts).vectors
    assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert [len(body["input"]) for body in transport.bodies] == [5, 5, 5, 5, 3]


def test_no_texts_send_nothing() -> None:
    embedder, transport = _embedder(httpx.Response(500))
    assert embedder.embed_documents([]).vectors.shape == (0, 0)
    assert transport.requests == []


def test_making_an_embedder_sends_nothing_and_its_profile_sends_the_probe_once() -> None:
    transport = Answering(_lengths)
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
    embedder = OpenAIEmbedder(OPENAI, transport=Answering(_lengths))

    def embed(size: int) -> list[float]:
        column: list[float] = embedder.embed_documents(["x" * size] * 3).vectors[:, 0].tolist()
        return column

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(embed, range(1, 65))) == [[float(size)] * 3 for size in range(1, 65)]


# What is read.


def _read(*rows: dict[str, Any]) -> list[list[float]]:
    return [np.asarray(vector).tolist() for vector in openai.parse_response(_openai_answer(list(rows)))]


def test_openai_answers_with_base64_of_little_endian_numbers() -> None:
    assert _little_endian(1, -2) == "AACAPwAAAMA="
    assert _read(_row(0, "AACAPwAAAMA="), _row(1, _little_endian(0.5, 0.25))) == [[1, -2], [0.5, 0.25]]


def test_a_server_that_ignores_the_format_answers_with_lists() -> None:
    assert _read(_row(0, [1.0, -2]), _row(1, [0.5, 0.25])) == [[1, -2], [0.5, 0.25]]


def test_rows_are_ordered_by_index() -> None:
    assert _read(_row(2, [3]), _row(0, [1]), _row(1, [2])) == [[1], [2], [3]]


@pytest.mark.parametrize(
    "indexes", [(0, 0), (1, 2), (0, 2), (-1, 0), (0, None), (0, "1"), (0, 1.0), (False, True)], ids=str
)
def test_an_index_that_is_missing_repeated_or_no_whole_number_is_refused(indexes: tuple[Any, Any]) -> None:
    with pytest.raises(BadVector, match="lacks, skips or repeats an index"):
        _read(*(_row(index, [1.0]) for index in indexes))


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
    "no rows": _openai_answer([]),
    "too few rows": _openai_answer([_row(0, [1.0, 2.0])]),
    "too many rows": _openai_answer([_row(i, [1.0, 2.0]) for i in range(3)]),
    "null as a vector": _openai_answer([_row(0, None), _row(1, [1.0])]),
    "an object as a vector": _openai_answer([_row(0, {"a": 1}), _row(1, {"a": 1})]),
    "a matrix as a vector": _openai_answer([_row(i, [[1.0, 2.0]]) for i in range(2)]),
    "words as a vector": _openai_answer([_row(i, ["one", KEY]) for i in range(2)]),
    "sizes that differ": _openai_answer([_row(0, [1.0, 2.0]), _row(1, [1.0])]),
    "no base64": _openai_answer([_row(0, KEY), _row(1, KEY)]),
    "base64 of half a number": _openai_answer([_row(0, "AACA"), _row(1, "AACA")]),
    "base64 of nothing": _openai_answer([_row(0, ""), _row(1, "")]),
    "a whole number too large for any float": _openai_answer([_row(i, [10**400, 1]) for i in range(2)]),
    "a number too large for float32": _openai_answer([_row(i, [1e39, 1]) for i in range(2)]),
    "zeros": _openai_answer([_row(i, [0, 0]) for i in range(2)]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("answer", WRONG_OPENAI.values(), ids=WRONG_OPENAI)
def test_an_answer_that_is_not_openais_is_a_bad_vector(answer: dict[str, Any]) -> None:
    embedder, _ = _embedder(httpx.Response(200, content=json.dumps(answer)))
    with pytest.raises(BadVector) as caught:
        embedder.embed_documents(["a", "b"])
    assert KEY not in str(caught.value)


def test_nan_in_an_answer_is_a_bad_vector() -> None:
    embedder, _ = _embedder(httpx.Response(200, content=json.dumps(_openai_answer([_row(0, [float("nan")])]))))
    with pytest.raises(BadVector, match="NaN"):
        embedder.embed_documents(["a"])


def test_ollama_answers_with_lists_in_the_order_of_the_request() -> None:
    golden = _ollama_answer([[0.010071029, -0.0017594862], [-0.0098027075, 0.06042469]])
    vectors = OllamaEmbedder(OLLAMA, transport=Scripted(httpx.Response(200, json=golden))).embed_documents(["b", "a"])
    assert np.allclose(vectors.vectors, golden["embeddings"])


WRONG_OLLAMA: dict[str, Any] = {
    "the answer of the old /api/embeddings": {"embedding": [0.1, 0.2]},
    "null": _ollama_answer(None),
    "no vectors": _ollama_answer([]),
    "too few vectors": _ollama_answer([[0.1, 0.2]]),
    "a flat list": _ollama_answer([0.1, 0.2]),
    "sizes that differ": _ollama_answer([[0.1, 0.2], [0.1]]),
    "words": _ollama_answer([["a", "b"], ["c", "d"]]),
    "zeros": _ollama_answer([[0, 0], [0, 0]]),
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
    embedder, _ = _embedder(httpx.Response(200, content=content))
    with pytest.raises(ModelUnavailable, match="not a JSON object") as caught:
        embedder.embed_documents(["a"])
    assert "models.*.url" in caught.value.hint


def test_an_answer_that_cannot_be_decompressed_means_a_wrong_address() -> None:
    broken = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))
    embedder, transport = _embedder(broken)
    with pytest.raises(ModelUnavailable, match="DecodingError"):
        embedder.embed_documents(["a"])
    assert len(transport.requests) == 1


def test_vectors_must_keep_the_size_that_was_asked_for() -> None:
    transport = Scripted(httpx.Response(200, json=_openai_answer([_row(0, [1.0, 2.0])])))
    embedder = OpenAIEmbedder(OPENAI.model_copy(update={"dimensions": 3}), transport=transport)
    with pytest.raises(BadVector, match=r"shape \(1, 2\), wanted \(1, 3\)"):
        embedder.embed_documents(["a"])


def test_vectors_must_keep_the_size_of_the_probe() -> None:
    first = httpx.Response(200, json=_openai_answer([_row(0, [1.0, 2.0])]))
    embedder, _ = _embedder(first, httpx.Response(200, json=_openai_answer([_row(0, [1.0])])))
    assert embedder.profile.dims == 2
    with pytest.raises(BadVector, match=r"shape \(1, 1\), wanted \(1, 2\)"):
        embedder.embed_documents(["a"])


def test_a_model_that_refuses_even_the_probe_is_unavailable() -> None:
    said = {"error": {"message": "This model does not support specifying dimensions."}}
    embedder, _ = _embedder(httpx.Response(400, json=said))
    with pytest.raises(ModelUnavailable, match="does not support specifying dimensions"):
        _ = embedder.profile


# What is tried again.

GOOD = httpx.Response(200, json={"fine": True})


class Poster(JsonPoster):
    """A poster that keeps how long it would have slept."""

    def __init__(self, transport: httpx.BaseTransport, *, max_retries: int = 5) -> None:
        self.slept: list[float] = []
        super().__init__(
            "http://embeddings.test/v1/embeddings",
            key=SecretStr(KEY),
            timeout=1,
            max_retries=max_retries,
            transport=transport,
            sleep=self.slept.append,
        )


MAY_PASS: dict[str, Callable[[], Answer]] = {
    **{
        f"HTTP {status}": lambda status=status: httpx.Response(status)  # type: ignore[misc]
        for status in (408, 409, 425, 429, 500, 502, 503, 504, 520, 529)
    },
    "connection refused": lambda: httpx.ConnectError("[Errno 111] Connection refused"),
    "no such host": lambda: httpx.ConnectError("[Errno -2] Name or service not known"),
    "connection reset": lambda: httpx.ReadError("[Errno 104] Connection reset by peer"),
    "connection closed": lambda: httpx.RemoteProtocolError("Server disconnected without sending a response."),
    "timeout": lambda: httpx.ReadTimeout("timed out"),
}


@pytest.mark.parametrize("failure", MAY_PASS.values(), ids=MAY_PASS)
def test_a_failure_that_may_pass_is_tried_again(failure: Callable[[], Answer]) -> None:
    transport = Scripted(failure(), failure(), GOOD)
    poster = Poster(transport)
    assert poster.post({"a": 1}) == {"fine": True}
    assert transport.bodies == [{"a": 1}] * 3
    assert len(poster.slept) == 2


@pytest.mark.parametrize("failure", MAY_PASS.values(), ids=MAY_PASS)
@pytest.mark.parametrize("max_retries", [0, 1, 4])
def test_retries_are_counted_and_the_last_failure_is_told(failure: Callable[[], Answer], max_retries: int) -> None:
    transport = Scripted(failure())
    poster = Poster(transport, max_retries=max_retries)
    with pytest.raises(ModelUnavailable, match=r"^http://embeddings\.test/v1/embeddings: ") as caught:
        poster.post({})
    assert len(transport.requests) == max_retries + 1
    assert len(poster.slept) == max_retries
    assert "Is the embedding server up?" in caught.value.hint


FINAL = {400: InputRejected, 413: InputRejected, 422: InputRejected}
FINAL_OTHERS = (401, 403, 404, 405, 301, 302, 307, 308, 204, 304, 501)


@pytest.mark.parametrize("status", [*FINAL, *FINAL_OTHERS])
def test_a_refusal_is_never_tried_again(status: int) -> None:
    headers = {"location": "http://elsewhere.test/"} if 300 <= status < 400 else {}
    transport = Scripted(httpx.Response(status, headers=headers, json={"error": {"message": "no"}}), GOOD)
    poster = Poster(transport)
    with pytest.raises(EsSemanticError, match=f"HTTP {status}: no") as caught:
        poster.post({})
    assert type(caught.value) is FINAL.get(status, ModelUnavailable)
    assert (len(transport.requests), poster.slept) == (1, [])


def test_what_was_never_sent_is_not_tried_again() -> None:
    transport = Scripted(httpx.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'"))
    with pytest.raises(ModelUnavailable, match="LocalProtocolError") as caught:
        Poster(transport).post({})
    assert len(transport.requests) == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "models.*.api_key"), (403, "models.*.api_key"), (404, "models.*.name"), (307, "the final address")],
)
def test_a_refusal_says_what_to_check(status: int, hint: str) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        Poster(Scripted(httpx.Response(status))).post({})
    assert hint in caught.value.hint


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    poster = Poster(Scripted(httpx.Response(429, headers={"retry-after": "7"}), httpx.Response(503), GOOD))
    poster.post({})
    assert poster.slept[0] == 7
    assert 0 <= poster.slept[1] <= 1


def test_a_server_that_asks_for_a_long_pause_is_not_asked_again() -> None:
    transport = Scripted(httpx.Response(429, headers={"retry-after": "3600"}, json={"error": "daily quota"}))
    poster = Poster(transport)
    with pytest.raises(ModelUnavailable, match="HTTP 429: daily quota") as caught:
        poster.post({})
    assert "wait 3600 seconds" in caught.value.hint
    assert (len(transport.requests), poster.slept) == (1, [])


def test_without_a_wish_the_waits_grow_and_stay_bounded() -> None:
    poster = Poster(Scripted(httpx.Response(500)), max_retries=12)
    with pytest.raises(ModelUnavailable):
        poster.post({})
    assert all(0 <= wait <= min(60, 0.5 * 2**i) for i, wait in enumerate(poster.slept))


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30),
        (format_datetime((NOW + timedelta(seconds=5)).astimezone(timezone(timedelta(hours=9)))), 5),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("nan", None),
        ("inf", None),
        ("\u0663", None),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 99999999 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_whole_seconds_or_an_http_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=NOW.timestamp()) == seconds


@given(st.text(max_size=40) | st.from_regex(r"\w{3}, \d{1,6} \w{3} \d{1,9} \d+:\d+:\d+ [-+]\d{1,9}"))
def test_no_retry_after_header_breaks_anything(header: str) -> None:
    seconds = retry_after(header, now=NOW.timestamp())
    assert seconds is None or seconds >= 0


# One bad text among many.


class Choosy(httpx.BaseTransport):
    """A server that fails in one way for every request with a poisonous text in it."""

    def __init__(self, failure: Callable[[], Answer]) -> None:
        self.failure = failure

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if not any("poison" in text for text in body["input"]):
            return httpx.Response(200, json=_lengths(body))
        answer = self.failure()
        if isinstance(answer, Exception):
            raise answer
        return answer


FAILURES: dict[str, Callable[[], Answer]] = {
    "refused": lambda: httpx.Response(400, json={"error": "too long"}),
    "an internal error": lambda: httpx.Response(500, json={"error": "input is too large to process"}),
    "no answer in time": lambda: httpx.ReadTimeout("timed out"),
    "NaN": lambda: httpx.Response(200, content=json.dumps(_openai_answer([_row(0, [float("nan")])]))),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_text_that_the_server_cannot_take_fails_alone(failure: Callable[[], Answer]) -> None:
    texts = [f"text {i}" if i not in (3, 9) else f"poison {i}" for i in range(12)]
    outcomes = embed_each(OpenAIEmbedder(OPENAI, transport=Choosy(failure)), texts)
    assert [i for i, outcome in enumerate(outcomes) if outcome.vector is None] == [3, 9]
    assert all(bool(outcome.reason) == (outcome.vector is None) for outcome in outcomes)


BROKEN: dict[str, Callable[[], Answer]] = {
    "refuses everything": lambda: httpx.Response(400, json={"error": "no such dimension"}),
    "answers in another format": lambda: httpx.Response(200, json={"vectors": []}),
    "has lost the model": lambda: httpx.Response(404, json={"error": 'model "all-minilm" not found'}),
    "is overloaded": lambda: httpx.Response(503),
    "is gone": lambda: httpx.ConnectError("[Errno 111] Connection refused"),
}


@pytest.mark.parametrize("failure", BROKEN.values(), ids=BROKEN)
def test_a_server_that_breaks_under_way_blames_no_text(failure: Callable[[], Answer]) -> None:
    good = httpx.Response(200, json=_openai_answer([_row(0, [1.0, 2.0])]))
    transport = Scripted(good, failure())
    embedder = OpenAIEmbedder(OPENAI, transport=transport)
    assert embedder.profile.dims == 2
    with pytest.raises(ModelUnavailable):
        embed_each(embedder, [f"text {i}" for i in range(12)])
    assert len(transport.requests) == 3


# What an error may say.

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
    embedder, transport = _embedder(httpx.Response(status, json=body))
    with pytest.raises(InputRejected, match="refuses the input") as caught:
        embedder.embed_documents(["word " * 100_000])
    assert any(word in caught.value.what for word in ("context length", "too large", "too long"))
    assert len(transport.requests) == 1
