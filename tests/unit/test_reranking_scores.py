"""The order that scores make, what a server's words may repeat, and how long a reranker may take."""

from __future__ import annotations

import contextvars
import itertools
import math
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import ModelError, RerankerError, RerankerUnavailable
from es_semantic.reranking import order
from es_semantic.reranking.deadline import Deadline, within
from es_semantic.reranking.http import QUOTED, unquoted
from es_semantic.reranking.scoring import scored

SCORES = st.lists(st.sampled_from([-1.5, 0.0, -0.0, 0.25, 1.0]) | st.floats(allow_nan=False, allow_infinity=False))


def test_the_order_is_best_first_and_keeps_ties() -> None:
    assert order([0.1, 0.9, 0.5, 0.9, 0.1]) == [1, 3, 2, 0, 4]
    assert order([0.0, -0.0, 0.0]) == [0, 1, 2]
    assert order([]) == []


@given(SCORES)
def test_the_order_is_a_stable_sort(scores: list[float]) -> None:
    found = order(scores)
    assert sorted(found) == list(range(len(scores)))
    for before, after in itertools.pairwise(found):
        assert scores[before] > scores[after] or (scores[before] == scores[after] and before < after)


@given(SCORES)
def test_blank_texts_come_last_and_never_score_above_zero(scores: list[float]) -> None:
    texts = [f"text {position}" for position in range(len(scores))]
    mixed = [text for pair in zip(texts, [" "] * len(texts), strict=True) for text in pair]
    found = scored("q", mixed, lambda _, asked: [scores[texts.index(text)] for text in asked])
    assert found[::2] == scores
    for blank in found[1::2]:
        assert -math.inf < blank <= 0
        # Below the lowest number there is none but minus infinity.
        assert blank < min(scores) or blank == min(scores) == -sys.float_info.max
    assert len(set(found[1::2])) <= 1


def test_both_errors_of_a_reranker_can_be_caught_as_one() -> None:
    assert issubclass(RerankerUnavailable, RerankerError)
    assert issubclass(RerankerError, ModelError)


# What a server repeats.


def test_what_was_sent_is_masked_in_a_servers_words() -> None:
    secret = "the patient Jane Doe was admitted on Monday"
    said = f"HTTP 422: [{{'type': 'too_long', 'msg': 'too long', 'input': '{secret}'}}]"
    assert unquoted(said, ["q", secret]) == "HTTP 422: [{'type': 'too_long', 'msg': 'too long', 'input': '[masked]'}]"
    assert unquoted("bad name: Jane", ["Jane"]) == "bad name: [masked]"
    assert unquoted("HTTP 503: overloaded", ["something else", "a"]) == "HTTP 503: overloaded"
    assert unquoted("", ["a text"]) == ""


TEXT = st.text(st.sampled_from("abcde \n"), min_size=1, max_size=60)


@given(st.lists(TEXT, min_size=1, max_size=4), st.data())
def test_no_run_of_a_text_stays_in_a_servers_words(texts: list[str], data: st.DataObject) -> None:
    quoted = " ".join(data.draw(st.sampled_from(texts)).split())
    start = data.draw(st.integers(0, len(quoted)))
    shown = unquoted(f"HTTP 400: <{quoted[start:]}>", texts)
    whole = [" ".join(text.split()) for text in texts]
    runs = {text[at : at + QUOTED] for text in whole for at in range(len(text) - QUOTED + 1)}
    assert not any(run in shown for run in runs)
    assert shown.startswith("HTTP 400: <")
    assert shown.endswith(">")


# How long it may take.


def test_what_ends_in_time_is_returned_or_raised_as_it_is() -> None:
    deadline = Deadline(60, "m")
    assert within(deadline, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(deadline, lambda: 1 // 0)
    assert 0 < deadline.left() <= 60


def test_work_sees_the_callers_context() -> None:
    # Tracing keeps the current span there.
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("the caller's")
    assert within(Deadline(60, "m"), variable.get) == "the caller's"


def test_what_does_not_end_in_time_is_left_alone() -> None:
    released, ended = threading.Event(), threading.Event()

    def work() -> None:
        released.wait()
        ended.set()

    with pytest.raises(RerankerUnavailable, match=r"^reranker 'm' did not finish within 0\.05 seconds") as caught:
        within(Deadline(0.05, "m"), work)
    assert "rerankers.*.timeout" in caught.value.hint
    assert not ended.is_set()
    released.set()
    assert ended.wait(60)


@pytest.mark.parametrize("seconds", [0, -1, -math.inf, math.nan])
def test_no_time_at_all_starts_nothing(seconds: float) -> None:
    started: list[int] = []
    with pytest.raises(RerankerUnavailable):
        within(Deadline(seconds, "m"), lambda: started.append(1))
    assert started == []
    with pytest.raises(RerankerUnavailable):
        Deadline(seconds, "m").left()


def test_any_length_of_time_is_allowed() -> None:
    assert within(Deadline(math.inf, "m"), lambda: 7) == 7
