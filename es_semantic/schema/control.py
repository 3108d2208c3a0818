"""The control index: one small index of the cluster in which workers keep checkpoints and dead letters.

It is addressed by an alias alone, and written to with ``require_alias``: should somebody delete it while a worker runs,
then no write re-creates it with a guessed mapping.
"""

from __future__ import annotations

import orjson

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import ControlDamaged, Forbidden, RequestFailed
from es_semantic.resources import resource

CONTROL_INDEX = "es-semantic-control"
"""The alias."""

CONCRETE_INDEX = f"{CONTROL_INDEX}-1"


Version = tuple[int, int]
"""Sequence number and primary term of one of its documents."""


def create_request() -> Request:
    """Return the request that creates the control index."""
    body = {**orjson.loads(resource("mappings/control.json").read_bytes()), "aliases": {CONTROL_INDEX: {}}}
    return Request("PUT", url_path("/{}", CONCRETE_INDEX), body=body)


def map_jobs() -> Steps[None]:
    """Add to a control index that an older version of es-semantic has made what jobs need.

    Raises:
        Forbidden: these credentials may not change it.
    """
    mapping = orjson.loads(resource("mappings/control.json").read_bytes())["mappings"]
    yield Request("PUT", url_path("/{}/_mapping", CONTROL_INDEX), body={"properties": mapping["properties"]})


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
        RequestFailed: it is missing and cannot be created.
        ControlDamaged: it is there, but has lost its alias; or another index has its alias's name.
    """
    try:
        yield create_request()
    except RequestFailed as error:
        if error.error_type == "invalid_alias_name_exception":
            raise replaced("an index of that name is there") from error
        if error.error_type != "resource_already_exists_exception":
            raise
        if not (yield from control_exists()):
            raise replaced(f"{CONCRETE_INDEX!r} is there, but without the alias") from error
    except Forbidden as error:
        raise Forbidden(
            f"index {CONTROL_INDEX!r} is missing, and these credentials may not create it: {error.what}",
            status=error.status,
            error_type=error.error_type,
            hint="Run `es-semantic attach` again with an administrator's credentials; it creates it.",
        ) from error


def replaced(why: str) -> ControlDamaged:
    """Return the error for an index or alias of the control index's name that es-semantic has not made."""
    return ControlDamaged(
        f"{CONTROL_INDEX!r} is not the index that es-semantic made: {why}",
        hint=f"{CONTROL_INDEX!r} must be an alias of {CONCRETE_INDEX!r} alone: rename what else has that name, or "
        "restore the alias, then run `es-semantic attach` and sync again. Nothing is lost: sync reads every document "
        "once more and embeds only those without a true vector.",
    )
