"""Chunks of Markdown hold the whole text, in order, and none is longer than the model looks at."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from es_semantic.embedding.chunking import Chunking
from es_semantic.errors import UsageError
from es_semantic.ingest import cut
from es_semantic.ingest.cut import Cutter, cutter_for, sections
from tests.embedder import TinyEmbedder
from tests.unit.test_chunking import KINDS, PROSE, TEXTS, prepared

MARKDOWN = [
    "# Title\n\n",
    "## Part\n",
    "* item\n* item\n",
    "```\ncode  code\n```\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
]
MARKDOWN += [
    "> quoted\n",
    "[link](http://example.org)",
    "---\n",
    "1. one\n2. two\n",
    "![](data:image/png;base64,AAAA)",
    PROSE,
]
BOTH = st.lists(st.one_of(st.sampled_from(MARKDOWN), TEXTS), max_size=12).map("".join)


def whole(text: str) -> str:
    return "".join(text.split())


@given(BOTH, st.sampled_from(KINDS), st.sampled_from([16, 40, 256]))
@example(PROSE * 40, "wordpiece", 16)
@example("x" * 5000, "bpe", 16)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_nothing_is_lost_and_nothing_too_long(text: str, kind: str, tokens: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    counter = prepared(kind)
    pieces = Cutter(Chunking(max_tokens=tokens, overlap=0), counter).pieces(text)
    assert whole("".join(pieces)) == whole(text)
    for piece in pieces:
        assert len(piece) == 1 or counter.count(piece) + counter.reserved <= tokens
        assert piece.strip()


def test_headings_begin_chunks() -> None:
    text = "".join(f"# Part {number}\n\n{PROSE}" for number in range(6))
    pieces = cutter_for(TinyEmbedder()).pieces(text)
    assert len(pieces) > 1
    assert all(piece.startswith("# Part") for piece in pieces)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("a" * 200, [100, 100]),
        (("a" * 79 + " ") * 2, [80, 80]),
        ("a" * 60 + "\n" + "b" * 10 + " " + "c" * 60, [61, 71]),
        ("a" * 60 + "\n\n" + "b" * 10 + "\n" + "c" * 60, [61, 72]),
        ("a" * 55 + "\n# T\n\n" + "b" * 10 + "\n\n" + "c" * 60, [56, 77]),
    ],
)
def test_long_texts_are_parted_at_the_best_border(text: str, ends: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "SECTION", 100)
    parts = list(sections(text))
    assert "".join(parts) == text
    assert [len(part) for part in parts] == ends


@given(st.text(alphabet="ab\n# ", max_size=400))
@settings(max_examples=100, derandomize=True)
def test_sections_are_the_text(text: str) -> None:
    before, cut.SECTION = cut.SECTION, 50
    try:
        parts = list(sections(text))
    finally:
        cut.SECTION = before
    assert "".join(parts) == text
    assert all(len(part) <= 50 for part in parts)


def test_a_change_in_one_place_leaves_the_other_chunks_as_they_are() -> None:
    draw = random.Random(7)
    words = [f"word{number}" for number in range(500)]
    parts = [f"## Part {number}\n\n{' '.join(draw.choices(words, k=200))}\n\n" for number in range(60)]
    cutter = cutter_for(TinyEmbedder())
    before = cutter.pieces("".join(parts))
    parts[30] = f"## Part 30\n\n{' '.join(draw.choices(words, k=170))}\n\n"
    after = cutter.pieces("".join(parts))
    assert len(set(after) - set(before)) <= 3 < len(after)


def test_no_room() -> None:
    counter = prepared("wordpiece")
    cutter = Cutter(Chunking(max_tokens=16, overlap=0), type(counter)(counter.tokenizer, 12))
    with pytest.raises(UsageError, match="leave no room"):
        cutter.pieces("text")
