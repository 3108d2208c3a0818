"""Documents that have text and no vector, with the reason: kept in the control index until they are true."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.errors import ControlDamaged
from es_semantic.schema.control import CONTROL_INDEX, Version
from es_semantic.sync.bulk import Item
from es_semantic.sync.control import search_control, write_control

LONGEST_REASON = 1000

NOT_THERE = "not in this index: "
"""How the reason begins where re-indexing could not put the document into the index."""
PAGE = 1000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One document that could not be given its vectors: ``reason`` says why, ``at`` when (UTC, ISO 8601)."""

    index: str
    id: str
    routing: str | None
    model: str
    reason: str
    at: str

    @property
    def is_there(self) -> bool:
        """Whether the document is in the index; else it is where it was to be re-indexed from."""
        return not self.reason.startswith(NOT_THERE)


@dataclass(frozen=True, slots=True)
class Stored:
    """A dead letter, and the version in which it was read: only that one may be deleted by whoever has read it."""

    letter: DeadLetter
    version: Version


def letter_id(name: str, index: str, doc_id: str, routing: str | None) -> str:
    """Return the id of a dead letter in the control index: one for each document and semantic field."""
    return "dead-" + hashlib.sha256(orjson.dumps([name, index, doc_id, routing])).hexdigest()[:40]


def put_letter(name: str, letter: DeadLetter) -> Item:
    """Return the ``_bulk`` lines that store a dead letter, or renew it."""
    body = {
        "kind": "dead_letter",
        "field": name,
        "index": letter.index,
        "id": letter.id,
        "routing": letter.routing,
        "model": letter.model,
        "reason": letter.reason[:LONGEST_REASON],
        "at": letter.at,
    }
    action = {"index": {"_index": CONTROL_INDEX, "_id": letter_id(name, letter.index, letter.id, letter.routing)}}
    return [orjson.dumps(action), orjson.dumps(body)]


def delete_letter(doc_id: str, version: Version) -> Item:
    """Return the ``_bulk`` line that removes a dead letter by its id in the control index, unless it was renewed."""
    condition = {"if_seq_no": version[0], "if_primary_term": version[1]}
    return [orjson.dumps({"delete": {"_index": CONTROL_INDEX, "_id": doc_id, **condition}})]


def keep_letters(name: str, known: dict[str, Version], dead: Iterable[DeadLetter], well: Iterable[str]) -> Steps[None]:
    """Renew the dead letters of documents that failed, and delete those of documents that are ``well``, by their ids.

    ``known`` are the ids and versions of those that are in the control index, and are kept up. A letter is renewed even
    where nothing has changed: so whoever was about to delete it, having seen the document as it was before, deletes an
    older version, which Elasticsearch refuses.
    """
    failed = {letter_id(name, letter.index, letter.id, letter.routing): letter for letter in dead}
    gone = [key for key in dict.fromkeys(well) if key in known and key not in failed]
    items = [put_letter(name, letter) for letter in failed.values()]
    items += [delete_letter(key, known[key]) for key in gone]
    if not items:
        return
    outcomes = yield from write_control(items)
    for key, outcome in zip(failed, outcomes, strict=False):
        known[key] = (outcome.seq_no, outcome.primary_term)
    for key in gone:
        # What another worker has renewed meanwhile is told of by `failures`, which looks at the document.
        del known[key]


def read_letters(name: str, indices: Collection[str]) -> Steps[dict[str, Stored]]:
    """Return all dead letters of a semantic field in these indices by their id in the control index, oldest first.

    Raises:
        ControlDamaged: one was edited, or another index has the control index's name.
    """
    refreshed = yield from optional(Request("POST", url_path("/{}/_refresh", CONTROL_INDEX)))
    if refreshed is None:
        return {}
    return {hit["_id"]: _stored(hit) for hit in (yield from search_control(letters_body(name, indices)))}


def letters_body(name: str, indices: Collection[str]) -> dict[str, Any]:
    """Return the search for the first page of dead letters."""
    filters = [{"term": {"kind": "dead_letter"}}, {"term": {"field": name}}, {"terms": {"index": sorted(indices)}}]
    sort = [{"at": "asc"}, {"index": "asc"}, {"id": "asc"}, {"routing": {"order": "asc", "missing": "_first"}}]
    return {
        "size": PAGE,
        "query": {"bool": {"filter": filters}},
        "sort": sort,
        "seq_no_primary_term": True,
        "track_total_hits": False,
    }


def now() -> str:
    """Return the time as dead letters and checkpoints have it; for people only, nothing depends on it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _stored(hit: Mapping[str, Any]) -> Stored:
    return Stored(_letter(hit["_source"], hit["_id"]), (hit["_seq_no"], hit["_primary_term"]))


def _letter(source: Mapping[str, Any], doc_id: str) -> DeadLetter:
    values = {key: source.get(key) for key in ("index", "id", "routing", "model", "reason", "at")}
    for key, value in values.items():
        if not isinstance(value, str) and not (key == "routing" and value is None):
            raise ControlDamaged(
                f"dead letter {doc_id!r} of {CONTROL_INDEX!r} is not what es-semantic wrote there: no text in {key!r}",
                hint=f"Nothing is lost: DELETE /{CONTROL_INDEX}/_doc/{doc_id} and, in the same index, the checkpoints "
                "(`kind: checkpoint`) of that document's index; sync then lists what is marked as failed again.",
            )
    return DeadLetter(**values)  # type: ignore[arg-type]
