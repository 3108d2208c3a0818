"""Documents that the target did not take: tried once more before anything is switched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.reindex.copy import CopyWindow
from es_semantic.reindex.known import Place, Target
from es_semantic.reindex.origin import Origin
from es_semantic.sync.control import write_control
from es_semantic.sync.dead_letters import Stored, delete_letter, read_letters

if TYPE_CHECKING:
    from es_semantic.reindex.running import Running

AT_ONCE = 50
"""Documents read at once; each may be large."""


def refused_letters(target: Target) -> Steps[dict[str, Stored]]:
    """Return the dead letters of documents that are not in the target, by their id in the control index."""
    letters = yield from read_letters(target.name, [target.index])
    return {key: stored for key, stored in letters.items() if not stored.letter.is_there}


def retry_refused(job: Running) -> Steps[None]:
    """Copy refused documents as they are now; the dead letters of those that are no more in the source are deleted."""
    letters = yield from refused_letters(job.target)
    keys = list(letters)
    for begin in range(0, len(keys), AT_ONCE):
        part = {key: letters[key] for key in keys[begin : begin + AT_ONCE]}
        places = [(stored.letter.id, stored.letter.routing) for stored in part.values()]
        answers = yield from job.origin.there(_fetch(job.origin, places))
        gone = [key for key, answer in zip(part, answers, strict=True) if not answer.get("found")]
        yield from write_control([delete_letter(key, part[key].version) for key in gone])
        for key in gone:
            job.writer.letters.pop(key, None)
        found = [job.origin.reader.read(answer) for answer in answers if answer.get("found")]
        if found:
            yield from job.copy(CopyWindow(found))


def _fetch(origin: Origin, places: Sequence[Place]) -> Steps[list[Mapping[str, Any]]]:
    """Return documents of the source as they are at this moment, whole, as an ``_mget`` answers."""
    docs = [{"_id": doc_id, **({"routing": routing} if routing is not None else {})} for doc_id, routing in places]
    params = {"_source_exclude_vectors": "false"} if origin.reader.vectors_hidden else {}
    answer = yield Request("POST", url_path("/{}/_mget", origin.index), params, {"docs": docs})
    found: list[Mapping[str, Any]] = answer["docs"]
    return found
