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


def weights_of(**vectors: object) -> dict[tuple[str, ...], float]:
    return {word.forms: word.weight for word in read_weights({"term_vectors": vectors})}


def test_weights_are_bm25s_inverse_document_frequency() -> None:
    weights = weights_of(content=vector(5, alpha=5, beta=1))
    # As Elasticsearch explains them for five documents (measured on 9.4.3).
    assert weights[("alpha",)] == pytest.approx(0.087011375)
    assert weights[("beta",)] == pytest.approx(1.3862942)


def test_a_field_that_few_documents_have_changes_nothing() -> None:
    content = vector(400, rare=2, medium=46)
    alone = weights_of(content=content)
    assert weights_of(content=content, questions=vector(0, rare=0, medium=0)) == alone
    assert weights_of(content=content, keywords=vector(3, rare=0, medium=3)) == alone
    assert alone[("rare",)] > 2 * alone[("medium",)]


def test_of_several_fields_the_more_frequent_counts_and_unknown_words_count_too() -> None:
    weights = weights_of(title=vector(10, alpha=1, gamma=0), content=vector(10, alpha=8, gamma=0))
    assert weights[("alpha",)] == pytest.approx(math.log(1 + 2.5 / 8.5))
    assert weights[("gamma",)] == pytest.approx(math.log(1 + 10.5 / 0.5))


def test_a_word_is_looked_for_in_the_forms_that_the_index_has() -> None:
    words = weights_of(content=vector(9, XK42=3, xk42=0, The=4, the=5, Zebra=0, zebra=0))
    assert set(words) == {("XK42",), ("The", "the"), ("zebra",)}
    assert words[("The", "the")] == pytest.approx(math.log(1 + 4.5 / 5.5))


def test_nothing_is_known_of_an_empty_index() -> None:
    assert read_weights({"term_vectors": {}}) == []
    assert covering([], ["content"], []) == {"match_none": {}}


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 50), min_size=1, max_size=300))
def test_the_parts_of_a_question_make_one(frequencies: dict[str, int]) -> None:
    weights = read_weights({"term_vectors": {"content": vector(50, **frequencies)}})
    assert len(weights) == min(MOST_WORDS, len({word.lower() for word in frequencies}))
    query = covering(weights, ["content", "title"], [{"term": {"a": 1}}])
    boosts = [clause["constant_score"]["boost"] for clause in query["bool"]["should"]]
    assert sum(boosts) == pytest.approx(1.0)
    assert all(0 < boost <= 1 for boost in boosts)
    assert query["bool"]["filter"] == [{"term": {"a": 1}}]
