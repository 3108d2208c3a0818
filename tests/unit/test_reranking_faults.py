"""Rerankers behind HTTP: answers of a real server that are late, wrong, refusing or missing."""

from __future__ import annotations

import socket
import traceback
from typing import Any

import pytest
from pydantic import SecretStr

from es_semantic.config import CohereSettings
from es_semantic.errors import RerankerError, RerankerUnavailable
from es_semantic.reranking import load_reranker
from es_semantic.reranking.cohere import CohereReranker
from tests.unit.rerank_answers import (
    COHERE,
    KEY,
    QUERY,
    TEXTS,
    Answer,
    Scripted,
    cohere_answer,
    dripping,
    hanging,
    hanging_up,
    saying,
    serving,
    slowly,
)

GOOD = cohere_answer([(1, 0.9), (2, 0.2), (0, 0.1)])
SCORES = [0.1, 0.9, 0.2]


class Reranker(CohereReranker):
    """One on that server that keeps how long it would have slept."""

    def __init__(self, server: Scripted, **settings: Any) -> None:
        self.slept: list[float] = []
        changed = {"url": server.url, "timeout": 30.0, **settings}
        super().__init__(COHERE.model_copy(update=changed), sleep=self.slept.append)


def _refused(reranker: CohereReranker, *, deadline: float | None = None) -> RerankerError:
    with pytest.raises(RerankerError) as caught:
        reranker.scores(QUERY, TEXTS, deadline=deadline)
    shown = f"{caught.value!r} {caught.value} {''.join(traceback.format_exception(caught.value))}"
    assert KEY not in shown
    # The traceback may show this line's own names, never a text.
    assert all(text not in shown for text in [QUERY, *TEXTS])
    return caught.value


# What may pass.


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_a_failure_that_may_pass_is_tried_again(status: int) -> None:
    failing = saying({"message": "later"}, status=status)
    with serving(failing, failing, saying(GOOD)) as server:
        reranker = Reranker(server, max_retries=2)
        assert reranker.scores(QUERY, TEXTS) == SCORES
    assert [body["documents"] for body in server.bodies] == [TEXTS] * 3
    assert len(reranker.slept) == 2


def test_a_connection_that_breaks_is_tried_again() -> None:
    with serving(hanging_up, saying(GOOD)) as server:
        assert Reranker(server, max_retries=1).scores(QUERY, TEXTS) == SCORES


@pytest.mark.parametrize("failing", [saying("", status=503), saying("", status=429), hanging_up])
@pytest.mark.parametrize("max_retries", [0, 2])
def test_a_dead_reranker_is_unavailable_after_the_tries(failing: Answer, max_retries: int) -> None:
    with serving(failing) as server:
        error = _refused(Reranker(server, max_retries=max_retries))
    assert isinstance(error, RerankerUnavailable)
    assert error.what.startswith(f"{server.url}/rerank: ")
    assert "Is the reranker up?" in error.hint
    assert len(server.bodies) == max_retries + 1


def test_nobody_at_the_address_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v2"
        settings = CohereSettings(provider="cohere", name="m", url=url, max_retries=1)
        error = _refused(load_reranker(settings))  # type: ignore[arg-type]
    assert isinstance(error, RerankerUnavailable)
    assert "ConnectError" in error.what


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    with serving(saying("", status=429, retry_after="7"), saying(GOOD)) as server:
        reranker = Reranker(server, max_retries=1)
        assert reranker.scores(QUERY, TEXTS, deadline=60) == SCORES
    assert reranker.slept == [7]


@pytest.mark.parametrize(("asked", "deadline"), [("7", 5.0), ("3600", None)])
def test_a_wait_for_which_there_is_no_time_is_not_begun(asked: str, deadline: float | None) -> None:
    with serving(saying({"message": "slow down"}, status=429, retry_after=asked), saying(GOOD)) as server:
        reranker = Reranker(server, max_retries=5)
        error = _refused(reranker, deadline=deadline)
    assert isinstance(error, RerankerUnavailable)
    assert "HTTP 429: slow down" in error.what
    assert (len(server.bodies), reranker.slept) == (1, [])


# The deadline.


@pytest.mark.parametrize("late", [hanging, dripping])
def test_an_answer_that_is_late_is_not_waited_for(late: Answer) -> None:
    with serving(late) as server:
        error = _refused(Reranker(server, max_retries=5), deadline=0.3)
        # Had it been waited for, this would never be reached: only the end of the block lets the server answer.
        assert not server.released.is_set()
    assert isinstance(error, RerankerUnavailable)


def test_the_settings_timeout_is_the_deadline_of_calls_without_one() -> None:
    with serving(hanging) as server:
        error = _refused(Reranker(server, timeout=0.2))
        assert not server.released.is_set()
    assert isinstance(error, RerankerUnavailable)


def test_the_deadline_holds_for_all_batches_together() -> None:
    texts = [f"text {i}" for i in range(40)]
    with serving(slowly(cohere_answer([(0, 0.5)]))) as server:
        with pytest.raises(RerankerUnavailable):
            Reranker(server, batch_size=1).scores(QUERY, texts, deadline=0.4)
        assert len(server.bodies) < len(texts)


@pytest.mark.parametrize("deadline", [0, -1])
def test_without_any_time_nothing_is_sent(deadline: float) -> None:
    with serving(saying(GOOD)) as server:
        error = _refused(Reranker(server), deadline=deadline)
    assert isinstance(error, RerankerUnavailable)
    assert server.bodies == []


# What will not pass.


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_is_not_tried_again_and_quotes_no_text(status: int) -> None:
    quoting = {"message": f"too long: '{TEXTS[0]}'; key {KEY}; query={QUERY!r}"}
    with serving(saying(quoting, status=status)) as server:
        error = _refused(Reranker(server, max_retries=5))
    assert not isinstance(error, RerankerUnavailable)
    assert f"refuses the request: HTTP {status}: too long: '[masked]'; key **********; query='[masked]'" in error.what
    assert "rerankers.*.batch_size" in error.hint
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "rerankers.*.api_key"),
        (403, "rerankers.*.api_key"),
        (404, "rerankers.*.url"),
        (405, "rerankers.*.url"),
        (424, "rerankers.*.name"),
    ],
)
def test_a_refusal_for_good_says_what_to_check(status: int, hint: str) -> None:
    with serving(saying({"error": "no", "error_type": "backend"}, status=status)) as server:
        error = _refused(Reranker(server, max_retries=5))
    assert not isinstance(error, RerankerUnavailable)
    assert error.what == f"{server.url}/rerank: HTTP {status}: no"
    assert hint in error.hint
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [501, 505])
def test_other_failures_of_the_server_are_unavailable_at_once(status: int) -> None:
    with serving(saying("", status=status)) as server:
        error = _refused(Reranker(server, max_retries=5))
    assert isinstance(error, RerankerUnavailable)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_takes_neither_texts_nor_key_elsewhere(status: int) -> None:
    with serving(saying(GOOD)) as elsewhere, serving(saying("", status=status, location=elsewhere.url)) as server:
        error = _refused(Reranker(server, max_retries=5))
    assert not isinstance(error, RerankerUnavailable)
    assert "the final address" in error.hint
    assert (len(server.bodies), elsewhere.bodies) == (1, [])


BAD: dict[str, tuple[Any, str]] = {
    "too few scores": (cohere_answer([(0, 0.1), (1, 0.2)]), "returned 2 scores for 3 texts"),
    "too many scores": (cohere_answer([(i, 0.1) for i in range(4)]), "returned 4 scores for 3 texts"),
    "no scores": (cohere_answer([]), "returned 0 scores for 3 texts"),
    "an index twice": (cohere_answer([(0, 0.1), (1, 0.2), (1, 0.3)]), "skips or repeats an index"),
    "an index of no text": (cohere_answer([(0, 0.1), (1, 0.2), (3, 0.3)]), "skips or repeats an index"),
    "NaN": (cohere_answer([(0, 0.1), (1, 0.2), (2, float("nan"))]), "returned NaN"),
    "infinity": (b'{"results": [{"index": 0, "relevance_score": 1e999}]}', "returned 1 score for 3 texts"),
    "half of an answer": (b'{"results": [{"index": 0, "relev', "not a list of objects"),
    "HTML": ("<html>It works!</html>", "not a list of objects"),
    "nothing": ("", "not a list of objects"),
    "not UTF-8": (b'{"results": "\xff"}', "not a list of objects"),
    "brackets without end": (b"[" * 200_000, "not a list of objects"),
}


@pytest.mark.parametrize(("content", "wrong"), BAD.values(), ids=BAD)
def test_a_bad_answer_is_an_error_and_is_not_asked_for_again(content: Any, wrong: str) -> None:
    with serving(saying(content)) as server:
        error = _refused(Reranker(server, max_retries=5))
    assert not isinstance(error, RerankerUnavailable)
    assert wrong in error.what
    assert "'rerank-v3.5'" in error.what
    assert len(server.bodies) == 1


def test_one_bad_batch_spoils_the_whole() -> None:
    with serving(saying(cohere_answer([(0, 0.5)])), saying(cohere_answer([]))) as server:
        error = _refused(Reranker(server, batch_size=1))
    assert "returned 0 scores for 1 text" in error.what


# The key.


@pytest.mark.parametrize("key", ["sk-\u00fc", "sk-123\n", "sk 123"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    settings = COHERE.model_copy(update={"api_key": SecretStr(key)})
    with pytest.raises(RerankerError, match=r"rerankers\.\*\.api_key holds a character") as caught:
        load_reranker(settings)
    assert key not in "".join(traceback.format_exception(caught.value))


def test_no_object_shows_the_key() -> None:
    reranker = CohereReranker(COHERE)
    assert KEY not in f"{reranker!r} {[repr(value) for value in vars(reranker).values()]}"
