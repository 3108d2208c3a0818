"""See that indices still are what a worker has looked up: the same ones, and bound as they were."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import IndexUnavailable, NotAttached
from es_semantic.schema.binding import META_KEY, QUERIES_ALONE
from es_semantic.schema.target import Target

_KEPT = f"*.settings.index.uuid,*.mappings._meta.{META_KEY}.fields"


def require_unchanged(target: Target, name: str, needed: Collection[str] = ()) -> Steps[None]:
    """Compare the target's indices with what they were when it was looked up; the ``needed`` ones must be there.

    A sequence number says which version of a document was read, but not of which index: that it is still the same, and
    attached, is looked up just before something is written, and before a checkpoint is reported.

    Raises:
        IndexUnavailable: an index is gone, or was deleted and created again.
        NotAttached: the semantic field was detached, or attached otherwise.
    """
    params = {"filter_path": _KEPT, "features": "settings,mappings", "expand_wildcards": "all"}
    now = (yield Request("GET", url_path("/{}", target.name), params)) or {}
    for index in needed:
        if index not in now:
            raise IndexUnavailable(f"index {index!r} was deleted meanwhile", hint="Run sync again.")
    for index in now.keys() & target.indices.keys():
        require_same(target, index, now[index]["settings"]["index"]["uuid"])
        if _binding(now[index].get("mappings", {}), name) != _binding(target.indices[index].mapping, name):
            raise NotAttached(
                f"semantic field {name!r} of {index!r} was detached or attached anew meanwhile",
                hint="Nothing is lost. Where it shall have vectors, run sync again.",
            )


def require_same(target: Target, index: str, uuid: str) -> None:
    """See that an index of the target still has the UUID that it was looked up with.

    Raises:
        IndexUnavailable: it was deleted and created again.
    """
    if target.indices[index].settings.get("index.uuid", uuid) != uuid:
        raise re_created(index)


def re_created(index: str) -> IndexUnavailable:
    """Return the error for an index of which only the name is that of the one looked up."""
    return IndexUnavailable(
        f"index {index!r} was deleted and created again meanwhile",
        hint="If it was created without an index template that is attached, attach it again; then sync.",
    )


def _binding(mapping: Mapping[str, Any], name: str) -> Any:
    fields = ((mapping.get("_meta") or {}).get(META_KEY) or {}).get("fields") or {}
    bound = fields.get(name)
    if not isinstance(bound, Mapping):
        return bound
    return {key: value for key, value in bound.items() if key not in QUERIES_ALONE}
