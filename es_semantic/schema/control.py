"""The control index: one small index of the cluster in which workers keep checkpoints and dead letters.

It is addressed by an alias alone, and written to with ``require_alias``: should somebody delete it while a worker runs,
then no write re-creates it with a guessed mapping.
"""

from __future__ import annotations

import orjson

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import Forbidden, RequestFailed
from es_semantic.resources import resource

CONTROL_INDEX = "es-semantic-control"
"""The alias."""

CONCRETE_INDEX = f"{CONTROL_INDEX}-1"


def create_request() -> Request:
    """Return the request that creates the control index."""
    body = {**orjson.loads(resource("mappings/control.json").read_bytes()), "aliases": {CONTROL_INDEX: {}}}
    return Request("PUT", url_path("/{}", CONCRETE_INDEX), body=body)


def control_exists() -> Steps[bool]:
    """Say whether the control index is there; credentials that may not look take it for granted."""
    try:
        return bool((yield from optional(Request("GET", url_path("/_alias/{}", CONTROL_INDEX)))))
    except Forbidden:
        return True


def require_control() -> Steps[None]:
    """Create the control index unless it is there; attaching does this, and a worker only if it was deleted.

    Raises:
        Forbidden: it is missing, and these credentials may not create it.
        RequestFailed: it is missing and cannot be created, for instance because another index has its alias's name.
    """
    try:
        yield create_request()
    except RequestFailed as error:
        if error.error_type != "resource_already_exists_exception":
            raise
    except Forbidden as error:
        raise Forbidden(
            f"index {CONTROL_INDEX!r} is missing, and these credentials may not create it: {error.what}",
            status=error.status,
            error_type=error.error_type,
            hint="Run `es-semantic attach` again with an administrator's credentials; it creates it.",
        ) from error
