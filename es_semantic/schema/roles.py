"""The least privileges for each part of es-semantic (Elastic docs, "Security privileges")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.schema.control import CONTROL_INDEX

WORKER = ("read", "index", "view_index_metadata", "monitor", "maintenance")
"""Search and read, write partial updates, read mapping and settings, read checkpoints, refresh."""

CONTROL = ("read", "index", "delete", "maintenance")
"""Dead letters that hold no more are deleted."""

INITIAL_LOAD = "manage"
"""Changing replicas and refresh_interval takes this on top."""

API = ("read", "view_index_metadata")
"""Search, and read the mapping, which tells the model."""

INGEST = (*WORKER, "delete")
"""Chunks of documents are written, embedded, and deleted when their document has become shorter."""


def worker_role(indices: Sequence[str], *, initial_load: bool = False) -> dict[str, Any]:
    """Return a role descriptor for a worker on these indices, aliases or data streams: no cluster privilege at all.

    It is what ``PUT _security/role/NAME`` takes, and each value of ``role_descriptors`` in ``POST _security/api_key``.
    """
    privileges = [*WORKER, INITIAL_LOAD] if initial_load else list(WORKER)
    return {
        "cluster": [],
        "indices": [{"names": list(indices), "privileges": privileges}, _control()],
    }


def api_role(indices: Sequence[str], *, ingest: Sequence[str] = ()) -> dict[str, Any]:
    """Return a role descriptor for ``es-semantic serve`` on these indices, aliases, data streams or patterns.

    It can change nothing but the indices of chunks ``ingest``, to which documents may be uploaded. It is of the same
    form as :func:`worker_role`, and has no cluster privilege either. Embedding and reranking texts need no privilege.
    """
    places: list[dict[str, Any]] = [{"names": list(indices), "privileges": list(API)}]
    if ingest:
        places += [{"names": list(ingest), "privileges": list(INGEST)}, _control()]
    return {"cluster": [], "indices": places}


def _control() -> dict[str, Any]:
    return {"names": [f"{CONTROL_INDEX}*"], "privileges": list(CONTROL)}


def with_aliased(names: Sequence[str]) -> Steps[list[str]]:
    """Return the names and, where one is an alias, its indices: a worker addresses both.

    A privilege on an alias does not hold for its index (Elastic docs, "Granting privileges for data streams and
    aliases"); one on a data stream does. Patterns stand as they are.
    """
    found = list(names)
    for name in names:
        if not any(wildcard in name for wildcard in "*?,/"):
            found += sorted((yield from optional(Request("GET", url_path("/_alias/{}", name)))) or ())
    return list(dict.fromkeys(found))
