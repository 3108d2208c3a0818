"""How much each word of a question counts, from how rare it is in the index; pure, but for the one request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.retrieval.tree.nodes import Json

MOST_WORDS = 128
"""Of a question; in a longer one the rarest count."""


def word_weights(index: str, question: str, fields: Sequence[str]) -> Steps[dict[str, float]]:
    """Return the words of a question, as the fields' analysers cut it, and the inverse document frequency of each.

    It is that of BM25 (Robertson and Zaragoza, 2009, as Lucene has it): ``ln(1 + (N - n + 0.5) / (n + 0.5))``, with N
    documents that have the field, n of which have the word. Of several fields the one counts in which the word is most
    frequent; words that stand nowhere count as well, because nothing answers for them. ``index`` is one index.

    Raises:
        ClusterError: Elasticsearch refuses, or does not answer.
    """
    body = {
        "doc": dict.fromkeys(fields, question),
        "fields": list(fields),
        "term_statistics": True,
        "field_statistics": True,
        "positions": False,
        "offsets": False,
        "payloads": False,
    }
    answer = yield Request("POST", url_path("/{}/_termvectors", index), {"realtime": "false"}, body)
    return read_weights(answer)


def read_weights(answer: Mapping[str, Any]) -> dict[str, float]:
    """Return the weight of each word in an answer of ``_termvectors``."""
    weights: dict[str, float] = {}
    for vector in answer.get("term_vectors", {}).values():
        documents = max(vector.get("field_statistics", {}).get("doc_count", 0), 0)
        for word, statistics in vector["terms"].items():
            having = min(statistics.get("doc_freq", 0), documents)
            weight = math.log(1 + (documents - having + 0.5) / (having + 0.5))
            weights[word] = min(weight, weights.get(word, math.inf))
    rarest = sorted(weights, key=lambda word: (-weights[word], word))[:MOST_WORDS]
    return {word: weights[word] for word in rarest}


def covering(weights: Mapping[str, float], fields: Sequence[str], filters: Sequence[Json]) -> Json:
    """Return the query whose score is the share of the words that a document has in any of the fields, by weight.

    It is from 0 to 1, and the same wherever in the ranking a document stands.
    """
    whole = sum(weights.values())
    words = [
        {
            "constant_score": {
                "filter": {"bool": {"should": [{"term": {field: word}} for field in fields]}},
                "boost": weight / whole,
            }
        }
        for word, weight in weights.items()
        if weight > 0
    ]
    if not words:
        return {"match_none": {}}
    return {"bool": {"should": words, "minimum_should_match": 1, "filter": list(filters)}}
