"""Put the new index in the place of the old one, and back: one atomic request each way.

(Elastic docs, "Aliases API": all actions of one request take effect together.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import IndexUnavailable, UsageError
from es_semantic.schema.target import Target

Switch = Literal["block", "caught-up", "none"]
"""How the last writes come along.

``block``: the source takes no writes for the seconds of the last pass, and of the switch. ``caught-up``: it always
does; programs reach the target from the switch on, and what went to the source at that moment is fetched afterwards.
``none``: the target is filled and verified, and nothing is switched.
"""

OWN_ALIASES = "es-semantic-reindex-"


def aliases_of(index: str) -> Steps[dict[str, dict[str, Any]]]:
    """Return the aliases of an index with their definitions, those of jobs left out."""
    found = yield Request("GET", url_path("/{}/_alias", index))
    aliases: dict[str, dict[str, Any]] = found[index]["aliases"]
    return {name: body for name, body in aliases.items() if not name.startswith(OWN_ALIASES)}


def require_switchable(index: str) -> Steps[dict[str, dict[str, Any]]]:
    """Return the aliases of an index; see that none of them stands for other indices as well.

    Raises:
        UsageError: one does.
    """
    aliases = yield from aliases_of(index)
    for alias in aliases:
        indices = sorted((yield Request("GET", url_path("/_alias/{}", alias))))
        if indices != [index]:
            raise UsageError(
                f"alias {alias!r} of {index!r} stands for {len(indices)} indices: {', '.join(indices)}",
                hint="Only an alias of one index can be switched to another. Remove the alias from the others, or use "
                "--switch none and move it yourself.",
            )
    return aliases


def kept_name(index: str, target: str) -> str:
    """Return the name under which an index is kept whose own name becomes an alias of the target."""
    return f"{index}-before-{target}"


def switch_actions(old: str, new: str, aliases: Mapping[str, Mapping[str, Any]], *, drop: bool) -> list[dict[str, Any]]:
    """Return the actions by which ``new`` takes over these aliases; ``drop`` deletes ``old`` in the same step.

    The name of ``old`` may be one of them: then it has to be dropped.
    """
    added = [{"add": {"index": new, "alias": name, **body}} for name, body in aliases.items()]
    if drop:
        return [{"remove_index": {"index": old}}, *added]
    return [{"remove": {"index": old, "alias": name}} for name in aliases] + added


def update_aliases(actions: list[dict[str, Any]]) -> Request:
    """Return the request that carries out all actions at once."""
    return Request("POST", "/_aliases", body={"actions": actions})


def block_writes(index: str) -> Steps[None]:
    """Refuse further writes, and wait for those under way (Elastic docs, "Add index block API").

    One that is blocked already stays as it is; Elasticsearch would say that it has blocked no shard.

    Raises:
        IndexUnavailable: a shard cannot say that all its writes are done.
    """
    if (yield from is_blocked(index)):
        return
    answer = yield Request("PUT", url_path("/{}/_block/write", index))
    if not answer.get("shards_acknowledged"):
        raise IndexUnavailable(f"writes to {index!r} could not be blocked on all shards", status=503)


def is_blocked(index: str) -> Steps[bool]:
    """Say whether an index takes no writes at this moment."""
    settings = (yield Request("GET", url_path("/{}/_settings", index), {"flat_settings": "true"}))[index]["settings"]
    return any(str(settings.get(key, "false")) == "true" for key in ("index.blocks.write", "index.blocks.read_only"))


def unblock_writes(index: str) -> Steps[None]:
    """Allow writes again."""
    yield Request("PUT", url_path("/{}/_settings", index), body={"index.blocks.write": None})


def clone(source: Target, name: str) -> Steps[None]:
    """Keep an index that takes no writes under another name; its files are shared, not copied.

    (Elastic docs, "Clone index API".) One that an earlier run of the job has made is made anew.

    Raises:
        IndexUnavailable: it did not become available in time.
    """
    yield from optional(Request("DELETE", url_path("/{}", name)))
    replicas = source.settings.get("index.number_of_replicas")
    settings = {"index.number_of_replicas": replicas, "index.blocks.write": None}
    params = {"wait_for_active_shards": "1"}
    answer = yield Request("PUT", url_path("/{}/_clone/{}", source.name, name), params, {"settings": settings})
    if not answer.get("shards_acknowledged"):
        raise IndexUnavailable(f"{name!r}, a copy of {source.name!r}, did not become available in time", status=503)
