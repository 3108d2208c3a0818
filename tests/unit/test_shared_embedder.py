"""What several callers ask for runs together; nobody gets another's vectors, and nobody pays for another's mistake."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.embedding import Embeddings
from es_semantic.embedding.dynamic_batching import MOST_CHARACTERS
from es_semantic.embedding.shared import SharedEmbedder
from es_semantic.errors import InputRejected, ModelUnavailable, Overloaded
from tests.embedder import TinyEmbedder

WITHIN = 20.0


class Gated(TinyEmbedder):
    """Waits for its gate; refuses the text "poison", notes what ran together, and calls some texts too long."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[tuple[str, ...]] = []

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        self.entered.set()
        assert self.gate.wait(WITHIN)
        self.batches.append(tuple(texts))
        if "poison" in texts:
            raise InputRejected("poison is refused")
        over_long = tuple(place for place, text in enumerate(texts) if text.startswith("long"))
        return Embeddings(super().embed_documents(texts).vectors, over_long)

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        raise ModelUnavailable(f"it is down for {len(texts)} texts")


@pytest.fixture
def model() -> Gated:
    return Gated()


def behind(model: Gated, shared: SharedEmbedder, *calls: Sequence[str]) -> list[Future[Embeddings]]:
    """Ask for these while the model is busy with another text, so that they wait together."""
    first = shared.ask_documents(["first"])
    assert model.entered.wait(WITHIN)
    waiting = [shared.ask_documents(texts) for texts in calls]
    model.gate.set()
    first.result(WITHIN)
    return waiting


def test_what_waits_runs_together_and_everybody_gets_his_own(model: Gated) -> None:
    shared = SharedEmbedder(model)
    calls = [["a", "long b"], ["c"], ["long d", "e", "f"]]
    answers = [each.result(WITHIN) for each in behind(model, shared, *calls)]
    assert model.batches == [("first",), ("a", "long b", "c", "long d", "e", "f")]
    for texts, answer in zip(calls, answers, strict=True):
        assert np.array_equal(answer.vectors, np.stack([model.vector(text) for text in texts]))
    assert [answer.over_long for answer in answers] == [(1,), (), (0,)]
    assert shared.waiting == 0


def test_a_text_that_is_refused_fails_its_own_caller_alone(model: Gated) -> None:
    shared = SharedEmbedder(model)
    good, bad, other = behind(model, shared, ["good"], ["fine", "poison"], ["other"])
    assert len(good.result(WITHIN).vectors) == len(other.result(WITHIN).vectors) == 1
    with pytest.raises(InputRejected):
        bad.result(WITHIN)


def test_a_model_that_is_down_fails_everybody_and_later_ones_are_asked_again(model: Gated) -> None:
    shared = SharedEmbedder(model)
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="down"):
            shared.embed_queries(["x"])


def test_a_full_queue_refuses(model: Gated) -> None:
    shared = SharedEmbedder(model, most_waiting=4)
    first = shared.ask_documents(["first"])
    assert model.entered.wait(WITHIN)
    waiting = [shared.ask_documents(["a", "b", "c"]), shared.ask_documents(["d"])]
    assert shared.waiting == 4
    with pytest.raises(Overloaded, match="4 texts"):
        shared.ask_documents(["e"])
    model.gate.set()
    assert [len(each.result(WITHIN).vectors) for each in (first, *waiting)] == [1, 3, 1]
    assert len(shared.embed_documents(["e"]).vectors) == 1


def test_who_has_gone_costs_nothing(model: Gated) -> None:
    shared = SharedEmbedder(model)
    first = shared.ask_documents(["first"])
    assert model.entered.wait(WITHIN)
    gone, here = shared.ask_documents(["gone"]), shared.ask_documents(["here"])
    assert gone.cancel()
    model.gate.set()
    here.result(WITHIN)
    first.result(WITHIN)
    assert ("here",) in model.batches
    assert not any("gone" in batch for batch in model.batches)


def test_long_calls_do_not_run_with_others(model: Gated) -> None:
    shared = SharedEmbedder(model)
    large = ["x" * MOST_CHARACTERS]
    for each in behind(model, shared, ["a"], large, ["b"]):
        each.result(WITHIN)
    assert model.batches[1:] == [("a",), tuple(large), ("b",)]


def test_what_waits_at_the_end_is_told(model: Gated) -> None:
    shared = SharedEmbedder(model)
    first = shared.ask_documents(["first"])
    assert model.entered.wait(WITHIN)
    waiting = shared.ask_documents(["late"])
    shared.close()
    with pytest.raises(ModelUnavailable, match="shut down"):
        waiting.result(WITHIN)
    with pytest.raises(ModelUnavailable, match="shut down"):
        shared.embed_documents(["later"])
    model.gate.set()
    first.result(WITHIN)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4), min_size=1, max_size=24))
def test_any_calls_at_once_get_what_they_would_get_alone(calls: list[list[str]]) -> None:
    model = TinyEmbedder()
    ran: list[int] = []
    shared = SharedEmbedder(model, ran=ran.append)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(shared.embed_documents, calls))
    for texts, answer in zip(calls, answers, strict=True):
        assert np.array_equal(answer.vectors, np.stack([model.vector(text) for text in texts]))
    assert sum(ran) == sum(map(len, calls))
    assert len(ran) == model.calls
