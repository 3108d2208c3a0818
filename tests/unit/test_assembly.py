"""A context's text: never above its budget, nothing twice, in order, and every citation is a slice of its document."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.retrieval.assembly import Citation, Count, Document, assemble, estimated_tokens, one_line

WORDS = ["red", "apple", "plum", "a", "run.", "swim!", "𠮷野家", "日本語。", "été", "\n", "  ", "Ende?"]
COUNTS: dict[str, Count] = {
    "characters": len,
    "words": lambda text: len(text.split()),
    "estimated": estimated_tokens,
    # Not additive, and not even growing with the text, as merges of tokens may make it.
    "odd": lambda text: len(text) // 3 + len(text) % 5,
}
HUGE = 1_000_000


@st.composite
def documents(draw: st.DrawFn) -> list[Document]:
    """Up to five documents of a few words with a few spans each, overlapping and repeated ones among them."""
    found = []
    for number in range(draw(st.integers(0, 5))):
        text = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(" ".join))
        offsets = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
        spans = draw(st.lists(offsets.map(lambda pair: (min(pair), max(pair))), max_size=4))
        found.append(Document("i", str(number), f"title {number}", text, tuple(spans), "semantic"))
    return found


@given(documents(), st.integers(1, 200), st.sampled_from(sorted(COUNTS)))
def test_the_promises(found: list[Document], budget: int, way: str) -> None:
    count = COUNTS[way]
    text, citations, tokens = assemble(found, budget, count)
    assert text == "\n\n".join(f"[{each.number}] {each.title}\n{each.text}" for each in citations)
    assert tokens == (count(text) if citations else 0) <= budget
    assert [each.number for each in citations] == list(range(1, len(citations) + 1))
    by_id = {document.id: document for document in found}
    for each in citations:
        assert by_id[each.id].text[each.start : each.end] == each.text
        assert each.text.strip()
    assert len({words(each.text) for each in citations}) == len(citations)
    assert_in_order(citations, found)


def assert_in_order(citations: Sequence[Citation], found: Sequence[Document]) -> None:
    """By rank, then by place; of one document no two overlap, and there is text between them that was not asked for."""
    ranks = {document.id: rank for rank, document in enumerate(found)}
    places = [(ranks[each.id], each.start) for each in citations]
    assert places == sorted(places)
    for first, second in pairwise(citations):
        if first.id == second.id:
            assert found[ranks[first.id]].text[first.end : second.start].strip()


def words(text: str) -> str:
    return " ".join(text.split())


@given(documents())
def test_where_everything_fits_everything_is_there(found: list[Document]) -> None:
    _, citations, _ = assemble(found, HUGE, len)
    for document in found:
        for start, end in document.spans:
            assert any(words(document.text[start:end]) in words(each.text) for each in citations) or not words(
                document.text[start:end]
            )


@given(documents(), st.integers(1, 300))
def test_the_best_passage_of_the_best_document_is_there_whole_if_it_fits(found: list[Document], budget: int) -> None:
    spans = [(document, span) for document in found for span in document.spans if words(document.text[slice(*span)])]
    if not spans:
        return
    document, (start, end) = spans[0]
    _, citations, _ = assemble(found, budget, len)
    alone = f"[1] {document.title}\n{document.text[start:end]}"
    if len(alone) <= budget:
        assert citations[0].id == document.id
        assert any(each.start <= start and end <= each.end for each in citations if each.id == document.id)


@given(documents(), st.integers(1, 40))
def test_only_the_first_is_cut_and_only_where_none_fits(found: list[Document], budget: int) -> None:
    _, citations, _ = assemble(found, budget, len)
    spans = {
        (document.id, at)
        for document in found
        for start, end in document.spans
        if words(document.text[start:end])
        for at in (start, end)
    }
    cut = [each for each in citations if (each.id, each.end) not in spans]
    assert len(cut) <= 1
    for each in cut:
        before = [
            document.text[start:end]
            for document in found[: int(each.id)]
            for start, end in document.spans
            if words(document.text[start:end])
        ]
        assert all(len(f"[1] title 0\n{text}") > budget for text in before)


def document(text: str, *spans: tuple[int, int], doc_id: str = "1", title: str = "T") -> Document:
    return Document("i", doc_id, title, text, spans, "semantic")


def test_overlapping_and_touching_chunks_are_one_citation() -> None:
    text = "One two three. Four five six. Seven eight nine. Ten."
    found = document(text, (15, 29), (0, 14), (10, 20), (48, 52))
    _, citations, _ = assemble([found], HUGE, len)
    assert [(each.start, each.end) for each in citations] == [(0, 29), (48, 52)]
    assert [each.text for each in citations] == ["One two three. Four five six.", "Ten."]


def test_the_same_text_in_another_document_is_there_once() -> None:
    first, second = document("Same  words.", (0, 12)), document("Same\nwords. More.", (0, 11), (12, 17), doc_id="2")
    text, citations, _ = assemble([first, second], HUGE, len)
    assert text == "[1] T\nSame  words.\n\n[2] T\nMore."
    assert [(each.id, each.start, each.end) for each in citations] == [("1", 0, 12), ("2", 12, 17)]


def test_better_passages_are_taken_first_and_stand_in_document_order() -> None:
    text = "aaaa bbbb cccc dddd eeee"
    found = document(text, (20, 24), (0, 4), (10, 14))
    assembled, citations, tokens = assemble([found], 22, len)
    assert assembled == "[1] T\naaaa\n\n[2] T\neeee"
    assert (tokens, [each.start for each in citations]) == (22, [0, 20])


def test_what_does_not_fit_is_left_out_and_a_shorter_one_goes_in() -> None:
    first = document("short.", (0, 6))
    second = document("long " * 20, (0, 99), doc_id="2")
    third = document("tiny.", (0, 5), doc_id="3")
    assert [each.id for each in assemble([first, second, third], 30, len)[1]] == ["1", "3"]


@pytest.mark.parametrize(
    ("text", "budget", "wanted"),
    [
        ("One. Two is longer. Three is longer still.", 25, "One. Two is longer."),
        ("One. A sentence that goes on and on without an end", 30, "One. A sentence that"),
        ("日本語。英語。中国語のとても長い文です。", 13, "日本語。英語。"),
        ("unbreakable" * 9, 40, ""),
        ("One. Two.", 5, ""),
    ],
)
def test_the_first_is_cut_after_a_sentence_or_a_word(text: str, budget: int, wanted: str) -> None:
    assembled, citations, tokens = assemble([document(text, (0, len(text)))], budget, len)
    assert [each.text for each in citations] == ([wanted] if wanted else [])
    assert assembled == (f"[1] T\n{wanted}" if wanted else "")
    assert tokens == len(assembled) <= budget


def test_the_header_counts() -> None:
    found = document("word", (0, 4), title="a title of some length")
    assert assemble([found], 10, len) == ("", (), 0)
    assert assemble([found], len("[1] a title of some length\nword"), len)[2] == 31


def test_no_documents_no_text() -> None:
    assert assemble([], 1, len) == ("", (), 0)


def test_titles_are_one_line() -> None:
    assert one_line(" a\n title\ud800 ") == "a title?"
    assert len(one_line("x" * 500)) == 100


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("four", 2), ("日本", 3), ("\ud800", 1)])
def test_the_estimate_is_one_token_for_two_bytes(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens
