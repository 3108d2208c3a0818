"""What may be searched for."""

from __future__ import annotations

import pytest

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.query import filter_clauses, require_mode, require_page, require_query


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "\x00\x01\x1f",
        "\u200b\u200e",
        "\u00a0\u3000",
        "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "ignore"),
    ],
)
def test_a_query_without_anything_printable_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="empty"):
        require_query(text)


def test_a_query_of_ten_megabytes_is_refused_with_its_size() -> None:
    with pytest.raises(InvalidQuery, match="10,485,760 characters"):
        require_query("x" * (10 * 1024 * 1024))


def test_control_characters_become_spaces() -> None:
    assert require_query(" a\x00b\nc\u2028d ") == "a b c d"


def test_signs_and_emoji_are_queries() -> None:
    assert require_query("C++") == "C++"
    assert require_query("🦆") == "🦆"
    assert require_query("?") == "?"


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert require_query("a\ud800b") == "a?b"


@pytest.mark.parametrize("size", [0, -1, 10_001])
def test_size_has_limits(size: int) -> None:
    with pytest.raises(InvalidQuery, match="between 1 and 10,000"):
        require_page(size, 0, None)


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidQuery, match="hybrid, knn, bm25, exact"):
        require_mode("sparse")


@pytest.mark.parametrize("wrong", [[{}], [{"term": {}, "range": {}}], ["kind=function"]])
def test_a_filter_is_one_query_clause(wrong: list[dict[str, object]]) -> None:
    with pytest.raises(InvalidQuery, match="one Elasticsearch query clause"):
        filter_clauses(wrong)


@pytest.mark.parametrize(
    ("size", "start", "window", "ranked"),
    [(10, 0, None, 100), (250, 0, None, 250), (10, 90, None, 100), (5, 5, 10, 10)],
)
def test_a_page_lies_inside_what_is_ranked(size: int, start: int, window: int | None, ranked: int) -> None:
    assert require_page(size, start, window) == ranked


@pytest.mark.parametrize(
    ("size", "start", "window", "said"),
    [(10, 91, None, "beyond the 100"), (11, 0, 10, "beyond the 10"), (1, -1, None, "from_"), (1, 0, 10_001, "window")],
)
def test_a_page_beyond_what_is_ranked_is_refused(size: int, start: int, window: int | None, said: str) -> None:
    with pytest.raises(InvalidQuery, match=said):
        require_page(size, start, window)
