"""How much each word of a question counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.retrieval.weights import MOST_WORDS, covering, read_weights


def vector(documents: int, **frequencies: int) -> dict[str, object]:
    terms = {word: {"term_freq": 1, **({"doc_freq": number} if number else {})} for word, number in frequencies.items()}
    return {"field_statistics": {"doc_count": documents}, "terms": terms}


def test_weights_are_bm25s_inverse_document_frequency() -> None:
    weights = read_weights({"term_vectors": {"content": vector(5, alpha=5, beta=1)}})
    # As Elasticsearch explains them for five documents (measured on 9.4.3).
    assert weights["alpha"] == pytest.approx(0.087011375)
    assert weights["beta"] == pytest.approx(1.3862942)


def test_of_several_fields_the_more_frequent_counts_and_unknown_words_count_too() -> None:
    vectors = {"title": vector(10, alpha=1, gamma=0), "content": vector(10, alpha=8, gamma=0)}
    weights = read_weights({"term_vectors": vectors})
    assert weights["alpha"] == pytest.approx(math.log(1 + 2.5 / 8.5))
    assert weights["gamma"] == pytest.approx(math.log(1 + 10.5 / 0.5))


def test_nothing_is_known_of_an_empty_index() -> None:
    assert read_weights({"term_vectors": {}}) == {}
    assert covering({}, ["content"], []) == {"match_none": {}}
    assert covering({"alpha": 0.0}, ["content"], []) == {"match_none": {}}


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 50), min_size=1, max_size=300))
def test_the_parts_of_a_question_make_one(frequencies: dict[str, int]) -> None:
    weights = read_weights({"term_vectors": {"content": vector(50, **frequencies)}})
    assert len(weights) == min(MOST_WORDS, len(frequencies))
    query = covering(weights, ["content", "title"], [{"term": {"a": 1}}])
    boosts = [clause["constant_score"]["boost"] for clause in query["bool"]["should"]]
    assert sum(boosts) == pytest.approx(1.0)
    assert all(0 < boost <= 1 for boost in boosts)
    assert query["bool"]["filter"] == [{"term": {"a": 1}}]
