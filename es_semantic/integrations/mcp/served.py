"""Which indices agents may search: those of the operator's patterns that have a semantic field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import IndexUnavailable, SchemaError, UsageError
from es_semantic.integrations.mcp.answers import IndexInfo, SemanticField
from es_semantic.schema.binding import Bindings, read_bindings
from es_semantic.schema.lookup import bindings_of

MOST_LISTED = 100

KEPT = "*.mappings._meta,*.mappings.properties.*.type,*.mappings.properties.*.fields.*.type"
"""What is read of mappings to list indices: the bindings, and the types of fields at the top."""

EXACT = frozenset({"keyword", "constant_keyword", "boolean", "date", "date_nanos", "ip", "version"}) | {
    *("long", "integer", "short", "byte", "unsigned_long", "double", "float", "half_float", "scaled_float"),
}
"""Types of fields whose values are compared as they are."""

_PLAIN = re.compile(r"[^\s*,?<>:\"\\/|#+_-][^\s*,?<>:\"\\/|#]{0,254}")
"""One name of an index, an alias or a data stream (Elastic docs, "Create an index"): no pattern, list, exclusion, date
math, or name in another cluster."""


@dataclass(frozen=True, slots=True)
class Served:
    """What the operator serves: ``patterns`` of names, in which ``*`` stands for anything; without one every index,
    alias and data stream whose name does not begin with a dot."""

    patterns: tuple[str, ...]

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            if not _PLAIN.fullmatch(pattern.replace("*", "x")):
                raise UsageError(f"{pattern!r} is no name or pattern of indices", hint="For example: articles 'docs-*'")

    def allows(self, name: str) -> bool:
        """Say whether agents may use a name."""
        if not _PLAIN.fullmatch(name):
            return False
        if not self.patterns:
            return not name.startswith(".")
        return any(re.fullmatch(".*".join(map(re.escape, each.split("*"))), name) for each in self.patterns)

    def shown(self, concrete: str, asked: str) -> str:
        """Return the name under which agents find a document again: its index's own, else the one they asked for."""
        return concrete if self.allows(concrete) else asked


def require_served(served: Served, index: str) -> Steps[Mapping[str, Bindings]]:
    """Return the bindings of the indices behind a name, by index.

    Raises:
        UsageError: it is not served. Nothing tells whether there is such an index.
    """
    bindings: Mapping[str, Bindings] = {}
    if served.allows(index):
        try:
            bindings = yield from bindings_of(index)
        except IndexUnavailable:
            bindings = {}
    if not bindings or not all(each.fields for each in bindings.values()):
        raise UsageError(f"index {index!r} is not served here", hint="The tool list_indices tells what is.")
    return bindings


def listed(served: Served) -> Steps[list[IndexInfo]]:
    """Return all that is served, by name."""
    found: dict[str, IndexInfo] = {}
    for pattern in served.patterns or ("*",):
        resolved = yield from optional(Request("GET", url_path("/_resolve/index/{}", pattern)))
        names = {name: behind for name, behind in _names(resolved or {}) if served.allows(name)}
        if not names:
            continue
        mappings = yield from optional(Request("GET", url_path("/{}/_mapping", pattern), {"filter_path": KEPT}))
        bodies = {index: body["mappings"] for index, body in (mappings or {}).items()}
        for name, behind in names.items():
            info = _info(name, [bodies.get(index, {}) for index in behind])
            if info is not None:
                found[name] = info
    return [info for _, info in sorted(found.items())]


def _names(resolved: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """Each name that can be searched, and the indices behind it."""
    for index in resolved.get("indices", ()):
        if not {"closed", "hidden", "system"} & set(index["attributes"]) and "data_stream" not in index:
            yield index["name"], [index["name"]]
    for alias in resolved.get("aliases", ()):
        behind = alias["indices"]
        yield alias["name"], [behind] if isinstance(behind, str) else behind
    for stream in resolved.get("data_streams", ()):
        behind = stream["backing_indices"]
        yield stream["name"], [behind] if isinstance(behind, str) else behind


def _info(name: str, mappings: Sequence[Mapping[str, Any]]) -> IndexInfo | None:
    """Tell of a name whose indices all have semantic fields; None of any other."""
    try:
        bindings = [read_bindings(mapping, index=name) for mapping in mappings]
    except SchemaError:
        return None
    if not bindings or not all(each.fields for each in bindings):
        return None
    description = (mappings[0].get("_meta") or {}).get("description")
    semantic = [
        SemanticField(name=field, source_fields=first.fields[place].source, model=first.fields[place].fingerprint.model)
        for first in bindings[:1]
        for field, place in sorted(first.served().items())
    ]
    return IndexInfo(
        index=name,
        description=description if isinstance(description, str) else None,
        semantic_fields=semantic,
        filters=dict(sorted(_exact(mappings[0].get("properties", {})))),
    )


def _exact(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, body in properties.items():
        parts = {name: body, **{f"{name}.{inner}": each for inner, each in body.get("fields", {}).items()}}
        yield from ((part, each["type"]) for part, each in parts.items() if each.get("type") in EXACT)
