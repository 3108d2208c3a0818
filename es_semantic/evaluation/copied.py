"""Some documents of an index, for scratch indices: their source fields alone, mapped and analysed as they are there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from es_semantic.cluster.steps import Request, Steps
from es_semantic.errors import SchemaError
from es_semantic.evaluation.lists import COPIES, IDS_AT_ONCE
from es_semantic.evaluation.scratch import PAGE, Document
from es_semantic.evaluation.watch import Watch
from es_semantic.schema.target import Target
from es_semantic.sync.pit import KEEP_ALIVE, PointInTime, with_pit

SEED = 1
"""So that the same sample is taken while the index stays as it is."""

_ANALYSIS = ("index.analysis.", "index.similarity.")


class Spool:
    """Documents in a file, so that memory does not grow with them, and every model gets the same ones."""

    def __init__(self, file: IO[bytes]) -> None:
        """Take an empty file that is open for reading and writing; whoever opened it closes it."""
        self._file = file
        self.count = 0

    def add(self, document: Document) -> None:
        """Keep one more document."""
        # Sources may hold integers beyond 64 bits and lone surrogates, which only the standard library writes.
        self._file.write(json.dumps(document).encode("ascii") + b"\n")
        self.count += 1

    def read(self) -> Iterator[Document]:
        """Yield the documents in the order in which they came."""
        self._file.seek(0)
        for line in self._file:
            doc_id, source = json.loads(line)
            yield doc_id, source


def fill_spool(
    spool: Spool, target: Target, fields: Sequence[str], wanted: set[str], sample: int | None, watch: Watch
) -> Steps[None]:
    """Put the ``wanted`` documents into the spool, and others until there are ``sample``; all where that is None."""

    def read(pit: PointInTime) -> Steps[None]:
        seen = yield from _read_wanted(pit, spool, fields, wanted)
        yield from _read_others(pit, spool, fields, seen, sample, watch)

    yield from with_pit(target.name, read, max_size=target.max_result_window)


def copied_properties(target: Target, fields: Sequence[str]) -> dict[str, Any]:
    """Return the mapping of these fields alone, without copies into fields that are not among them.

    Raises:
        SchemaError: there is no such field.
    """
    leaves = dict(_leaf(target, field) for field in fields)
    properties: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, last = path.split(".")
        place = properties
        for parent in parents:
            place = place.setdefault(parent, {"properties": {}})["properties"]
        into = leaf.get("copy_to", [])
        kept = [path for path in ([into] if isinstance(into, str) else into) if path in leaves]
        rest = {key: value for key, value in leaf.items() if key != "copy_to"}
        place[last] = {**rest, "copy_to": kept} if kept else rest
    return properties


def copied_settings(target: Target) -> dict[str, Any]:
    """Return the analyzers and similarities that the mapping may name."""
    return {key: value for key, value in target.settings.items() if key.startswith(_ANALYSIS)}


def without_boost(field: str) -> str:
    """Return the field of ``title^2``."""
    return field.partition("^")[0]


def _read_wanted(pit: PointInTime, spool: Spool, fields: Sequence[str], wanted: set[str]) -> Steps[set[str]]:
    ordered, seen = sorted(wanted), set[str]()
    for start in range(0, len(ordered), IDS_AT_ONCE):
        ids = ordered[start : start + IDS_AT_ONCE]
        body = {"query": {"ids": {"values": ids}}, "_source": list(fields)}
        for hit in (yield from pit.page(body, size=COPIES * len(ids), after=None)):
            _keep(hit, spool, seen)
    return seen


def _read_others(
    pit: PointInTime, spool: Spool, fields: Sequence[str], seen: set[str], sample: int | None, watch: Watch
) -> Steps[None]:
    after: Sequence[Any] | None = None
    while sample is None or spool.count < sample:
        watch("reading documents", spool.count, sample or 0)
        if sample is None:
            hits = yield from pit.page({"_source": list(fields)}, size=PAGE, after=after)
        else:
            hits = yield from _random_page(pit, fields, after)
        for hit in hits:
            if sample is None or spool.count < sample:
                _keep(hit, spool, seen)
        if not hits:
            return
        after = hits[-1]["sort"]


def _random_page(pit: PointInTime, fields: Sequence[str], after: Sequence[Any] | None) -> Steps[list[dict[str, Any]]]:
    """Return the next documents in an order that the seed shuffles (Elastic docs, "Function score query", random)."""
    body: dict[str, Any] = {
        "pit": {"id": pit.id, "keep_alive": KEEP_ALIVE},
        "query": {"function_score": {"random_score": {"seed": SEED, "field": "_seq_no"}, "boost_mode": "replace"}},
        "_source": list(fields),
        "sort": [{"_score": "desc"}, {"_shard_doc": "asc"}],
        "size": min(PAGE, pit.max_size),
        "track_total_hits": False,
    }
    if after is not None:
        body["search_after"] = list(after)
    answer = yield Request("POST", "/_search", {"allow_partial_search_results": "false"}, body, about=pit.index)
    pit.id = answer["pit_id"]
    hits: list[dict[str, Any]] = answer["hits"]["hits"]
    return hits


def _keep(hit: Mapping[str, Any], spool: Spool, seen: set[str]) -> None:
    # One id may stand in several indices behind a name, and in several shards.
    if hit["_id"] not in seen:
        seen.add(hit["_id"])
        spool.add((hit["_id"], hit.get("_source", {})))


def _leaf(target: Target, field: str) -> tuple[str, Mapping[str, Any]]:
    """Return path and mapping of a field; for a sub-field those of the field that it belongs to."""
    node: Mapping[str, Any] = target.mapping
    path: list[str] = []
    for part in field.split("."):
        if "properties" not in node:
            break
        if part not in node["properties"]:
            raise SchemaError(f"no field {field!r} in {target.kind} {target.name!r}")
        node = node["properties"][part]
        path.append(part)
    if "properties" in node:
        raise SchemaError(f"field {field!r} in {target.kind} {target.name!r} is an object, not text")
    return ".".join(path), node
