"""How much each word of a question counts, from how rare it is in the index; pure, but for the one request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.retrieval.tree.nodes import Json

MOST_WORDS = 128
"""Of a question; in a longer one the rarest count."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a question in the ``forms`` that the index has, and its inverse document frequency."""

    forms: tuple[str, ...]
    weight: float


def word_weights(index: str, question: str, fields: Sequence[str]) -> Steps[list[Word]]:
    """Return the words of a question, as the fields' analysers cut it, and the inverse document frequency of each.

    It is that of BM25 (Robertson and Zaragoza, 2009, as Lucene has it): ``ln(1 + (N - n + 0.5) / (n + 0.5))``, with N
    documents, n of which have the word. Of several fields that one counts for each which has most. Words that stand
    nowhere count as well, because nothing answers for them. An analyser may leave capitals as they are: then a word is
    looked for as it stands and in lower case. ``index`` is one index.

    Raises:
        ClusterError: Elasticsearch refuses, or does not answer.
    """
    forms = list(dict.fromkeys((question, question.lower())))
    body = {
        "doc": {field: forms for field in fields},
        "fields": list(fields),
        "term_statistics": True,
        "field_statistics": True,
        "positions": False,
        "offsets": False,
        "payloads": False,
    }
    answer = yield Request("POST", url_path("/{}/_termvectors", index), {"realtime": "false"}, body)
    return read_weights(answer)


def read_weights(answer: Mapping[str, Any]) -> list[Word]:
    """Return the words in an answer of ``_termvectors``, the rarest first."""
    documents = 0
    having: dict[str, int] = {}
    for vector in answer.get("term_vectors", {}).values():
        documents = max(documents, vector.get("field_statistics", {}).get("doc_count", 0))
        for word, statistics in vector["terms"].items():
            having[word] = max(having.get(word, 0), statistics.get("doc_freq", 0))
    forms: dict[str, list[str]] = {}
    for word in sorted(having):
        forms.setdefault(word.lower(), []).append(word)
    words = []
    for each in forms.values():
        known = [form for form in each if having[form]] or each[-1:]
        frequency = min(documents, max(having[form] for form in known))
        words.append(Word(tuple(known), math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5))))
    return sorted(words, key=lambda word: (-word.weight, word.forms))[:MOST_WORDS]


def covering(words: Sequence[Word], fields: Sequence[str], filters: Sequence[Json]) -> Json:
    """Return the query whose score is the share of the words that a document has in any of the fields, by weight.

    It is from 0 to 1, and the same wherever in the ranking a document stands.
    """
    whole = sum(word.weight for word in words)
    if not whole:
        return {"match_none": {}}
    clauses = [
        {
            "constant_score": {
                "filter": {"bool": {"should": [{"terms": {field: list(word.forms)}} for field in fields]}},
                "boost": word.weight / whole,
            }
        }
        for word in words
    ]
    return {"bool": {"should": clauses, "minimum_should_match": 1, "filter": list(filters)}}
