"""Cut a document's text into chunks, along what Markdown says of it, none longer than the model looks at."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from semantic_text_splitter import MarkdownSplitter

from es_semantic.embedding import Embedder
from es_semantic.embedding.chunking import (
    BYTES_PER_TOKEN,
    Chunking,
    TokenCounter,
    default_chunking,
    room,
    split,
    tokenizer_of,
)

SECTION = 20_000
"""Characters that are cut together. A longer text is parted before a heading, else between paragraphs or lines, so that
time and memory grow no faster than the text."""

BORDERS = ("\n#", "\n\n", "\n", " ")


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts texts into chunks of so many tokens by this tokenizer; without one, four bytes of UTF-8 count as a token."""

    chunking: Chunking
    tokenizer: TokenCounter | None

    def pieces(self, text: str) -> list[str]:
        """Return the chunks in their order; none of a blank text. Only white space between two of them is left out.

        Raises:
            UsageError: the model's prompt leaves no room for text.
        """
        space = room(self.chunking, self.tokenizer)
        return [piece for section in sections(text) for piece in self._cut(section, space)]

    def _cut(self, section: str, space: int) -> Iterator[str]:
        splitter = MarkdownSplitter.from_callback(self._counting(section), space)
        for piece in splitter.chunks(section):
            if self._count(piece) <= space:
                yield piece
            else:
                # Counted within the section a piece can come out shorter than alone.
                yield from (piece[part.start : part.end] for part in split(piece, self.chunking, self.tokenizer))

    def _count(self, piece: str) -> int:
        return self.tokenizer.count(piece) if self.tokenizer is not None else -(-len(piece.encode()) // BYTES_PER_TOKEN)

    def _counting(self, section: str) -> Callable[[str], int]:
        """Return a count that reads off one tokenisation of the section: the library asks for many pieces a chunk."""
        if self.tokenizer is None:
            return self._count
        starts, ends = self.tokenizer.borders(section)

        def count(piece: str) -> int:
            at = section.find(piece)
            if at < 0:
                return self._count(piece)
            return bisect_left(starts, at + len(piece)) - bisect_right(ends, at)

        return count


def cutter_for(embedder: Embedder) -> Cutter:
    """Return how texts are cut for a model: to its window, 512 tokens at most, 256 where the window is unknown."""
    whole = default_chunking(embedder.profile.max_tokens)
    return Cutter(Chunking(max_tokens=whole.max_tokens, overlap=0), tokenizer_of(embedder))


def sections(text: str) -> Iterator[str]:
    """Part a text into stretches of 20,000 characters at most; together they are the text."""
    at = 0
    while len(text) - at > SECTION:
        end = _border(text, at + SECTION // 2, at + SECTION)
        yield text[at:end]
        at = end
    yield text[at:]


def _border(text: str, first: int, last: int) -> int:
    for border in BORDERS:
        found = text.rfind(border, first, last)
        if found >= 0:
            return found + 1
    return last
