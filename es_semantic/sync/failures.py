"""List the dead letters of a semantic field, and queue them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.failures import failure, reason_of
from es_semantic.cluster.steps import Request, Steps
from es_semantic.schema.binding import Binding
from es_semantic.schema.target import Target
from es_semantic.sync import bulk
from es_semantic.sync.control import STATUSES, write_control
from es_semantic.sync.dead_letters import DeadLetter, Stored, delete_letter, read_letters
from es_semantic.sync.documents import Document, Updates, Verdict, read_marked

PAGE = 50
"""Documents that are looked at in one request; each may be large."""

_GONE = ("index_not_found_exception", "index_closed_exception")


@dataclass(frozen=True, slots=True)
class Failures:
    """The dead letters of one semantic field, oldest first, and how many of them were queued again."""

    index: str
    field: str
    failures: list[DeadLetter]
    queued: int = 0


def failures_steps(target: Target, binding: Binding, *, name: str, retry: bool) -> Steps[Failures]:
    """List the dead letters that still hold; with ``retry`` queue them again for the next sync.

    A document that is true by now or was deleted has no dead letter any more. One that Elasticsearch refuses to change
    cannot be queued and stays; so does one that somebody is just writing, which the next sync looks at anyway. One that
    could not be re-indexed is tried again by that job alone.
    """
    every = yield from read_letters(name, target.indices.keys())
    letters = {key: stored for key, stored in every.items() if stored.letter.is_there}
    documents: dict[str, Document] = {}
    for part in _parts(letters):
        documents |= yield from _fetch(part, binding, name)
    gone = [key for key in letters if key not in documents or documents[key].verdict in (Verdict.TRUE, Verdict.EMPTY)]
    left = {key: stored.letter for key, stored in every.items() if key not in gone}
    queued: list[str] = []
    if retry:
        queued = yield from _queue([key for key in left if key in documents], documents, Updates(name, binding))
    # A worker that has renewed a letter since it was read here keeps it.
    yield from write_control([delete_letter(key, letters[key].version) for key in [*gone, *queued]])
    return Failures(target.name, name, list(left.values()), len(queued))


def _fetch(letters: Mapping[str, Stored], binding: Binding, name: str) -> Steps[dict[str, Document]]:
    """Return the documents as they are at this moment, whether refreshed or not."""
    places = [stored.letter for stored in letters.values()]
    fields = {"include": [*binding.source, name], "exclude": [f"{name}.vector", f"{name}.chunks"]}
    docs = [
        {"_index": at.index, "_id": at.id, "_source": fields, **({"routing": at.routing} if at.routing else {})}
        for at in places
    ]
    found: list[dict[str, Any]] = (yield Request("POST", "/_mget", body={"docs": docs}))["docs"]
    documents = {}
    for key, document in zip(letters, found, strict=True):
        if "error" in document:
            kind, _ = reason_of(document["error"])
            if kind not in _GONE:
                raise failure(STATUSES.get(kind, 400), document["error"], f"reading {document['_index']!r}")
        elif document["found"]:
            documents[key] = read_marked(document, binding, name)
    return documents


def _queue(keys: Sequence[str], documents: Mapping[str, Document], updates: Updates) -> Steps[list[str]]:
    """Mark the documents as pending: a write like any other, which the change feed brings to whichever worker runs."""
    wanted = [key for key in keys if documents[key].verdict is not Verdict.FOREIGN]
    outcomes = yield from bulk.write([updates.pending(documents[key]) for key in wanted])
    return [key for key, outcome in zip(wanted, outcomes, strict=True) if outcome.ok]


def _parts(letters: Mapping[str, Stored]) -> Iterator[dict[str, Stored]]:
    keys = list(letters)
    for start in range(0, len(keys), PAGE):
        yield {key: letters[key] for key in keys[start : start + PAGE]}
