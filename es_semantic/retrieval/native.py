"""Whether Elasticsearch can rank a tree by itself: found by trying, never by a licence's name."""

from __future__ import annotations

import orjson

from es_semantic.cluster.capabilities import probe
from es_semantic.cluster.steps import Remember, Steps
from es_semantic.errors import Forbidden, RequestFailed
from es_semantic.retrieval.tree.nodes import (
    Auto,
    Diversify,
    Json,
    Knn,
    Pinned,
    Rescorer,
    Retriever,
    Standard,
    TextSimilarityReranker,
    changed,
    to_json,
    walk,
)

SECONDS = 3_600.0
"""How long a cluster is taken at its word: licences end and clusters are upgraded."""


def runs_natively(root: Retriever) -> Steps[bool]:
    """Return whether the cluster parses and may run this kind of tree; asked once for each shape of tree."""
    if any(isinstance(node, Auto) for _, node in walk(root)):
        return False
    skeleton = orjson.dumps(to_json(changed(root, _bare)), option=orjson.OPT_SORT_KEYS)
    able: bool = yield Remember(("native", skeleton), SECONDS, lambda: _try(orjson.loads(skeleton)))
    return able


def unheeded(root: Retriever) -> bool:
    """Return whether the tree says something that Elasticsearch takes and does not heed (measured on 9.4.3).

    These are the ``filter`` of ``diversify``, and ``min_score`` of ``knn``, ``rescorer`` and ``diversify``.
    """
    return any(
        (isinstance(node, Diversify) and node.filter)
        or (isinstance(node, Knn | Rescorer | Diversify) and node.min_score is not None)
        for _, node in walk(root)
    )


def _try(retriever: Json) -> Steps[bool]:
    try:
        yield probe(retriever)
    except (Forbidden, RequestFailed) as error:
        if error.status in (400, 403):
            return False
        raise
    return True


def _bare(_: str, node: Retriever) -> Retriever:
    """What differs from query to query does not matter here, only which retrievers there are."""
    match node:
        case Standard():
            return Standard()
        case Knn():
            return Knn(field="vector", query_vector=(1.0,), k=1, num_candidates=1)
    update: dict[str, object] = {"filter": (), "name": None}
    match node:
        case Rescorer():
            update["rescore"] = tuple(map(_bare_rescorer, node.rescore))
        case TextSimilarityReranker():
            update["inference_text"] = "text"
        case Pinned():
            update |= {"ids": ("1",), "docs": None}
        case Diversify(query_vector=tuple()):
            update["query_vector"] = (1.0,)
    return node.model_copy(update=update)


def _bare_rescorer(rescorer: Json) -> Json:
    return rescorer | {"query": {"rescore_query": {"match_all": {}}}} if "query" in rescorer else rescorer
