"""What the tools answer, as typed values, and what is made of hits for them. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from es_semantic.retrieval import passages as parts
from es_semantic.retrieval.cutting import cut
from es_semantic.retrieval.results import Hit
from es_semantic.schema.text import BLANK

LONGEST_PASSAGE = 2_000
"""Code points of a passage; a chunk may be longer."""

LONGEST_VALUE = 200
"""Characters of a value that is shown beside passages."""

MOST_VALUES = 20

Scalar = str | int | float | bool


class SemanticField(BaseModel):
    """One way in which an index can be searched by meaning."""

    name: str = Field(description="What to give as `field`, where an index has several.")
    source_fields: list[str] = Field(description="The fields whose values, joined by newlines, are a document's text.")
    model: str = Field(description="The embedding model.")


class IndexInfo(BaseModel):
    """An index, alias or data stream that can be searched."""

    index: str
    description: str | None = None
    semantic_fields: list[SemanticField]
    filters: dict[str, str] = Field(description="Fields for exact filters, and their types.")


class Indices(BaseModel):
    """All that can be searched."""

    indices: list[IndexInfo]
    more: bool = Field(default=False, description="Whether there are further ones, which are not listed.")


class PassageInfo(BaseModel):
    """A part of a document's text; cite it by the document's index and id and these offsets."""

    text: str
    start: int = Field(description="Offset of the first character in the document's text, in Unicode code points.")
    end: int = Field(description="Offset behind the last character.")
    score: float | None = Field(default=None, description="How near it is to the query, where that is known.")


class HitInfo(BaseModel):
    """A document that was found."""

    index: str
    id: str
    routing: str | None = Field(default=None, description="Give it back to fetch and more_like, where there is one.")
    score: float
    passages: list[PassageInfo] = Field(description="Best first; from more_like the beginning of the text.")
    values: dict[str, Scalar] = Field(description="Short values of the document's other fields, as they are.")


class Failed(BaseModel):
    """A part of the search that failed, so that hits may be missing or ranked otherwise."""

    part: str
    reason: str


class Hits(BaseModel):
    """Documents, best first."""

    hits: list[HitInfo]
    field: str = Field(description="The semantic field whose text the passages are of.")
    failed: list[Failed] = []


class DocumentInfo(BaseModel):
    """A document's text, or the part of it that was asked for."""

    index: str
    id: str
    routing: str | None = None
    text: str
    start: int
    end: int
    length: int = Field(description="Length of the whole text, in Unicode code points.")
    field: str = Field(description="The semantic field whose text this is.")
    values: dict[str, Scalar] = Field(description="Short values of the document's other fields, as they are.")


def hit_info(hit: Hit, index: str, passages: list[PassageInfo]) -> HitInfo:
    """Return what is told of a hit, under the name ``index``."""
    return HitInfo(
        index=index,
        id=hit.id,
        routing=hit.routing,
        score=hit.score,
        passages=passages,
        values=short_values(hit.source),
    )


def passage_info(passage: parts.Passage) -> PassageInfo:
    """Return what is told of a passage, at most 2,000 code points."""
    end = cut(passage.text, 0, LONGEST_PASSAGE)
    return PassageInfo(text=passage.text[:end], start=passage.start, end=passage.start + end, score=passage.score)


def beginning(text: str) -> list[PassageInfo]:
    """Return the beginning of a text; nothing of one that is blank."""
    start = len(text) - len(text.lstrip(BLANK))
    if start == len(text):
        return []
    end = cut(text, start, parts.LONGEST)
    return [PassageInfo(text=text[start:end], start=start, end=end)]


def short_values(source: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return texts of up to 200 characters, numbers and truth values at the top of a document, at most twenty; so no
    vector is ever among them."""
    short = {
        _writable(name): _writable(value) if isinstance(value, str) else value
        for name, value in source.items()
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= LONGEST_VALUE)
    }
    return dict(list(short.items())[:MOST_VALUES])


def _writable(text: str) -> str:
    """A lone surrogate has no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")
