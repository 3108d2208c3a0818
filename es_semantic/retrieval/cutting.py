"""Where a text may be cut so that what stays reads well: pure functions. Offsets are in Unicode code points."""

from __future__ import annotations

import re
import unicodedata

_SENTENCE = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？｡]+[”’」』）]*|\n")  # noqa: RUF001 (full-width marks are meant)
_WORD = re.compile(r"(?<=\S)(?=\s)")
_JOINER = "\u200d"


def sentence_ends(text: str, start: int, end: int) -> list[int]:
    """Return where the sentences and lines of ``text[start:end]`` end, ascending, white space left outside.

    A sentence ends with a full stop, a question or an exclamation mark before white space, or with a full-width one.
    """
    ends = (start + len(text[start : found.end()].rstrip()) for found in _SENTENCE.finditer(text, start, end))
    return [at for at in dict.fromkeys(ends) if at > start]


def word_ends(text: str, start: int, end: int) -> list[int]:
    """Return where the words of ``text[start:end]`` end before white space, ascending."""
    return [found.end() for found in _WORD.finditer(text, start, end) if found.end() > start]


def cut(text: str, start: int, longest: int) -> int:
    """Return where a piece from ``start`` of at most ``longest`` code points ends best.

    That is the end of the text, else of the last sentence that leaves half of the piece or more, else of the last word,
    else the last place that parts no character from its accents.
    """
    end = start + longest
    if end >= len(text):
        return len(text)
    # The character behind the piece tells whether a word or a sentence ends with it.
    sentences = [at for at in sentence_ends(text, start, end + 1) if start + longest // 2 <= at <= end]
    words = [at for at in word_ends(text, start, end + 1) if at <= end]
    return max(sentences or words or [_between_characters(text, start, end)])


def _between_characters(text: str, start: int, end: int) -> int:
    at = end
    while at > start + 1 and (unicodedata.category(text[at])[0] == "M" or _JOINER in (text[at], text[at - 1])):
        at -= 1
    return at
