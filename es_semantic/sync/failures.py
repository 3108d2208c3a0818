"""List the dead letters of a semantic field, and queue them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.schema.binding import Binding
from es_semantic.schema.target import Target
from es_semantic.sync import bulk
from es_semantic.sync.control import write_control
from es_semantic.sync.dead_letters import DeadLetter, delete_letter, letter_id, read_letters
from es_semantic.sync.documents import Document, Updates, Verdict, read_document, search_body

PAGE = 200


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
    cannot be queued and stays.
    """
    letters = yield from read_letters(name, target.indices.keys())
    if not letters:
        return Failures(target.name, name, [])
    yield Request("POST", url_path("/{}/_refresh", target.name))
    documents: dict[str, Document] = {}
    for part in _parts(list(letters.items()), min(PAGE, target.max_result_window)):
        documents |= yield from _fetch(dict(part), target, binding, name)
    gone = [key for key in letters if key not in documents or documents[key].verdict in (Verdict.TRUE, Verdict.EMPTY)]
    queued = (yield from _queue(documents, Updates(name, binding), gone)) if retry else []
    yield from write_control([delete_letter(key) for key in [*gone, *queued]])
    left = [letter for key, letter in letters.items() if key not in gone]
    return Failures(target.name, name, left, len(queued))


def _fetch(
    letters: Mapping[str, DeadLetter], target: Target, binding: Binding, name: str
) -> Steps[dict[str, Document]]:
    ids = [letter.id for letter in letters.values()]
    body = search_body(binding, name, [{"ids": {"values": ids}}])
    # With custom routing an id may stand for several documents; a page has room for some.
    size = min(4 * len(ids), target.max_result_window)
    hits = (yield Request("POST", url_path("/{}/_search", target.name), body={**body, "size": size}))["hits"]["hits"]
    documents = [read_document(hit, binding, name) for hit in hits]
    found = {letter_id(name, document.index, document.id, document.routing): document for document in documents}
    return {key: document for key, document in found.items() if key in letters}


def _queue(documents: Mapping[str, Document], updates: Updates, gone: Sequence[str]) -> Steps[list[str]]:
    """Mark the documents as pending: a write like any other, which the change feed brings to whichever worker runs."""
    wanted = [k for k, document in documents.items() if k not in gone and document.verdict is not Verdict.FOREIGN]
    outcomes = yield from bulk.write([updates.pending(documents[key]) for key in wanted])
    return [key for key, outcome in zip(wanted, outcomes, strict=True) if outcome.ok or outcome.superseded]


def _parts(letters: Sequence[tuple[str, DeadLetter]], size: int) -> list[Sequence[tuple[str, DeadLetter]]]:
    return [letters[start : start + size] for start in range(0, len(letters), size)]
