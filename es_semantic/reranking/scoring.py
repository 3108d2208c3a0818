"""What holds for the scores of every reranker, whatever made them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from es_semantic.embedding.unicode import encodable
from es_semantic.errors import RerankerError


def scored(query: str, texts: Sequence[str], score: Callable[[str, list[str]], list[float]]) -> list[float]:
    """Return a score for each text, in their order.

    ``score`` gets the query and the texts that differ and are not blank, without lone surrogates, at least one, and
    returns their scores. It sees each text once, because scores of equal texts that ran in different batches differ in
    their last digits, which would break a tie.
    """
    shown = encodable(texts)
    distinct = list(dict.fromkeys(text for text in shown if text.strip()))
    known = dict(zip(distinct, score(encodable([query])[0], distinct), strict=True)) if distinct else {}
    below = math.nextafter(min(known.values(), default=math.inf), -math.inf)
    blank = max(min(0.0, below), -sys.float_info.max)
    return [known.get(text, blank) for text in shown]


def checked(scores: Sequence[Any], count: int, name: str) -> list[float]:
    """Return the scores as floats.

    Raises:
        RerankerError: there are not ``count`` of them, or one is no number, NaN or infinite.
    """
    if len(scores) != count:
        raise RerankerError(
            f"reranker {name!r} returned {_counted(len(scores), 'score')} for {_counted(count, 'text')}"
        )
    numbers = [_number(score) for score in scores]
    wrong = sum(not math.isfinite(number) for number in numbers)
    if wrong:
        raise RerankerError(
            f"reranker {name!r} returned NaN, infinity or something that is no number for {wrong} of {count} texts"
        )
    return numbers


def by_index(rows: Any, key: str, count: int, name: str) -> list[float]:
    """Return the scores of an answer whose rows hold a text's ``index`` in the request and its score under ``key``.

    The rows may come in any order.

    Raises:
        RerankerError: the answer does not have that form, does not have each index once, or as :func:`checked`.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "index" in row and key in row for row in rows):
        raise RerankerError(
            f"reranker {name!r} answered with something that is not a list of objects with index and {key}",
            hint="Check rerankers.*.provider and rerankers.*.url.",
        )
    scores = checked([row[key] for row in rows], count, name)
    # True is the number 1 to Python, and 1.0 equals it.
    indexed = {row["index"]: score for row, score in zip(rows, scores, strict=True) if type(row["index"]) is int}
    if set(indexed) != set(range(count)):
        raise RerankerError(
            f"reranker {name!r} skips or repeats an index, or made one up, for {_counted(count, 'text')}"
        )
    return [indexed[position] for position in range(count)]


def _number(score: Any) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float):
        return math.nan
    try:
        return float(score)
    except OverflowError:
        return math.nan


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
