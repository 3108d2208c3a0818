"""Long texts in chunks: where each begins and ends, so that none is longer than the model looks at.

Borders are found by the library semantic-text-splitter: paragraphs before lines, lines before sentences, sentences
before words (Unicode Standard Annex 29). Why chunks are made this way: docs/decisions/chunks.md.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator
from semantic_text_splitter import TextSplitter

from es_semantic.embedding.unicode import encodable
from es_semantic.embedding.window import heads
from es_semantic.errors import InputRejected, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_TOKENS = 16
"""The smallest chunk that may be asked for, in tokens, prompt and special tokens included."""

MIN_ROOM = 8
"""Tokens that prompt and special tokens must leave for the text itself."""

DEFAULT_TOKENS = 256
"""Tokens of a chunk where the model's window is unknown."""

LARGEST_DEFAULT = 512
"""Tokens of a chunk where the model would look at more: one vector says little about many pages."""

OVERLAP = 10
"""One part in so many of a chunk is also the end of the chunk before."""

MAX_CHUNKS = 9_000
"""Elasticsearch takes 10,000 nested objects a document (``index.mapping.nested_objects.limit``), the owner's
included; a thousand are left to them."""

BYTES_PER_TOKEN = 4
"""UTF-8 bytes, for models whose tokenizer is out of reach, such as those behind HTTP: four English characters, two of
Greek or Russian, one and a third of Chinese."""

SEAM = 2
"""Tokens spared between prompt and text, which may be cut into other tokens where they stand together."""

CHUNKS_PER_WINDOW = 16
FIRST_WINDOW = 16
LARGEST_WINDOW = 128
"""Characters per token of a chunk that are looked at together; whatever still fits one chunk is cut there."""

Count = Callable[[str], int]


class Chunking(BaseModel):
    """How texts are split: ``max_tokens`` of a chunk by the model's own tokenizer, prompt and special tokens included,
    of which up to ``overlap``, less than half, repeat the end of the chunk before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: int = Field(ge=MIN_TOKENS)
    overlap: int = Field(ge=0)

    @model_validator(mode="after")
    def _chunks_move_on(self) -> Chunking:
        if 2 * self.overlap >= self.max_tokens:
            raise ValueError("overlap must be less than half of max_tokens")
        return self

    def __str__(self) -> str:
        """Return ``256/25`` for 256 tokens with an overlap of 25."""
        return f"{self.max_tokens}/{self.overlap}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a text by its offsets in Unicode code points: ``text[start:end]`` is what is embedded."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class TokenCounter:
    """A model's tokenizer without truncation and padding; ``reserved`` counts the tokens that the document prompt and
    the special tokens take beside every text."""

    tokenizer: Tokenizer
    reserved: int

    def count(self, text: str) -> int:
        """Return the number of tokens of the text alone."""
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def counts(self, texts: list[str]) -> list[int]:
        """Return the number of tokens of each text alone."""
        return [len(each.ids) for each in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def borders(self, text: str) -> tuple[list[int], list[int]]:
        """Return where the tokens of the text begin and where they end, in code points, both ascending."""
        offsets = self.tokenizer.encode(text, add_special_tokens=False).offsets
        return sorted(start for start, _ in offsets), sorted(end for _, end in offsets)


def document_tokenizer(tokenizer: Tokenizer, prompt: str = "") -> TokenCounter:
    """Return a model's tokenizer for :func:`split`; a copy, so that nobody's truncation settings are changed.

    ``prompt`` is what the model puts before every document.
    """
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return TokenCounter(copy, len(copy.encode(prompt).ids) + (SEAM if prompt else 0))


def tokenizer_of(embedder: object) -> TokenCounter | None:
    """Return an embedder's ``document_tokenizer``, None where it has none: the protocol does not demand one."""
    found = getattr(embedder, "document_tokenizer", None)
    return found if isinstance(found, TokenCounter) else None


def default_chunking(window: int | None) -> Chunking:
    """Return the chunks for a model that looks at so many tokens, None where that is unknown."""
    tokens = max(MIN_TOKENS, min(window or DEFAULT_TOKENS, LARGEST_DEFAULT))
    return Chunking(max_tokens=tokens, overlap=tokens // OVERLAP)


def is_longer(text: str, tokens: int, tokenizer: TokenCounter | None) -> bool:
    """Say whether a text, with prompt and special tokens, has more than so many tokens.

    Without a tokenizer four bytes of UTF-8 count as one token. A text of megabytes costs little more than a page,
    unless it has so few tokens that all of it must be counted.
    """
    (text,) = encodable([text])
    if tokenizer is None:
        return _estimate(text) > tokens
    _, (length,) = heads([text], lambda head: tokenizer.count(head) + tokenizer.reserved, tokens)
    return length > tokens


def room(chunking: Chunking, tokenizer: TokenCounter | None) -> int:
    """Return how many tokens of a chunk are left for the text itself.

    Raises:
        UsageError: prompt and special tokens leave fewer than 8.
    """
    reserved = tokenizer.reserved if tokenizer is not None else 0
    if chunking.max_tokens - reserved < MIN_ROOM:
        raise UsageError(
            f"chunks of {chunking.max_tokens} tokens leave no room for text: the model's document prompt and special "
            f"tokens take {reserved}",
            hint="Use a shorter document prompt, or attach with --chunk never.",
        )
    return chunking.max_tokens - reserved


def split(text: str, chunking: Chunking, tokenizer: TokenCounter | None = None) -> list[Chunk]:
    """Split a canonical text (``es_semantic.schema.text.source_text``) into chunks, in their order.

    There is at least one chunk. A text that fits is one chunk. Every character is in some chunk but for white space at
    the ends of chunks; starts and ends both ascend. With a ``tokenizer`` no chunk has more than ``chunking.max_tokens``
    tokens, prompt and special tokens included, but for a single character that alone has more. Without one, four
    bytes of UTF-8 count as one token. Lone surrogates count as the ``?`` that they are embedded as.

    Raises:
        InputRejected: the text needs more than 9,000 chunks.
        UsageError: prompt and special tokens leave no room for text.
    """
    space = room(chunking, tokenizer)
    if not is_longer(text, chunking.max_tokens, tokenizer):
        return [_trimmed(text, Chunk(0, len(text)))]
    (text,) = encodable([text])
    overlap = min(chunking.overlap, (space - 1) // 2)
    chunks: list[Chunk] = []
    for chunk in _windows(text, space, overlap, tokenizer):
        _add(chunks, chunk)
        if len(chunks) > MAX_CHUNKS:
            raise InputRejected(
                f"the text has {len(text):,} characters and needs more than {MAX_CHUNKS:,} chunks of "
                f"{chunking.max_tokens} tokens, which is as many as one document may hold",
                hint="Store such a text as several documents.",
            )
    return chunks or [Chunk(0, len(text))]


def _add(chunks: list[Chunk], chunk: Chunk) -> None:
    """Append a chunk, unless it lies in the last one; those that lie in it go. Overlaps can come out so."""
    if chunks and chunk.end <= chunks[-1].end:
        return
    while chunks and chunk.start <= chunks[-1].start:
        chunks.pop()
    chunks.append(chunk)


def _windows(text: str, space: int, overlap: int, tokenizer: TokenCounter | None) -> Iterator[Chunk]:
    """Split window by window, so that time and memory grow with the length of the text and no faster.

    The last chunk of a window might go on behind it, and begins the next window instead: behind this one's begin, as
    the starts of chunks ascend.
    """
    at, width = 0, FIRST_WINDOW * space
    while at < len(text):
        end = _safe_border(text, at, at + width)
        found = _split_window(text[at:end], space, overlap, tokenizer)
        if end == len(text) or (len(found) < 2 and width == LARGEST_WINDOW * space):
            yield from (Chunk(at + chunk.start, at + chunk.end) for chunk in found)
            at = end
        elif len(found) < 2:
            width = min(2 * width, LARGEST_WINDOW * space)
        else:
            yield from (Chunk(at + chunk.start, at + chunk.end) for chunk in found[:-1])
            length = found[-1].start // (len(found) - 1)
            at += found[-1].start
            width = max(FIRST_WINDOW * space // 4, min(CHUNKS_PER_WINDOW * length, LARGEST_WINDOW * space))


def _split_window(window: str, space: int, overlap: int, tokenizer: TokenCounter | None) -> list[Chunk]:
    if tokenizer is None:
        return _pieces(TextSplitter.from_callback(_estimate, space, overlap), window)
    chunks = _pieces(TextSplitter.from_callback(_reading(window, tokenizer), space, overlap), window)
    fitting: list[Chunk] = []
    lengths = tokenizer.counts([window[chunk.start : chunk.end] for chunk in chunks])
    for chunk, length in zip(chunks, lengths, strict=True):
        parts = [chunk] if length <= space else _split_exactly(window, chunk, space, overlap, tokenizer)
        for part in parts:
            _add(fitting, part)
    return fitting


def _split_exactly(text: str, chunk: Chunk, space: int, overlap: int, tokenizer: TokenCounter) -> Iterator[Chunk]:
    splitter = TextSplitter.from_callback(tokenizer.count, space, overlap)
    for part in _pieces(splitter, text[chunk.start : chunk.end]):
        yield from _halves(text, Chunk(chunk.start + part.start, chunk.start + part.end), space, tokenizer)


def _halves(text: str, chunk: Chunk, space: int, tokenizer: TokenCounter) -> Iterator[Chunk]:
    """Cut what has more tokens than bytes, which the library takes for impossible (0.33)."""
    length = chunk.end - chunk.start
    if length == 1 or tokenizer.count(text[chunk.start : chunk.end]) <= space:
        yield chunk
    else:
        middle = chunk.start + length // 2
        yield from _halves(text, Chunk(chunk.start, middle), space, tokenizer)
        yield from _halves(text, Chunk(middle, chunk.end), space, tokenizer)


def _reading(window: str, tokenizer: TokenCounter) -> Count:
    """Return a count that reads off one tokenisation of the window: the library asks for about ten pieces a chunk.

    A piece that begins or ends inside a token may count less than alone.
    """
    starts, ends = tokenizer.borders(window)

    def count(piece: str) -> int:
        # Where the same piece stands twice, either place has the same tokens.
        at = window.find(piece)
        return bisect_left(starts, at + len(piece)) - bisect_right(ends, at) if at >= 0 else tokenizer.count(piece)

    return count


def _pieces(splitter: TextSplitter, text: str) -> list[Chunk]:
    return [Chunk(start, start + len(piece)) for start, piece in splitter.chunk_indices(text)]


def _safe_border(text: str, at: int, end: int) -> int:
    """Return where to cut at or before ``end``: after white space, else between two characters as people see them."""
    if end >= len(text):
        return len(text)
    for border in range(end, (at + end) // 2, -1):
        if text[border - 1].isspace() and not text[border].isspace():
            return border
    for border in range(end, max(at + 1, end - FIRST_WINDOW), -1):
        if unicodedata.category(text[border])[0] != "M" and not _joins(text[border - 1]) and not _joins(text[border]):
            return border
    return end


def _joins(character: str) -> bool:
    """Say whether a character belongs to its neighbour: zero-width joiners, skin tones."""
    return unicodedata.category(character) in ("Cf", "Sk")


def _trimmed(text: str, chunk: Chunk) -> Chunk:
    part = text[chunk.start : chunk.end]
    start, end = len(part) - len(part.lstrip()), len(part.rstrip())
    return Chunk(chunk.start + start, chunk.start + end) if start < end else chunk


def _estimate(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
