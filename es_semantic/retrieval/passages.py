"""The parts of a document that answer a query: what is asked of Elasticsearch for them, and what is made of it. Pure.

For a semantic field in chunks these are its nearest chunks, scored by ``script_score``: the inner hits of a kNN search
are ordered by quantised vectors, and so often wrongly. For one vector a document they are Elasticsearch's highlights.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.cutting import cut
from es_semantic.retrieval.documents import documents_query
from es_semantic.retrieval.exact import exact_query
from es_semantic.retrieval.found import Key
from es_semantic.retrieval.tree.nodes import Json, Vector
from es_semantic.schema.binding import Binding
from es_semantic.schema.text import BLANK, text_hash

MAX_PASSAGES = 100
"""Elasticsearch's own limit of inner hits (``index.max_inner_result_window``)."""

LONGEST = 500
"""Code points of a passage that is no chunk, at most."""

MAX_ANALYZED = 1_000_000
"""Characters of a field that are looked through for highlights. Beyond as many Elasticsearch refuses the whole search
(``index.highlight.max_analyzed_offset``), unless it is told where to stop."""

_MARK = uuid.uuid4().hex
_OPEN, _CLOSE = f"<{_MARK}>", f"</{_MARK}>"
"""Around each word that is found; nobody's text holds them."""

_FOUND = re.compile(f"{_OPEN}(.*?){_CLOSE}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document's canonical text: ``text`` is ``source_text(source, fields)[start:end]``, in code points.

    ``score`` is a chunk's kNN score by the query's vector; None where the passage is no chunk but a highlight, or the
    beginning of the text. ``field`` is the semantic field whose canonical text it is cut from.
    """

    text: str
    start: int
    end: int
    score: float | None
    field: str


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk as stored: where it lies in the text of that ``hash``, and its score."""

    start: int
    end: int
    score: float


def require_passages(count: int) -> int:
    """Return how many passages each hit shall have.

    Raises:
        InvalidQuery: it is not between 0 and 100.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_PASSAGES:
        raise InvalidQuery(f"passages must be between 0 and {MAX_PASSAGES}, not {count!r}")
    return count


def chunks_body(
    keys: Sequence[Key], vector: Vector, binding: Binding, name: str, *, count: int, sources: Sequence[str]
) -> Json:
    """Return the search for the ``count`` nearest chunks of each of these documents, best first.

    Only chunks of the bound model in documents that are ``ready`` are found. With them comes the hash of the text that
    they were cut from, and the fields ``sources``.
    """
    true = [documents_query(keys), {"term": {f"{name}.status": "ready"}}]
    query = exact_query(vector, binding, name, true)
    path = f"{name}.chunks"
    query["bool"]["must"][0]["nested"]["inner_hits"] = {
        "size": count,
        "_source": False,
        "docvalue_fields": [f"{path}.start", f"{path}.end"],
    }
    return {"size": len(keys), "query": query, "_source": [*sources, f"{name}.hash"], "track_total_hits": False}


def read_chunks(hit: Mapping[str, Any], name: str) -> tuple[str | None, list[Span]]:
    """Return the hash of the text that a document's chunks were cut from, and the chunks, best first."""
    path = f"{name}.chunks"
    found = hit["inner_hits"][path]["hits"]["hits"]
    spans = [
        Span(chunk["fields"][f"{path}.start"][0], chunk["fields"][f"{path}.end"][0], chunk["_score"]) for chunk in found
    ]
    return ((hit.get("_source") or {}).get(name) or {}).get("hash"), spans


def chunk_passages(text: str, digest: str | None, spans: Sequence[Span], name: str) -> tuple[Passage, ...]:
    """Return the chunks of a text; none where they were cut from another text than this, as their hash tells."""
    if digest != text_hash(text):
        return ()
    fitting = [span for span in spans if 0 <= span.start < span.end <= len(text)]
    return tuple(Passage(text[span.start : span.end], span.start, span.end, span.score, name) for span in fitting)


def highlights_body(
    keys: Sequence[Key], query: str, fields: Sequence[str], *, count: int, sources: Sequence[str]
) -> Json:
    """Return the search for the fragments of these documents in which words of the query stand."""
    highlight = {
        "type": "unified",
        "order": "score",
        "fragment_size": LONGEST,
        "number_of_fragments": count,
        "max_analyzed_offset": MAX_ANALYZED,
        "pre_tags": [_OPEN],
        "post_tags": [_CLOSE],
        "highlight_query": {"multi_match": {"query": query, "fields": list(fields)}},
        "fields": {field: {} for field in fields},
    }
    return {
        "size": len(keys),
        "query": documents_query(keys),
        "_source": list(sources) or False,
        "highlight": highlight,
        "track_total_hits": False,
    }


def highlight_passages(
    text: str, highlights: Mapping[str, Sequence[str]], name: str, count: int
) -> tuple[Passage, ...]:
    """Return the best ``count`` fragments, else the beginning of the text; nothing where it has none.

    Fragments with more different words of the query come first, then longer ones, then as they stand. None overlaps
    another, and one that does not stand in the canonical text as it is (as a number may not) is left out.
    """
    ranked = []
    for fragment in (fragment for found in highlights.values() for fragment in found):
        words = {word.casefold() for word in _FOUND.findall(fragment)}
        plain = fragment.replace(_OPEN, "").replace(_CLOSE, "")
        start = text.find(plain)
        if plain and start >= 0:
            ranked.append((-len(words), -len(plain), start))
    spans: list[tuple[int, int]] = []
    for _, length, start in sorted(ranked):
        end = cut(text, start, LONGEST) if -length > LONGEST else start - length
        if len(spans) < count and all(end <= other[0] or other[1] <= start for other in spans):
            spans.append((start, end))
    return tuple(Passage(text[start:end], start, end, None, name) for start, end in spans or _beginning(text))


def _beginning(text: str) -> list[tuple[int, int]]:
    start = len(text) - len(text.lstrip(BLANK))
    return [(start, cut(text, start, LONGEST))] if start < len(text) else []
