"""The parts of a text that a reranker reads: how it is cut, and which parts come first."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.best_chunks import best_chunks, bm25
from es_semantic.retrieval.tree.chunking import Chunking, read_chunking

ALL = 10_000
TEXT = "The cat sleeps. The dog barks at the cat! Rain falls on the roof. A dog and a dog play."


def sentences(words: int, overlap: int = 0, size: int = ALL) -> Chunking:
    return Chunking(size, "sentence", words, overlap)


@pytest.mark.parametrize(
    ("chunking", "chunks"),
    [
        (sentences(300), [TEXT]),
        (
            sentences(10),
            ["The cat sleeps. The dog barks at the cat!", "Rain falls on the roof.", "A dog and a dog play."],
        ),
        (
            sentences(11, overlap=1),
            [
                "The cat sleeps. The dog barks at the cat!",
                "The dog barks at the cat! Rain falls on the roof.",
                "Rain falls on the roof. A dog and a dog play.",
            ],
        ),
        (
            sentences(4),
            [
                "The cat sleeps.",
                "The dog barks at",
                "the cat!",
                "Rain falls on the",
                "roof.",
                "A dog and a",
                "dog play.",
            ],
        ),
        (
            Chunking(ALL, "word", 12, 6),
            [
                "The cat sleeps. The dog barks at the cat! Rain falls on",
                "at the cat! Rain falls on the roof. A dog and a",
                "the roof. A dog and a dog play.",
            ],
        ),
        (Chunking(ALL, "none"), [TEXT]),
    ],
)
def test_where_a_text_is_cut(chunking: Chunking, chunks: list[str]) -> None:
    # Without a word of the query they stay in their order.
    assert best_chunks(TEXT, "zebra", chunking) == chunks


def test_chinese_is_counted_by_characters() -> None:
    assert best_chunks("北京大学很大。上海下雨了。", "下雨", sentences(7)) == ["上海下雨了。", "北京大学很大。"]


def test_bm25_by_hand() -> None:
    chunks = ["cat", "dog dog", "cat dog rain", "rain"]
    # 4 chunks of 7 words, 1.75 each on average; "dog" stands in two of them.
    rarity = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    second = rarity * 2 / (2 + 1.2 * (0.25 + 0.75 * 2 / 1.75))
    third = rarity * 1 / (1 + 1.2 * (0.25 + 0.75 * 3 / 1.75))
    assert bm25(chunks, "DOG, zebra") == pytest.approx([0, second, third, 0])
    assert bm25(chunks, "dog dog") == pytest.approx([0, 2 * second, 2 * third, 0])


def test_the_best_come_first() -> None:
    assert best_chunks(TEXT, "a dog", sentences(10, size=2)) == [
        "A dog and a dog play.",
        "The cat sleeps. The dog barks at the cat!",
    ]


WORDS = st.lists(st.sampled_from(["cat", "dog.", "rain", "roof!", "a", "雨", "\n", "e\u0301te\u0301"]), max_size=60)


@given(WORDS, st.integers(1, 12), st.sampled_from(["sentence", "word"]), st.data())
def test_nothing_is_lost_and_no_chunk_is_too_long(words: list[str], longest: int, strategy: Any, data: Any) -> None:
    overlap = data.draw(st.integers(0, 1 if strategy == "sentence" else longest // 2))
    text = " ".join(words)
    chunks = best_chunks(text, "zebra", Chunking(ALL, strategy, longest, overlap))
    if not text.strip():
        assert chunks == [text]
        return
    for chunk in chunks:
        assert len(re.findall(r"\w+", chunk)) <= longest
        assert chunk in text
    assert {word for chunk in chunks for word in re.findall(r"\w+", chunk)} == set(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("given", "chunking"),
    [
        ({}, Chunking()),
        ({"size": 3}, Chunking(3)),
        ({"chunking_settings": None}, Chunking()),
        ({"chunking_settings": {"max_chunk_size": 20}}, Chunking(1, "sentence", 20, 0)),
        ({"chunking_settings": {"strategy": "sentence", "max_chunk_size": 20}}, Chunking(1, "sentence", 20, 1)),
        (
            {"chunking_settings": {"strategy": "sentence", "max_chunk_size": 50, "sentence_overlap": 0}},
            Chunking(1, "sentence", 50, 0),
        ),
        (
            {"chunking_settings": {"strategy": "word", "max_chunk_size": 10, "overlap": 5}},
            Chunking(1, "word", 10, 5),
        ),
        ({"chunking_settings": {"strategy": "none"}}, Chunking(1, "none")),
        ({"chunking_settings": {"strategy": "recursive", "separators": ["#"]}}, Chunking(1, "recursive")),
    ],
)
def test_settings(given: dict[str, Any], chunking: Chunking) -> None:
    assert read_chunking(given, "x") == chunking


@pytest.mark.parametrize(
    ("settings", "path", "said"),
    [
        ({"max_chunk_size": 19}, ".max_chunk_size", "Invalid value [19]. [max_chunk_size] must be at least 20"),
        ({"max_chunk_size": "20"}, ".max_chunk_size", "must be a whole number"),
        ({"max_chunk_size": True}, ".max_chunk_size", "must be a whole number"),
        ({"strategy": "letters"}, ".strategy", "Invalid chunkingStrategy letters"),
        ({"overlap": 3}, ".strategy", "Invalid chunkingStrategy None"),
        ({"strategy": "none", "overlap": 3}, "", "[none] chunking settings can not have the setting [overlap]"),
        ({"strategy": "sentence"}, "", "does not contain the required setting [max_chunk_size]"),
        ({"strategy": "sentence", "max_chunk_size": 20, "sentence_overlap": 2}, ".sentence_overlap", "between 0 and 1"),
        ({"strategy": "word", "max_chunk_size": 10}, "", "does not contain the required setting [overlap]"),
        ({"strategy": "word", "max_chunk_size": 11, "overlap": 6}, ".overlap", "between 0 and 5"),
        ({"strategy": "word", "max_chunk_size": 9, "overlap": 1}, ".max_chunk_size", "must be at least 10"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(InvalidRetriever) as caught:
        read_chunking({"chunking_settings": settings}, "x.chunk_rescorer")
    assert caught.value.path == f"x.chunk_rescorer.chunking_settings{path}"
    assert said in caught.value.reason
