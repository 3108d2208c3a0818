"""Tokenise documents once, in one call, with the same tokens that SentenceTransformers would make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_semantic.embedding.engines.protocol import LoadedModel
from es_semantic.embedding.window import CHARACTERS_PER_TOKEN, MARGIN, heads

TASK = "document"

Features = dict[str, NDArray[np.int64]]
"""``input_ids``, ``attention_mask`` and whatever else the tokenizer makes, each of shape (texts, longest)."""


@dataclass(frozen=True, slots=True)
class Tokenised:
    """``rows`` holds each text's tokens by feature name, cut at the window; ``over_long`` which were cut."""

    rows: list[dict[str, list[int]]]
    over_long: tuple[int, ...]

    @property
    def lengths(self) -> list[int]:
        """Tokens per text."""
        return [len(row["input_ids"]) for row in self.rows]


class DocumentTokenizer:
    """The model's own tokenizer, for a model that has a window. Calls take the model's turn."""

    def __init__(self, loaded: LoadedModel, window: int) -> None:
        self._loaded = loaded
        self._tokenizer = loaded.model.tokenizer
        self._window = window
        # A tokenizer that keeps the end of a text needs the whole of it.
        self._keeps_beginning = getattr(self._tokenizer, "truncation_side", "right") == "right"

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        """Return the tokens of the texts, which must be encodable, with prompt and special tokens."""
        shown, over = self._shown(texts)
        prompted = [self._loaded.prompt + text for text in shown]
        with self._loaded.turn:
            rows = self._rows(prompted, truncation=False)
            over |= {i for i, row in enumerate(rows) if len(row["input_ids"]) > self._window}
            cut = sorted(over)
            # The tokenizer cuts these itself: it alone knows which special tokens go where.
            for i, row in zip(cut, self._rows([prompted[i] for i in cut], truncation=True), strict=True):
                rows[i] = row
        return Tokenised(rows, tuple(cut))

    def padded(self, rows: list[dict[str, list[int]]], *, width: int | None = None) -> Features:
        """Return a batch, padded as the tokenizer pads: to ``width`` tokens, by default to its longest text."""
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        how: dict[str, Any] = {"padding": True} if width is None else {"padding": "max_length", "max_length": width}
        with self._loaded.turn:
            batch = self._tokenizer.pad(columns, return_tensors="np", **how)
        return {name: np.ascontiguousarray(batch[name], dtype=np.int64) for name in batch}

    def _shown(self, texts: Sequence[str]) -> tuple[list[str], set[int]]:
        """As much of each text as the model looks at, and which are already known to be longer than the window."""
        shown = list(texts)
        over: set[int] = set()
        limit = CHARACTERS_PER_TOKEN * (self._window + MARGIN)
        if self._keeps_beginning:
            for i in (i for i, text in enumerate(texts) if len(text) > limit):
                (shown[i],), (length,) = heads([texts[i]], self._count, self._window)
                if length > self._window:
                    over.add(i)
        return shown, over

    def _count(self, text: str) -> int:
        with self._loaded.turn:
            return len(self._rows([self._loaded.prompt + text], truncation=False)[0]["input_ids"])

    def _rows(self, prompted: list[str], *, truncation: bool) -> list[dict[str, list[int]]]:
        if not prompted:
            return []
        limit: dict[str, Any] = {"max_length": self._window} if truncation else {}
        found = self._tokenizer(prompted, truncation=truncation, verbose=False, **limit)
        return [{name: found[name][i] for name in found} for i in range(len(prompted))]


def library_features(loaded: LoadedModel, texts: Sequence[str]) -> dict[str, Any]:
    """Return what SentenceTransformers itself hands to the model for these documents, as one batch."""
    with loaded.turn:
        features: dict[str, Any] = loaded.model.preprocess(list(texts), prompt=loaded.prompt, task=TASK)
    return features
