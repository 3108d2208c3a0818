"""Read documents by id and routing, as they are at this moment, whether refreshed or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from es_semantic.cluster.failures import failure, reason_of
from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.sync.control import STATUSES

Place = tuple[str, str | None]
"""Id and routing of a document."""


def documents_at(
    path: str, places: Sequence[Place], *, source: Any = None, vectors_hidden: bool = False, about: str = ""
) -> Steps[list[dict[str, Any] | None]]:
    """Return what an index, or the one behind an alias, has at each place; None where there is nothing.

    ``source`` is what to read of ``_source``, None for all. ``vectors_hidden`` asks a server for vectors that leaves
    them out otherwise. Errors call the index ``about``.

    Raises:
        ClusterError: one could not be read.
    """
    if not places:
        return []
    params = {"_source_exclude_vectors": "false"} if vectors_hidden else {}
    docs = [
        {
            "_id": doc_id,
            **({"_source": source} if source is not None else {}),
            **({"routing": routing} if routing is not None else {}),
        }
        for doc_id, routing in places
    ]
    answer = yield Request("POST", url_path("/{}/_mget", path), params, {"docs": docs})
    found: list[dict[str, Any] | None] = []
    for each in answer["docs"]:
        if "error" in each:
            kind, _ = reason_of(each["error"])
            raise failure(STATUSES.get(kind, 400), each["error"], f"reading {about or path!r}")
        found.append(each if each["found"] else None)
    return found
