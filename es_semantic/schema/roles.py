"""The least privileges for each part of es-semantic (Elastic docs, "Security privileges")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from es_semantic.schema.control import CONTROL_INDEX

WORKER = ("read", "index", "view_index_metadata", "monitor", "maintenance")
"""Search and read, write partial updates, read mapping and settings, read checkpoints, refresh."""

CONTROL = ("read", "index", "delete", "view_index_metadata", "maintenance")
"""Dead letters that hold no more are deleted."""

INITIAL_LOAD = "manage"
"""Changing replicas and refresh_interval takes this on top."""


def worker_role(indices: Sequence[str], *, initial_load: bool = False) -> dict[str, Any]:
    """Return a role descriptor for a worker on these indices, aliases or data streams: no cluster privilege at all.

    It is what ``PUT _security/role/NAME`` takes, and each value of ``role_descriptors`` in ``POST _security/api_key``.
    """
    privileges = [*WORKER, INITIAL_LOAD] if initial_load else list(WORKER)
    return {
        "cluster": [],
        "indices": [
            {"names": list(indices), "privileges": privileges},
            {"names": [f"{CONTROL_INDEX}*"], "privileges": list(CONTROL)},
        ],
    }
