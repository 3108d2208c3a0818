"""How many tokens a text has, without tokenising megabytes that the model would cut off anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CHARACTERS_PER_TOKEN = 16
"""Far above what natural text needs (about 4), so that almost every text that is cut here is over-long."""

GROWTH = 8
"""A beginning that turns out too short is tried again this many times longer."""

MARGIN = 128
"""Tokens between the window and the cut: a word in which the cut falls has other tokens than the whole word had."""


def heads(texts: Sequence[str], count: Callable[[str], int], window: int | None) -> tuple[list[str], list[int]]:
    """Return as much of each text as the model looks at, and how many tokens that is.

    A text that fits the ``window`` (in tokens, None for a model without one) is returned whole and its count is exact.
    Of any other text the beginning is returned, and its count is above the window. ``count`` counts the tokens of one
    text, with prompt and special tokens.
    """
    measured = [_head(text, count, window) for text in texts]
    return [text for text, _ in measured], [length for _, length in measured]


def _head(text: str, count: Callable[[str], int], window: int | None) -> tuple[str, int]:
    characters = len(text) if window is None else CHARACTERS_PER_TOKEN * (window + MARGIN)
    while characters < len(text):
        head = text[:characters]
        length = count(head)
        if window is not None and length > window + MARGIN:
            return head, length
        characters *= GROWTH
    return text, count(text)
