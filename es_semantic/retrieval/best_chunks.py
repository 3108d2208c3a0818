"""The parts of a text that a reranker should read: cut by sentences or words, ranked by the query's. Pure functions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from es_semantic.retrieval.cutting import sentence_ends
from es_semantic.retrieval.tree.chunking import Chunking

K1, B = 1.2, 0.75
"""Lucene's parameters of BM25."""

_HAN = "\u3005\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_HAN}]|[^\W{_HAN}]+")
"""Words as Lucene's standard tokenizer has them in most texts: of Chinese and Japanese each character is one."""


def best_chunks(text: str, query: str, chunking: Chunking) -> list[str]:
    """Return the chunks of a text that fit the query best, best first; those with none of its words come last.

    They are ranked among each other alone, as by an index of one document's chunks (Elastic docs, "Text similarity
    re-ranker retriever", ``chunk_rescorer``). A text without words is its own only chunk.
    """
    chunks = list(dict.fromkeys(_chunks(text, chunking))) or [text]
    scores = bm25(chunks, query)
    order = sorted(range(len(chunks)), key=lambda place: -scores[place])
    return [chunks[place] for place in order[: chunking.size]]


def bm25(chunks: Sequence[str], query: str) -> list[float]:
    """Return the BM25 score of each chunk, 0 for one without a word of the query.

    Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with Lucene's inverse
    document frequency; a word that stands twice in the query counts twice.
    """
    counts = [Counter(_words(chunk)) for chunk in chunks]
    lengths = [counted.total() for counted in counts]
    mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
    having = Counter(word for counted in counts for word in counted)
    asked = Counter(_words(query))
    rarity = {
        word: math.log(1 + (len(chunks) - having[word] + 0.5) / (having[word] + 0.5)) * times
        for word, times in asked.items()
    }
    return [
        math.fsum(
            rarity[word] * counted[word] / (counted[word] + K1 * (1 - B + B * length / mean))
            for word in asked
            if counted[word]
        )
        for counted, length in zip(counts, lengths, strict=True)
    ]


def _chunks(text: str, chunking: Chunking) -> Iterator[str]:
    if chunking.strategy == "none":
        return iter([text])
    if chunking.strategy == "word":
        return _by_words(text, chunking.words, chunking.overlap)
    return _by_sentences(text, chunking)


def _by_words(text: str, longest: int, overlap: int) -> Iterator[str]:
    words = [found.span() for found in _WORD.finditer(text)]
    for first in range(0, len(words), longest - overlap):
        last = min(first + longest, len(words))
        # What stands between two chunks goes with the first of them.
        end = words[last][0] if last < len(words) else len(text)
        yield text[words[first][0] if first else 0 : end].strip()
        if last == len(words):
            return


def _by_sentences(text: str, chunking: Chunking) -> Iterator[str]:
    """As many whole sentences as fit; one that is too long alone is cut by words. The last one may begin the next."""
    ends = sentence_ends(text, 0, len(text))
    sentences = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    held: list[str] = []
    words, fresh = 0, False
    for sentence in filter(str.strip, sentences):
        size = _count(sentence)
        if held and words + size > chunking.words:
            if fresh:
                yield "".join(held).strip()
            last = _count(held[-1])
            keep = chunking.overlap and last + size <= chunking.words
            held, words, fresh = (held[-1:], last, False) if keep else ([], 0, False)
        if size > chunking.words:
            yield from _by_words(sentence, chunking.words, 0)
            continue
        held.append(sentence)
        words, fresh = words + size, True
    if held and fresh:
        yield "".join(held).strip()


def _count(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
