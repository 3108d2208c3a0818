"""The lexical leg: what BM25 is asked for a text. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from es_semantic.retrieval.tree.nodes import Json
from es_semantic.schema.analysis import bm25_fields, common_analysis
from es_semantic.schema.binding import Binding


def words_query(text: str, groups: Sequence[Sequence[str]]) -> Json:
    """Return the query for a text in groups of fields; the group that fits a document best scores it.

    Within a group words are looked for as if its fields were one (Elastic docs, "Multi-match query", ``cross_fields``).
    """
    queries = [{"multi_match": {"query": text, "fields": list(fields), "type": "cross_fields"}} for fields in groups]
    return queries[0] if len(queries) == 1 else {"dis_max": {"queries": queries}}


def searched_fields(bindings: Iterable[Binding]) -> list[list[str]]:
    """Return the fields that BM25 looks at where the caller names none, with boosts, in groups of one analyser.

    These are the source fields; where a language is attached, before them the fields analysed by it.
    """
    every = list(bindings)
    source = source_fields(every)
    analysis = common_analysis(binding.analysis for binding in every)
    fields = bm25_fields(source, analysis)
    analysed = set(analysis.fields) if analysis is not None else set()
    groups = [
        [field for field in fields if field.partition("^")[0] in analysed],
        [field for field in fields if field.partition("^")[0] not in analysed],
    ]
    return [group for group in groups if group]


def source_fields(bindings: Iterable[Binding]) -> list[str]:
    """Return the source fields of all, each once."""
    return list(dict.fromkeys(field for binding in bindings for field in binding.source))


def highlighted_fields(bindings: Iterable[Binding]) -> dict[str, str]:
    """Return the fields to look for highlights in, and the source field that each one's fragments are shown under.

    Where a language is attached its fields know which words match; they hold the same text.
    """
    shown: dict[str, str] = {}
    for binding in bindings:
        searched = binding.analysis.fields if binding.analysis is not None else binding.source
        shown |= dict(zip(searched, binding.source, strict=True))
    return shown


def plain(fields: Iterable[str]) -> tuple[str, ...]:
    """Return the fields without their boosts, each once."""
    return tuple(dict.fromkeys(field.partition("^")[0] for field in fields))
