"""Models behind HTTP: what is tried again, and when one bad text is to blame."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.embedding.http import retry_after
from es_semantic.embedding.openai import OpenAIEmbedder
from es_semantic.errors import EsSemanticError, InputRejected, ModelUnavailable
from es_semantic.sync.embed import embed_each
from tests.unit.http_answers import (
    GOOD,
    KEY,
    OPENAI,
    Answer,
    Poster,
    Scripted,
    lengths,
    openai_answer,
    row,
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
            return httpx.Response(200, json=lengths(body))
        answer = self.failure()
        if isinstance(answer, Exception):
            raise answer
        return answer


FAILURES: dict[str, Callable[[], Answer]] = {
    "refused": lambda: httpx.Response(400, json={"error": "too long"}),
    "an internal error": lambda: httpx.Response(500, json={"error": "input is too large to process"}),
    "no answer in time": lambda: httpx.ReadTimeout("timed out"),
    "NaN": lambda: httpx.Response(200, content=json.dumps(openai_answer([row(0, [float("nan")])]))),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_text_that_the_server_cannot_take_fails_alone(failure: Callable[[], Answer]) -> None:
    texts = [f"text {i}" if i not in (3, 9) else f"poison {i}" for i in range(12)]
    outcomes = embed_each(OpenAIEmbedder(OPENAI, transport=Choosy(failure)), texts)
    assert [i for i, outcome in enumerate(outcomes) if outcome.vectors is None] == [3, 9]
    assert all(bool(outcome.reason) == (outcome.vectors is None) for outcome in outcomes)


BROKEN: dict[str, Callable[[], Answer]] = {
    "refuses everything": lambda: httpx.Response(400, json={"error": "no such dimension"}),
    "answers in another format": lambda: httpx.Response(200, json={"vectors": []}),
    "has lost the model": lambda: httpx.Response(404, json={"error": 'model "all-minilm" not found'}),
    "is overloaded": lambda: httpx.Response(503),
    "is gone": lambda: httpx.ConnectError("[Errno 111] Connection refused"),
}


@pytest.mark.parametrize("failure", BROKEN.values(), ids=BROKEN)
def test_a_server_that_breaks_under_way_blames_no_text(failure: Callable[[], Answer]) -> None:
    good = httpx.Response(200, json=openai_answer([row(0, [1.0, 2.0])]))
    transport = Scripted(good, failure())
    embedder = OpenAIEmbedder(OPENAI, transport=transport)
    assert embedder.profile.dims == 2
    with pytest.raises(ModelUnavailable):
        embed_each(embedder, [f"text {i}" for i in range(12)])
    assert len(transport.requests) == 3
