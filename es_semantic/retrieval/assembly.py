"""From ranked documents and their passages to one text for a prompt, under a budget of tokens: pure functions."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from es_semantic.retrieval.cutting import sentence_ends, word_ends

Count = Callable[[str], int]
"""Tokens of a text."""

LONGEST_TITLE = 100
"""Code points of a title in a citation's header."""

BETWEEN = "\n\n"
"""Between two citations."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document to cite: its canonical ``text``, and the ``spans`` that answer the query, best first.

    ``index``, ``id`` and ``routing`` say which it is, ``field`` is the semantic field whose canonical text it has.
    """

    index: str
    id: str
    title: str
    text: str
    spans: tuple[tuple[int, int], ...]
    field: str
    routing: str | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """What stands under ``[number]``: the document's canonical text from ``start`` to ``end``, in code points."""

    number: int
    index: str
    id: str
    routing: str | None
    field: str
    start: int
    end: int
    title: str
    text: str

    def __str__(self) -> str:
        """Return it as it stands in the prompt: a header line with number and title, and the text."""
        return f"[{self.number}] {self.title}\n{self.text}"


@dataclass(frozen=True, slots=True, order=True)
class _Block:
    """A part of the ``rank``-th document that is in the context."""

    rank: int
    start: int
    end: int


def assemble(documents: Sequence[Document], max_tokens: int, count: Count) -> tuple[str, tuple[Citation, ...], int]:
    """Return the context's text, its citations and its tokens, with headers and blank lines never above the budget.

    Documents come by rank, and their best passages are taken first; the passages of one document stand in the order of
    its text, those that overlap or touch as one. A passage whose words stand in the context already is left out, as is
    one that does not fit whole. Only where nothing fits before it a passage is cut, after a sentence or, where that
    would leave less than half of what fits, after a word.
    """
    assembly = _Assembly(documents, max_tokens, count)
    for rank, document in enumerate(documents):
        for start, end in document.spans:
            if assembly.has(_Block(rank, start, end)) or assembly.take(_Block(rank, start, end)):
                continue
            if not assembly.blocks:
                assembly.take_beginning(_Block(rank, start, end))
    citations = assembly.citations(assembly.blocks)
    text = _text(citations)
    return text, citations, count(text) if citations else 0


def estimated_tokens(text: str) -> int:
    """Return a number of tokens that tokenizers rarely exceed: one for every two bytes of UTF-8.

    English has about four bytes a token, Chinese two to three, program text about three; only runs of digits or of rare
    characters may have fewer.
    """
    return -(-len(text.encode("utf-8", "replace")) // 2)


def one_line(title: str) -> str:
    """Return a title as a header has it: in one line, and shortened."""
    line = " ".join(title.encode("utf-8", "replace").decode("utf-8").split())
    return line if len(line) <= LONGEST_TITLE else line[: LONGEST_TITLE - 1] + "…"


class _Assembly:
    """What is in the context so far: ``blocks``, in their order."""

    def __init__(self, documents: Sequence[Document], max_tokens: int, count: Count) -> None:
        self.documents = documents
        self.max_tokens = max_tokens
        self.count = count
        self.blocks: list[_Block] = []
        self._words: list[str] = []

    def has(self, block: _Block) -> bool:
        """Whether the words of a block stand in the context; those of none do."""
        words = self._words_of(block)
        return any(words in known for known in self._words) if words else True

    def take(self, block: _Block) -> bool:
        """Take a block in, if then everything fits."""
        blocks = self._merged(block)
        if not self._fit(blocks):
            return False
        self.blocks, self._words = blocks, [self._words_of(each) for each in blocks]
        return True

    def take_beginning(self, block: _Block) -> None:
        """Take in as much of a block's beginning as fits."""
        text = self.documents[block.rank].text
        sentence = self._longest(block, sentence_ends(text, block.start, block.end))
        word = self._longest(block, word_ends(text, block.start, block.end))
        end = sentence if 2 * (sentence - block.start) >= word - block.start else word
        if end > block.start:
            self.take(replace(block, end=end))

    def citations(self, blocks: Iterable[_Block]) -> tuple[Citation, ...]:
        """Return the blocks numbered and with what they are cut from."""
        cited = [(block, self.documents[block.rank]) for block in blocks]
        return tuple(
            Citation(
                number=number,
                index=document.index,
                id=document.id,
                routing=document.routing,
                field=document.field,
                start=block.start,
                end=block.end,
                title=document.title,
                text=document.text[block.start : block.end],
            )
            for number, (block, document) in enumerate(cited, start=1)
        )

    def _fit(self, blocks: Iterable[_Block]) -> bool:
        return self.count(_text(self.citations(blocks))) <= self.max_tokens

    def _longest(self, block: _Block, ends: Sequence[int]) -> int:
        """Return the last of the ends up to which a block fits, found by halving; its start where none does."""
        at = bisect(ends, False, key=lambda end: not self._fit(self._merged(replace(block, end=end))))
        return ends[at - 1] if at else block.start

    def _merged(self, new: _Block) -> list[_Block]:
        """Return the blocks with a new one; those of a document with nothing but white space between are one."""
        merged: list[_Block] = []
        for block in sorted([*self.blocks, new]):
            last = merged[-1] if merged else None
            if last is not None and last.rank == block.rank and not self._between(last, block).strip():
                merged[-1] = replace(last, end=max(last.end, block.end))
            else:
                merged.append(block)
        return merged

    def _between(self, first: _Block, second: _Block) -> str:
        return self.documents[first.rank].text[first.end : second.start]

    def _words_of(self, block: _Block) -> str:
        return " ".join(self.documents[block.rank].text[block.start : block.end].split())


def _text(citations: Iterable[Citation]) -> str:
    return BETWEEN.join(map(str, citations))
