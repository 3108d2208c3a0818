"""How source fields are analysed for BM25 by their language, as kept in the binding (docs/decisions/language.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from es_semantic.config.languages import ANALYZERS, language_of
from es_semantic.errors import UsageError

SOURCE_BOOST = 0.5
"""Boost of the source fields themselves, once every document is in the analysed ones."""


class Analysis(BaseModel):
    """Which fields hold the text as its language is analysed: one for each source field, in their order.

    A field is a sub-field that attach has added, or what the owner's mapping analyses so already: a sub-field, or the
    source field itself. ``complete`` says that every document was in them once; whatever is written later is as well.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str
    analyzer: str
    fields: list[str] = Field(min_length=1)
    complete: bool = False


def require_language(code: str) -> str:
    """Return the language of a code, as bindings hold it.

    Raises:
        UsageError: Elasticsearch has no analyser for it; the hint lists those that there are.
    """
    try:
        return language_of(code)
    except ValueError as error:
        raise UsageError(
            f"Elasticsearch has no built-in analyser for the language {code!r}",
            hint=f"Languages: {', '.join(ANALYZERS)}. In any other, leave --language out.",
        ) from error


def bm25_fields(source: Sequence[str], analysis: Analysis | None) -> list[str]:
    """Return the fields that BM25 looks at, with their boosts.

    The source fields themselves stay among them: an analyser throws away what somebody may ask for, such as stop words,
    or CJK characters that stand alone. Until the analysed fields are complete their boost is the same, so that
    documents which are not there yet rank as they always did.
    """
    if analysis is None:
        return list(source)
    boost = f"^{SOURCE_BOOST}" if analysis.complete else ""
    return [*dict.fromkeys(analysis.fields), *(f"{field}{boost}" for field in source if field not in analysis.fields)]


def common_analysis(analyses: Iterable[Analysis | None]) -> Analysis | None:
    """Return an analysis for a query of all that are analysed so: the fields of all, complete where all are.

    A field that an index does not map is no matter there. The language and analyser are those of the first.
    """
    found = list(analyses)
    some = [each for each in found if each is not None]
    if not some:
        return None
    fields = list(dict.fromkeys(field for each in some for field in each.fields))
    complete = len(some) == len(found) and all(each.complete for each in some)
    return some[0].model_copy(update={"fields": fields, "complete": complete})


def missing_query(source: Sequence[str], analysis: Analysis) -> Mapping[str, Any]:
    """Return the query for documents that have a source field and are not in the analysed one.

    A text without a single term, such as one of stop words only, is in the field all the same: its norm is 0.
    """
    pairs = [(field, analysed) for field, analysed in zip(source, analysis.fields, strict=True) if field != analysed]
    missing = [
        {"bool": {"filter": [{"exists": {"field": field}}], "must_not": [{"exists": {"field": analysed}}]}}
        for field, analysed in pairs
    ]
    return {"bool": {"should": missing, "minimum_should_match": 1}} if missing else {"match_none": {}}
