"""Passages are slices of the canonical text: chunks only of the text they were cut from, fragments where they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval import passages
from es_semantic.retrieval.cutting import cut, sentence_ends, word_ends
from es_semantic.retrieval.passages import LONGEST, Span, chunk_passages, highlight_passages, require_passages
from es_semantic.schema.text import text_hash

TEXTS = st.lists(
    st.sampled_from(["red", "apple.", "e\u0301", "👩\u200d🚀", "𠮷", "日本語。", "\n", " "]), max_size=40
).map("".join)


def marked(text: str) -> str:
    """A fragment as Elasticsearch answers it, with ``{`` and ``}`` for the tags."""
    return text.replace("{", passages._OPEN).replace("}", passages._CLOSE)


def test_chunks_of_another_text_are_no_passages() -> None:
    spans = [Span(0, 3, 0.9), Span(4, 8, 0.8)]
    (first, second) = chunk_passages("𠮷𠮷𠮷 text", text_hash("𠮷𠮷𠮷 text"), spans, "f")
    assert (first.text, first.start, first.end, first.score, first.field) == ("𠮷𠮷𠮷", 0, 3, 0.9, "f")
    assert second.text == "text"
    assert chunk_passages("𠮷𠮷𠮷 text!", text_hash("𠮷𠮷𠮷 text"), spans, "f") == ()
    assert chunk_passages("𠮷𠮷𠮷 text", None, spans, "f") == ()


@pytest.mark.parametrize("span", [(0, 5), (-1, 2), (3, 3), (3, 1)])
def test_offsets_that_somebody_has_edited_are_left_out(span: tuple[int, int]) -> None:
    assert chunk_passages("four", text_hash("four"), [Span(*span, 1.0), Span(0, 4, 0.5)], "f")[0].text == "four"


def test_fragments_with_more_of_the_query_s_words_come_first() -> None:
    text = "A red title\nNothing. A red apple, red. Then a plum. An apple."
    highlights = {
        "title": [marked("A {red} title")],
        "body": [marked("A {red} {apple}, {red}."), marked("An {apple}.")],
    }
    found = highlight_passages(text, highlights, "f", 2)
    assert [(each.text, each.start) for each in found] == [("A red apple, red.", 21), ("A red title", 0)]
    assert all(text[each.start : each.end] == each.text and each.score is None for each in found)


def test_a_fragment_that_is_not_in_the_text_or_overlaps_is_left_out() -> None:
    highlights = {"a": [marked("{1.0}"), marked("two {three}")], "b": [marked("{three} four"), marked("{}")]}
    assert [each.text for each in highlight_passages("1 two three four", highlights, "f", 9)] == ["three four"]


def test_without_fragments_it_is_the_beginning_of_the_text() -> None:
    (found,) = highlight_passages(" \n" + "A sentence of words. " * 50, {}, "f", 3)
    assert (found.start, found.score) == (2, None)
    assert found.text.endswith("words.")
    assert LONGEST / 2 <= len(found.text) <= LONGEST
    assert highlight_passages(" \n\x00", {}, "f", 3) == ()


def test_tags_are_taken_away_and_nothing_else() -> None:
    text = "if a <em>b</em> & c < d"
    (found,) = highlight_passages(text, {"x": [marked("if a <em>{b}</em> & c < d")]}, "f", 1)
    assert found.text == text


@given(TEXTS, st.integers(1, 60))
def test_a_cut_piece_is_no_longer_than_allowed_and_never_empty(text: str, longest: int) -> None:
    end = cut(text, 0, longest)
    assert end <= longest
    assert end > 0 or not text
    assert (
        end == len(text)
        or end in {*sentence_ends(text, 0, len(text)), *word_ends(text, 0, len(text))}
        or (not word_ends(text, 0, longest + 1))
    )


@given(TEXTS)
def test_sentences_end_inside_without_white_space(text: str) -> None:
    ends = sentence_ends(text, 0, len(text))
    assert ends == sorted(set(ends))
    assert all(0 < end <= len(text) and not text[end - 1].isspace() for end in ends)


def test_sentences_and_numbers() -> None:
    text = 'Version 3.11 is out. "Really?" Yes! 日本語。次の文\nEnd'
    assert [text[:end] for end in sentence_ends(text, 0, len(text))] == [
        "Version 3.11 is out.",
        'Version 3.11 is out. "Really?"',
        'Version 3.11 is out. "Really?" Yes!',
        'Version 3.11 is out. "Really?" Yes! 日本語。',
        'Version 3.11 is out. "Really?" Yes! 日本語。次の文',
    ]


def test_a_cut_parts_no_character_from_its_accents() -> None:
    assert cut("e\u0301" * 9, 0, 3) == 2
    assert cut("👩\u200d🚀" * 3, 0, 5) == 3


@pytest.mark.parametrize("count", [-1, 101, 1.0, True, "3"])
def test_numbers_of_passages_that_cannot_be(count: int) -> None:
    with pytest.raises(InvalidQuery, match="between 0 and 100"):
        require_passages(count)
