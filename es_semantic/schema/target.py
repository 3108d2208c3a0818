"""What a name stands for: an index, an alias, a data stream or an index template, and the state it is in."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import IndexUnavailable, SchemaError, UsageError

Kind = Literal["index", "data stream", "index template"]

BLOCKS = ("read_only", "read_only_allow_delete", "write", "metadata", "read")


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that a semantic field can be attached to.

    ``name`` is what requests address: an alias is resolved to its index. ``mapping`` and ``settings`` (flat keys) are
    those of the index, of the data stream's write index, or what the template gives to new indices. ``template_name``
    and ``template`` are the name and body of the template itself, or of the one that a data stream is made from, once
    it has been read.
    """

    kind: Kind
    name: str
    mapping: Mapping[str, Any]
    settings: Mapping[str, Any]
    template_name: str | None = None
    template: Mapping[str, Any] | None = None

    @property
    def final_pipeline(self) -> str | None:
        """The final pipeline in force, None where there is none."""
        name = self.settings.get("index.final_pipeline", "_none")
        return None if name == "_none" else str(name)


def resolve(name: str) -> Steps[Target]:
    """Look up an index, an alias of one index, or a data stream.

    Raises:
        UsageError: the name is a pattern or a list.
        IndexUnavailable: nothing of that name exists, or it is closed.
        SchemaError: an alias of several indices.
    """
    require_one_name(name)
    found = yield from optional(Request("GET", url_path("/_resolve/index/{}", name), {"expand_wildcards": "all"}))
    if not found or not any(found.get(kind) for kind in ("indices", "aliases", "data_streams")):
        yield from _say_what_is_missing(name)
    if found["data_streams"]:
        return (yield from _data_stream(name, found["data_streams"][0]["backing_indices"]))
    concrete = name
    if found["aliases"]:
        concrete = _only_index(name, found["aliases"][0]["indices"])
    elif "closed" in found["indices"][0].get("attributes", ()):
        raise IndexUnavailable(f"index {name!r} is closed", hint=f"Open it: POST /{name}/_open")
    mapping = yield Request("GET", url_path("/{}/_mapping", concrete))
    settings = yield Request("GET", url_path("/{}/_settings", concrete), {"flat_settings": "true"})
    return Target("index", concrete, mapping[concrete]["mappings"], settings[concrete]["settings"])


def resolve_template(name: str) -> Steps[Target]:
    """Look up an index template and what it gives to a new index.

    Raises:
        UsageError: the name is a pattern or a list.
        IndexUnavailable: no such template.
    """
    require_one_name(name)
    template = yield from _template(name)
    if template is None:
        raise IndexUnavailable(f"no index template {name!r}", hint="List them: GET /_index_template")
    simulated = yield Request("POST", url_path("/_index_template/_simulate/{}", name), {"flat_settings": "true"})
    gives = simulated["template"]
    return Target("index template", name, gives.get("mappings", {}), _flat(gives.get("settings", {})), name, template)


def with_template(target: Target) -> Steps[Target]:
    """Add the template that a data stream is made from; reading templates takes a cluster privilege.

    Raises:
        SchemaError: no template matches the data stream any more, so that it cannot roll over either.
    """
    if target.kind != "data stream":
        return target
    templates = (yield Request("GET", "/_index_template"))["index_templates"]
    name = template_of(target.name, {each["name"]: each["index_template"] for each in templates})
    if name is None:
        raise SchemaError(
            f"no index template matches data stream {target.name!r}", hint="Create one; rolling over needs it as well."
        )
    return replace(target, template_name=name, template=(yield from _template(name)))


def template_of(data_stream: str, templates: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the name of the template that makes this data stream's indices: of those that match and are for data
    streams the one of highest priority (Elastic docs, "Index templates")."""
    matching = [
        (body.get("priority", 0), name)
        for name, body in templates.items()
        if "data_stream" in body and any(fnmatch.fnmatchcase(data_stream, p) for p in body["index_patterns"])
    ]
    return max(matching)[1] if matching else None


def require_one_name(name: str) -> None:
    """Refuse wildcards and lists, which could reach more than the user looked at.

    Raises:
        UsageError: the name is empty, a pattern or a list.
    """
    if not name.strip() or any(character in name for character in "*?,") or name == "_all" or name.startswith("-"):
        raise UsageError(f"{name!r} is not the name of one index", hint="Name one index, alias or data stream.")


def blocks_of(target: Target) -> list[str]:
    """Return the blocks that forbid changes, such as ``index.blocks.read_only``."""
    keys = [f"index.blocks.{block}" for block in BLOCKS]
    return [key for key in keys if str(target.settings.get(key, "false")) == "true"]


def _data_stream(name: str, backing: str | list[str]) -> Steps[Target]:
    mappings = yield Request("GET", url_path("/{}/_mapping", name))
    settings = yield Request("GET", url_path("/{}/_settings", name), {"flat_settings": "true"})
    write = backing if isinstance(backing, str) else backing[-1]
    owners = {body["settings"].get("index.final_pipeline", "_none") for body in settings.values()}
    if len(owners) > 1:
        raise SchemaError(
            f"the backing indices of data stream {name!r} have different final pipelines: {', '.join(sorted(owners))}",
            hint="Give them one and the same index.final_pipeline first.",
        )
    return Target("data stream", name, mappings[write]["mappings"], settings[write]["settings"])


def _template(name: str) -> Steps[dict[str, Any] | None]:
    found = yield from optional(Request("GET", url_path("/_index_template/{}", name)))
    if not found or not found["index_templates"]:
        return None
    body = dict(found["index_templates"][0]["index_template"])
    # Elasticsearch reports these two and refuses them when they are put back.
    for reported in ("created_date", "created_date_millis", "modified_date", "modified_date_millis"):
        body.pop(reported, None)
    return body


def _only_index(alias: str, indices: str | list[str]) -> str:
    names = [indices] if isinstance(indices, str) else indices
    if len(names) != 1:
        raise SchemaError(
            f"alias {alias!r} stands for {len(names)} indices: {', '.join(sorted(names))}",
            hint="Name one of these indices.",
        )
    return names[0]


def _say_what_is_missing(name: str) -> Steps[None]:
    hint = "List what there is: GET /_cat/indices?v"
    if (yield from _template_exists(name)):
        hint = f"An index template has that name; to attach to it: --template {name}"
    raise IndexUnavailable(f"no index, alias or data stream {name!r}", status=404, hint=hint)


def _template_exists(name: str) -> Steps[bool]:
    found = yield from optional(Request("GET", url_path("/_index_template/{}", name)), missing=(403, 404))
    return bool(found)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
