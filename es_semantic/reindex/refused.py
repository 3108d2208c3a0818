"""Documents that the target did not take: tried once more before anything is switched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from es_semantic.cluster.steps import Steps
from es_semantic.reindex.copy import CopyWindow
from es_semantic.reindex.known import Target
from es_semantic.reindex.mget import documents_at
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
        hidden = job.origin.reader.vectors_hidden
        answers = yield from job.origin.there(documents_at(job.origin.index, places, vectors_hidden=hidden))
        gone = [key for key, answer in zip(part, answers, strict=True) if answer is None]
        yield from write_control([delete_letter(key, part[key].version) for key in gone])
        for key in gone:
            job.writer.letters.pop(key, None)
        found = [job.origin.reader.read(answer) for answer in answers if answer is not None]
        if found:
            yield from job.copy(CopyWindow(found))
