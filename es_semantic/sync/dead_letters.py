"""Documents that have text and no vector, with the reason: kept in the control index until they are true."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync.bulk import Item

LONGEST_REASON = 1000
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
    def where(self) -> str:
        """The document's place: equal for equal index, id and routing."""
        return orjson.dumps([self.index, self.id, self.routing]).decode()


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


def delete_letter(doc_id: str) -> Item:
    """Return the ``_bulk`` line that removes a dead letter by its id in the control index."""
    return [orjson.dumps({"delete": {"_index": CONTROL_INDEX, "_id": doc_id}})]


def read_letters(name: str, indices: Collection[str]) -> Steps[dict[str, DeadLetter]]:
    """Return all dead letters of a semantic field in these indices by their id in the control index, oldest first."""
    refreshed = yield from optional(Request("POST", url_path("/{}/_refresh", CONTROL_INDEX)))
    letters: dict[str, DeadLetter] = {}
    if refreshed is None:
        return letters
    body = letters_body(name, indices)
    while True:
        hits = (yield Request("POST", url_path("/{}/_search", CONTROL_INDEX), body=body))["hits"]["hits"]
        letters |= {hit["_id"]: _letter(hit["_source"]) for hit in hits}
        if len(hits) < PAGE:
            return letters
        body = {**body, "search_after": hits[-1]["sort"]}


def letters_body(name: str, indices: Collection[str]) -> dict[str, Any]:
    """Return the search for the first page of dead letters."""
    filters = [{"term": {"kind": "dead_letter"}}, {"term": {"field": name}}, {"terms": {"index": sorted(indices)}}]
    sort = [{"at": "asc"}, {"index": "asc"}, {"id": "asc"}, {"routing": {"order": "asc", "missing": "_first"}}]
    return {"size": PAGE, "query": {"bool": {"filter": filters}}, "sort": sort, "track_total_hits": False}


def now() -> str:
    """Return the time as dead letters and checkpoints have it; for people only, nothing depends on it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _letter(source: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        index=source["index"],
        id=source["id"],
        routing=source["routing"],
        model=source["model"],
        reason=source["reason"],
        at=source["at"],
    )
