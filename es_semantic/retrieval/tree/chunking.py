"""How ``chunk_rescorer`` wants texts cut: Elastic's ``chunking_settings``, read and checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree.plain import ILLEGAL_ARGUMENT, short

Strategy = Literal["sentence", "word", "none", "recursive"]

DEFAULT_WORDS = 300
"""Words of a chunk where nothing is said about it."""

SMALLEST: Mapping[str, int] = {"sentence": 20, "word": 10}
"""Words that ``max_chunk_size`` may not fall below, by the strategy."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "sentence": ("max_chunk_size", "sentence_overlap"),
    "word": ("max_chunk_size", "overlap"),
    "none": (),
}
"""What each strategy is told besides its name."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """The ``size`` best chunks of a text, each of at most ``words`` words; ``overlap`` is in sentences or in words."""

    size: int = 1
    strategy: Strategy = "sentence"
    words: int = DEFAULT_WORDS
    overlap: int = 0


def read_chunking(given: Mapping[str, Any], path: str) -> Chunking:
    """Return what ``chunk_rescorer`` says; its ``size`` has been checked (Elastic docs, "Text similarity re-ranker").

    Without ``chunking_settings``, or with ``max_chunk_size`` alone, these are sentences without overlap.

    What is said of the strategy ``recursive`` Elasticsearch itself will check: it alone runs it.

    Raises:
        InvalidRetriever: settings that Elasticsearch refuses.
    """
    at = f"{path}.chunking_settings"
    settings = dict(given.get("chunking_settings") or {})
    size = int(given.get("size", 1))
    if set(settings) <= {"max_chunk_size"}:
        return Chunking(size, words=_whole(settings, "max_chunk_size", SMALLEST["sentence"], None, at, DEFAULT_WORDS))
    strategy = settings.pop("strategy", None)
    if strategy == "recursive":
        return Chunking(size, "recursive")
    if strategy not in KEYS:
        _refuse(f"{at}.strategy", f"Invalid chunkingStrategy {short(str(strategy))}")
    unknown = sorted(settings.keys() - set(KEYS[strategy]))
    if unknown:
        _refuse(at, f"[{strategy}] chunking settings can not have the setting [{short(unknown[0])}]")
    if strategy == "none":
        return Chunking(size, "none")
    words = _whole(settings, "max_chunk_size", SMALLEST[strategy], None, at, None)
    if strategy == "sentence":
        return Chunking(size, "sentence", words, _whole(settings, "sentence_overlap", 0, 1, at, 1))
    return Chunking(size, "word", words, _whole(settings, "overlap", 0, words // 2, at, None))


def _whole(
    settings: Mapping[str, Any], name: str, lowest: int, highest: int | None, at: str, otherwise: int | None
) -> int:
    value = settings.get(name, otherwise)
    path = f"{at}.{name}"
    if value is None:
        _refuse(at, f"[chunking_settings] does not contain the required setting [{name}]")
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(path, f"field [{name}] is not of the expected type, it must be a whole number")
    if value < lowest or (highest is not None and value > highest):
        allowed = f"at least {lowest}" if highest is None else f"between {lowest} and {highest}"
        _refuse(path, f"Invalid value [{value}]. [{name}] must be {allowed}")
    return value


def _refuse(path: str, reason: str) -> NoReturn:
    raise InvalidRetriever(path, ILLEGAL_ARGUMENT, reason)
