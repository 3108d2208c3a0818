"""Read and write the control index: checkpoints, with optimistic concurrency."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from es_semantic.cluster.failures import failure, reason_of
from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import ClusterError, Forbidden, IndexUnavailable, RequestFailed
from es_semantic.schema.control import CONTROL_INDEX, Version, replaced, require_control
from es_semantic.sync import bulk
from es_semantic.sync.checkpoints import (
    Position,
    StoredCheckpoint,
    checkpoint_id,
    merged,
    read_stored,
    stored,
)
from es_semantic.sync.partition import WHOLE, Partition
from es_semantic.sync.shards import Shard

STATUSES = {"security_exception": 403, "no_shard_available_action_exception": 503}
"""HTTP statuses of the errors that ``_mget`` gives for single documents without one; 400 for any other."""

TRIES = 10
"""Times that a checkpoint is saved or deleted again after another worker has saved its own."""


@dataclass(slots=True)
class Checkpoints:
    """The checkpoints of one semantic field and partition, loaded and saved as the worker goes on."""

    name: str
    partition: Partition
    binding: str
    deleted: bool = False
    """Whether somebody has deleted a checkpoint since it was loaded, and with it perhaps dead letters."""
    _versions: dict[str, Version] = field(default_factory=dict)
    _generations: dict[str, str] = field(default_factory=dict)
    _saved: dict[str, dict[str, Any]] = field(default_factory=dict)

    def load(self, indices: Sequence[str]) -> Steps[dict[str, StoredCheckpoint]]:
        """Return the checkpoint of each index that has one; a partition without one has that of the whole index.

        Raises:
            ControlDamaged: a checkpoint was edited.
        """
        self._generations = {index: kept for index, kept in self._generations.items() if index not in indices}
        found, own = yield from self._fetch(indices)
        self._take_over(own)
        return found

    def save(self, positions: Mapping[Shard, Position]) -> Steps[None]:
        """Write what has changed since the last call, or since it was loaded.

        Another worker on the same partition may have written meanwhile: then the farther of both holds, shard by shard.
        Where somebody has deleted a checkpoint nothing is written: all has to be read again.
        """
        if self.deleted:
            return
        by_index = _by_index(positions)
        for _ in range(TRIES):
            documents = {index: self._document(index, {s: positions[s] for s in s_}) for index, s_ in by_index.items()}
            changed = [index for index, body in documents.items() if self._saved.get(index) != _lasting(body)]
            if not changed:
                return
            outcomes = yield from write_control([self._item(index, documents[index]) for index in changed])
            lost = []
            for index, outcome in zip(changed, outcomes, strict=True):
                if outcome.ok:
                    self._versions[index] = (outcome.seq_no, outcome.primary_term)
                    self._generations[index] = documents[index]["generation"]
                    self._saved[index] = _lasting(documents[index])
                else:
                    lost.append(index)
            found, own = (yield from self._fetch(lost)) if lost else ({}, {})
            if any(self._generations.get(index, _of(own, index)) != _of(own, index) for index in lost):
                self.deleted = True
                return
            self._take_over(own)
            for index, checkpoint in found.items():
                merged({shard: positions[shard] for shard in by_index[index]}, checkpoint, self.binding)
        raise RequestFailed(
            f"the checkpoint of semantic field {self.name!r} could not be saved in {TRIES} tries",
            status=409,
            hint="Many workers write the same checkpoint: give each a --partition of its own.",
        )

    def start_over(self) -> None:
        """Forget what was loaded, after somebody has deleted it."""
        self.deleted = False
        for kept in (self._versions, self._generations, self._saved):
            kept.clear()

    def _fetch(self, indices: Sequence[str]) -> Steps[tuple[dict[str, StoredCheckpoint], dict[str, StoredCheckpoint]]]:
        """Return by index the checkpoint that holds for this partition, and the partition's own alone."""
        ids = {checkpoint_id(index, self.name, self.partition): index for index in indices}
        whole = {checkpoint_id(index, self.name, WHOLE): index for index in indices}
        found: dict[str, StoredCheckpoint] = {}
        own: dict[str, StoredCheckpoint] = {}
        self._versions = {index: version for index, version in self._versions.items() if index not in indices}
        # Answered in this order, so that the partition's own checkpoint replaces the whole index's.
        for document in (yield from get_control([*whole, *ids])):
            doc_id = document["_id"]
            index = ids.get(doc_id) or whole[doc_id]
            found[index] = read_stored(document["_source"], doc_id)
            if doc_id in ids:
                own[index] = found[index]
                self._versions[index] = (document["_seq_no"], document["_primary_term"])
        return found, own

    def _take_over(self, own: Mapping[str, StoredCheckpoint]) -> None:
        for index, checkpoint in own.items():
            self._generations[index] = checkpoint.generation
            self._saved[index] = _lasting(checkpoint.model_dump())

    def _document(self, index: str, positions: Mapping[Shard, Position]) -> dict[str, Any]:
        generation = self._generations.get(index) or uuid.uuid4().hex
        return stored(positions, name=self.name, partition=self.partition, binding=self.binding, generation=generation)

    def _item(self, index: str, body: Mapping[str, Any]) -> bulk.Item:
        doc_id = checkpoint_id(index, self.name, self.partition)
        version = self._versions.get(index)
        if version is None:
            return [orjson.dumps({"create": {"_index": CONTROL_INDEX, "_id": doc_id}}), orjson.dumps(body)]
        condition = {"if_seq_no": version[0], "if_primary_term": version[1]}
        return [orjson.dumps({"index": {"_index": CONTROL_INDEX, "_id": doc_id, **condition}}), orjson.dumps(body)]


def get_control(ids: Sequence[str]) -> Steps[list[dict[str, Any]]]:
    """Return those of these documents of the control index that exist, in this order; create a missing index."""
    found = yield from find_control(ids)
    if found is None:
        yield from require_control()
    return found or []


def find_control(ids: Sequence[str]) -> Steps[list[dict[str, Any]] | None]:
    """Return those of these documents of the control index that exist, in this order; None where there is no index."""
    request = Request("POST", url_path("/{}/_mget", CONTROL_INDEX), body={"ids": list(dict.fromkeys(ids))})
    answer = yield from optional(request)
    if not answer:
        return None
    for document in answer["docs"]:
        if "error" not in document:
            continue
        kind, reason = reason_of(document["error"])
        if kind == "index_not_found_exception":
            return None
        if kind == "illegal_argument_exception":
            raise replaced(reason)
        raise failure(STATUSES.get(kind, 400), document["error"], f"reading {CONTROL_INDEX!r}")
    return [document for document in answer["docs"] if document["found"]]


def search_control(body: Mapping[str, Any]) -> Steps[list[dict[str, Any]]]:
    """Return all hits of a sorted search in the control index, page by page of the body's ``size``; none without it.

    Raises:
        ControlDamaged: another index has the control index's name.
    """
    found: list[dict[str, Any]] = []
    while True:
        try:
            answer = yield from optional(Request("POST", url_path("/{}/_search", CONTROL_INDEX), body=body))
        except RequestFailed as error:
            if error.status != 400:
                raise
            # Its own mapping takes this search: this is another index.
            raise replaced(error.what) from error
        hits = answer["hits"]["hits"] if answer else []
        found += hits
        if len(hits) < body["size"]:
            return found
        body = {**body, "search_after": hits[-1]["sort"]}


def forget(indices: Sequence[str], name: str) -> Steps[None]:
    """Remove checkpoints and dead letters of a semantic field that is no more, where these credentials may."""
    filters = [{"terms": {"index": list(indices)}}, {"term": {"field": name}}]
    body = {"query": {"bool": {"filter": filters}}}
    params = {"conflicts": "proceed", "refresh": "true"}
    request = Request("POST", url_path("/{}/_delete_by_query", CONTROL_INDEX), params, body)
    for _ in range(TRIES):
        # What a worker has saved since the last refresh would not be found, or in another version.
        yield from optional(Request("POST", url_path("/{}/_refresh", CONTROL_INDEX)), missing=(403, 404))
        answer = yield from optional(request, missing=(403, 404))
        if not answer or not answer["version_conflicts"]:
            return


def write_control(items: Sequence[bulk.Item]) -> Steps[list[bulk.Outcome]]:
    """Write to the control index, and create it again if somebody has deleted it."""
    outcomes = yield from bulk.write(items, require_alias=True)
    missing = [i for i, outcome in enumerate(outcomes) if outcome.error_type == "index_not_found_exception"]
    if missing:
        yield from require_control()
        again = yield from bulk.write([items[i] for i in missing], require_alias=True)
        for i, outcome in zip(missing, again, strict=True):
            outcomes[i] = outcome
    for outcome in outcomes:
        if outcome.error_type in ("index_not_found_exception", "strict_dynamic_mapping_exception"):
            raise replaced(outcome.reason)
        if not outcome.ok and not outcome.superseded:
            raise _refused(outcome)
    return outcomes


def _refused(outcome: bulk.Outcome) -> ClusterError:
    category: type[ClusterError]
    category, hint = RequestFailed, "See GET /_cluster/health."
    if outcome.error_type == "security_exception":
        category, hint = Forbidden, "See `es-semantic roles worker` for the privileges that a worker needs."
    elif outcome.blocked:
        category, hint = IndexUnavailable, "Lift the block and sync again."
    return category(
        f"{CONTROL_INDEX!r} cannot be written: {outcome.reason}",
        status=outcome.status,
        error_type=outcome.error_type,
        hint=f"Checkpoints and dead letters are kept there. {hint}",
    )


def _by_index(shards: Iterable[Shard]) -> dict[str, list[Shard]]:
    by_index: dict[str, list[Shard]] = {}
    for shard in shards:
        by_index.setdefault(shard.index, []).append(shard)
    return by_index


def _lasting(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("at", "check", "generation")}


def _of(own: Mapping[str, StoredCheckpoint], index: str) -> str:
    return own[index].generation if index in own else ""
