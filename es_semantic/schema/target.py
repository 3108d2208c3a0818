"""What a name stands for: an index, an alias, a data stream or an index template, and the state it is in."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import IndexUnavailable, SchemaError, UsageError

Kind = Literal["index", "data stream", "index template"]

UNTAKEN_PRIORITY = 1_000_000_007
"""Added to a template's priority to simulate it beside itself."""

BLOCKS = ("read_only", "read_only_allow_delete", "write", "metadata", "read")


@dataclass(frozen=True, slots=True)
class Gives:
    """The mapping and the settings (flat keys) of one index, or those that a template gives to a new one."""

    mapping: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def final_pipeline(self) -> str | None:
        """The final pipeline in force, None where there is none."""
        name = self.settings.get("index.final_pipeline", "_none")
        return None if name == "_none" else str(name)

    @property
    def blocks(self) -> list[str]:
        """The blocks that forbid changes, such as ``index.blocks.read_only``."""
        keys = [f"index.blocks.{block}" for block in BLOCKS]
        return [key for key in keys if str(self.settings.get(key, "false")) == "true"]


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that a semantic field can be attached to.

    ``name`` is what requests address: an alias is resolved to its index. ``mapping`` and ``settings`` (flat keys) are
    those of the index, of the data stream's write index, or what the template gives to new indices. ``template_name``
    and ``template`` are the name and body of the template itself, or of the one that a data stream is made from, once
    it has been read; ``gives`` is what that template makes with its component templates. ``indices`` are all concrete
    indices, and ``data_stream`` the stream that this index is a part of.
    """

    kind: Kind
    name: str
    mapping: Mapping[str, Any]
    settings: Mapping[str, Any]
    template_name: str | None = None
    template: Mapping[str, Any] | None = None
    gives: Gives | None = None
    indices: Mapping[str, Gives] = field(default_factory=dict)
    data_stream: str | None = None

    @property
    def final_pipeline(self) -> str | None:
        """The final pipeline in force, None where there is none."""
        return Gives(self.mapping, self.settings).final_pipeline

    @property
    def read_only(self) -> list[str]:
        """Those of its indices that take no writes."""
        return sorted(index for index, gives in self.indices.items() if gives.blocks)

    @property
    def max_result_window(self) -> int:
        """How many hits one search may return (``index.max_result_window``, 10,000 by default)."""
        return int(self.settings.get("index.max_result_window", 10_000))


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
    if found["aliases"]:
        return (yield from resolve(_only_index(name, found["aliases"][0]["indices"])))
    index = found["indices"][0]
    if "closed" in index.get("attributes", ()):
        raise IndexUnavailable(f"index {name!r} is closed", hint=f"Open it: POST /{name}/_open")
    indices = yield from _read(name)
    mapping, settings = indices[name].mapping, indices[name].settings
    return Target("index", name, mapping, settings, indices=indices, data_stream=index.get("data_stream"))


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
    gives = yield from _composed(name)
    return Target("index template", name, gives.mapping, gives.settings, name, template, gives)


def with_template(target: Target) -> Steps[Target]:
    """Add the template that a data stream is made from; reading templates takes a cluster privilege.

    Raises:
        SchemaError: no template matches the data stream any more, so that it cannot roll over either; or the target is
            but one of a data stream's indices.
    """
    if target.data_stream is not None:
        raise SchemaError(
            f"index {target.name!r} is a part of data stream {target.data_stream!r}",
            hint=f"Name the data stream, so that all of its indices are alike: {target.data_stream}",
        )
    if target.kind != "data stream":
        return target
    templates = (yield Request("GET", "/_index_template"))["index_templates"]
    name = template_of(target.name, {each["name"]: each["index_template"] for each in templates})
    if name is None:
        raise SchemaError(
            f"no index template matches data stream {target.name!r}", hint="Create one; rolling over needs it as well."
        )
    template = yield from _template(name)
    return replace(target, template_name=name, template=template, gives=(yield from _composed(name)))


def composed_body(body: Mapping[str, Any]) -> Steps[Gives]:
    """Return what a template of this body would give to a new index; nothing is stored.

    Raises:
        RequestFailed: Elasticsearch would refuse the template.
    """
    # Under its own priority it would be refused for being there already.
    beside = {**body, "priority": int(body.get("priority", 0)) + UNTAKEN_PRIORITY}
    return _gives((yield Request("POST", "/_index_template/_simulate", body=beside)))


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
    if not name.strip() or any(character in name for character in "*?,") or name == "_all" or name[0] in "-<":
        raise UsageError(f"{name!r} is not the name of one index", hint="Name one index, alias or data stream.")


def _data_stream(name: str, backing: str | list[str]) -> Steps[Target]:
    indices = yield from _read(name)
    write = indices[backing if isinstance(backing, str) else backing[-1]]
    return Target("data stream", name, write.mapping, write.settings, indices=indices)


def _read(name: str) -> Steps[dict[str, Gives]]:
    mappings = yield Request("GET", url_path("/{}/_mapping", name))
    settings = yield Request("GET", url_path("/{}/_settings", name), {"flat_settings": "true"})
    return {index: Gives(mappings[index]["mappings"], settings[index]["settings"]) for index in sorted(mappings)}


def _composed(template: str) -> Steps[Gives]:
    return _gives((yield Request("POST", url_path("/_index_template/_simulate/{}", template))))


def _gives(simulated: Mapping[str, Any]) -> Gives:
    template = simulated["template"]
    return Gives(template.get("mappings", {}), _flat(template.get("settings", {})))


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
