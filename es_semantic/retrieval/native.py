"""Whether Elasticsearch can rank a tree by itself: found by trying, never by a licence's name."""

from __future__ import annotations

import orjson

from es_semantic.cluster.steps import Remember, Request, Steps
from es_semantic.errors import Forbidden, RequestFailed
from es_semantic.retrieval.tree.nodes import Auto, Json, Knn, Retriever, Standard, changed, to_json, walk

SECONDS = 3_600.0
"""How long a cluster is taken at its word: licences end and clusters are upgraded."""

_NOWHERE = "/es-semantic-probe-no-such-index/_search"


def runs_natively(root: Retriever) -> Steps[bool]:
    """Return whether the cluster parses and may run this kind of tree; asked once for each shape of tree."""
    if any(isinstance(node, Auto) for _, node in walk(root)):
        return False
    skeleton = orjson.dumps(to_json(changed(root, _bare)), option=orjson.OPT_SORT_KEYS)
    able: bool = yield Remember(("native", skeleton), SECONDS, lambda: _try(orjson.loads(skeleton)))
    return able


def _try(retriever: Json) -> Steps[bool]:
    params = {"ignore_unavailable": "true", "allow_no_indices": "true"}
    try:
        yield Request("POST", _NOWHERE, params, {"size": 0, "retriever": retriever})
    except (Forbidden, RequestFailed) as error:
        if error.status in (400, 403):
            return False
        raise
    return True


def _bare(_: str, node: Retriever) -> Retriever:
    """What a leaf asks for does not matter here, only that it is one."""
    match node:
        case Standard():
            return Standard()
        case Knn():
            return Knn(field="vector", query_vector=(1.0,), k=1, num_candidates=1)
    return node.model_copy(update={"filter": ()})
