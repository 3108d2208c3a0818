"""Batches by token budget, the check of every vector, and the cut of texts far longer than a model's window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from es_semantic.embedding.batching import TOKEN_BUDGET, checked, embed_in_batches, plan_batches, spread_batches
from es_semantic.embedding.unicode import encodable
from es_semantic.embedding.window import CHARACTERS_PER_TOKEN, MARGIN, heads
from es_semantic.errors import BadVector

lengths_of_texts = st.lists(st.integers(0, 9000), max_size=120)
budgets = st.integers(1, 10_000)
limits = st.none() | st.integers(1, 70)


@given(lengths_of_texts, budgets, limits)
def test_every_text_is_in_exactly_one_batch(lengths: list[int], budget: int, limit: int | None) -> None:
    batches = plan_batches(lengths, budget=budget, max_texts=limit)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    assert all(batches)


@given(lengths_of_texts, budgets, limits)
def test_a_batch_keeps_to_the_budget_unless_one_text_alone_is_over_it(
    lengths: list[int], budget: int, limit: int | None
) -> None:
    for batch in plan_batches(lengths, budget=budget, max_texts=limit):
        assert len(batch) * max(lengths[i] for i in batch) <= budget or len(batch) == 1


@given(lengths_of_texts, budgets, limits)
def test_a_batch_holds_at_most_max_texts(lengths: list[int], budget: int, limit: int | None) -> None:
    batches = plan_batches(lengths, budget=budget, max_texts=limit)
    assert limit is None or all(len(batch) <= limit for batch in batches)


@given(lengths_of_texts)
def test_batches_go_from_the_longest_texts_to_the_shortest(lengths: list[int]) -> None:
    order = [lengths[i] for batch in plan_batches(lengths) for i in batch]
    assert order == sorted(lengths, reverse=True)


def test_short_texts_share_a_batch_and_long_ones_do_not() -> None:
    assert plan_batches([10, TOKEN_BUDGET, 10, TOKEN_BUDGET + 1]) == [[3], [1], [0, 2]]


@given(lengths_of_texts, budgets, st.integers(1, 8))
def test_spread_batches_are_within_the_budget_and_none_is_larger_than_their_number_asks_for(
    lengths: list[int], budget: int, streams: int
) -> None:
    batches = spread_batches(lengths, streams=streams, budget=budget)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    needed = len(plan_batches(lengths, budget=budget))
    assert needed <= len(batches) <= max(2 * streams, needed + streams - 1)
    shared = [len(batch) * max(lengths[batch[0]], 1) for batch in batches if len(batch) > 1]
    assert all(cost <= budget for cost in shared)
    if shared:
        assert len(plan_batches(lengths, budget=max(shared) - 1)) > max(2, -(-needed // streams)) * streams


@pytest.mark.parametrize(
    ("texts", "sizes"), [(1, [1]), (3, [1, 1, 1]), (32, [8, 8, 8, 8]), (40, [10] * 4), (90, [15] * 6)]
)
def test_few_texts_keep_all_streams_busy(texts: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in spread_batches([50] * texts, streams=2, budget=1000)] == sizes


def _mark(texts: list[str]) -> NDArray[np.float32]:
    return np.array([[len(text) + 1, 1] for text in texts], dtype=np.float32)


@given(st.lists(st.text(max_size=30), max_size=40), st.integers(1, 60), st.integers(1, 7))
def test_vectors_come_back_in_the_order_of_the_texts(texts: list[str], budget: int, limit: int) -> None:
    batches = plan_batches([len(text) for text in texts], budget=budget, max_texts=limit)
    vectors = embed_in_batches(texts, batches, _mark, dims=2)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), 2)
    assert np.array_equal(vectors, _mark(texts) if texts else np.empty((0, 2)))


@pytest.mark.parametrize(("dims", "shape"), [(7, (0, 7)), (None, (0, 0))])
def test_no_texts_make_no_vectors_and_no_call(dims: int | None, shape: tuple[int, int]) -> None:
    def never(texts: list[str]) -> NDArray[np.float32]:
        raise AssertionError(f"called with {texts}")

    assert embed_in_batches([], [], never, dims=dims).shape == shape


@pytest.mark.parametrize("width", [1, 3])
def test_all_batches_must_have_vectors_of_one_size(width: int) -> None:
    def changing(texts: list[str]) -> NDArray[np.float32]:
        return np.ones((len(texts), 2 if texts == ["first"] else width), dtype=np.float32)

    with pytest.raises(BadVector, match=rf"shape \(1, {width}\), wanted \(1, 2\)"):
        embed_in_batches(["first", "second"], [[0], [1]], changing, dims=None)


BAD: dict[str, tuple[Any, str]] = {
    "NaN": ([[1.0, 2.0], [1.0, float("nan")]], "NaN or infinity for text 1 of a batch of 2"),
    "infinity": ([[float("inf"), 2.0], [1.0, 2.0]], "NaN or infinity for text 0"),
    "a number too large for float32": ([[1.0, 2.0], [1e39, 2.0]], "NaN or infinity for text 1"),
    "a whole number too large for any float": ([[1.0, 2.0], [10**400, 2.0]], "not numbers"),
    "a zero vector": ([[1.0, 2.0], [0.0, 0.0]], "zero vector for text 1"),
    "a vector that is zero in float32": ([[1e-60, 0.0], [1.0, 2.0]], "zero vector for text 0"),
    "a vector whose square is zero in float32": ([[1e-25, 0.0], [1.0, 2.0]], "zero vector for text 0"),
    "a vector whose square overflows float32": ([[1.0, 2.0], [1e30, 2.0]], "too long for float32 for text 1"),
    "too few vectors": ([[1.0, 2.0]], r"shape \(1, 2\), wanted \(2, 2\)"),
    "too many vectors": ([[1.0, 2.0]] * 3, r"shape \(3, 2\), wanted \(2, 2\)"),
    "short vectors": ([[1.0], [2.0]], r"shape \(2, 1\), wanted \(2, 2\)"),
    "vectors of vectors": ([[[1.0, 2.0]], [[1.0, 2.0]]], r"shape \(2, 1, 2\)"),
    "one flat list": ([1.0, 2.0], r"shape \(2,\)"),
    "nothing": ([], "wanted"),
    "ragged vectors": ([[1.0, 2.0], [1.0]], "not 2 vectors of one size"),
    "words": ([["one", "two"], ["three", "four"]], "not numbers"),
    "numbers as strings": ([["1.0", "2.0"], ["3.0", "4.0"]], "not numbers"),
    "null": ([[1.0, None], [1.0, 2.0]], "not numbers"),
    "booleans": ([[True, True], [True, True]], "not numbers"),
    "complex numbers": ([[1j, 2.0], [1.0, 2.0]], "not numbers"),
    "no list at all": ({"a": 1}, "not numbers"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("vectors", "words"), BAD.values(), ids=BAD)
def test_an_unusable_vector_is_refused(vectors: Any, words: str) -> None:
    with pytest.raises(BadVector, match=words):
        checked(vectors, 2, 2)


def test_a_vector_without_dimensions_is_refused() -> None:
    with pytest.raises(BadVector, match="zero vector"):
        checked(np.empty((2, 0)), 2, None)


values = st.floats(-(2.0**50), 2.0**50, width=32).filter(lambda value: abs(value) > 2.0**-50)


@given(st.lists(st.lists(values, min_size=3, max_size=3), min_size=1, max_size=9))
def test_usable_vectors_pass_unchanged_as_float32(rows: list[list[float]]) -> None:
    vectors = checked(rows, len(rows), 3)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == rows


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8])
def test_any_real_number_type_is_taken(dtype: type[np.generic]) -> None:
    assert np.array_equal(checked(np.array([[1, 2]], dtype=dtype), 1, 2), np.array([[1, 2]], dtype=np.float32))


def _words(text: str) -> int:
    return len(text.split())


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 90)), max_size=6),
    st.integers(1, 64),
)
def test_a_text_that_fits_is_counted_whole_and_a_longer_one_is_known_to_be(
    shapes: list[tuple[int, int]], window: int
) -> None:
    texts = [("w" + " " * gap) * words for words, gap in shapes]
    shown, lengths = heads(texts, _words, window)
    for text, head, length in zip(texts, shown, lengths, strict=True):
        assert text.startswith(head)
        assert (length > window) == (_words(text) > window)
        assert length == _words(text) if length <= window else head.split()[:window] == text.split()[:window]


def test_megabytes_are_not_tokenised() -> None:
    seen: list[int] = []

    def count(text: str) -> int:
        seen.append(len(text))
        return _words(text)

    _, lengths = heads(["word " * 1_000_000], count, 256)
    assert lengths[0] > 256
    assert sum(seen) <= CHARACTERS_PER_TOKEN * (256 + MARGIN)


def test_a_model_without_a_window_is_shown_everything() -> None:
    text = "word " * 100_000
    assert heads([text], _words, None) == ([text], [100_000])


@given(st.text())
def test_text_that_has_a_utf_8_form_stays_as_it_is(text: str) -> None:
    assert encodable([text]) == [text]


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert encodable(["a\ud800b", "\udfff"]) == ["a?b", "?"]
