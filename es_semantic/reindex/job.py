"""What is remembered of a job that re-indexes: how far it is, and what it has set aside to give back.

One document of the control index for each new index. It is trusted only with its check sum; shards of the source count
as done only for the same index (its UUID) and the same history of the shard.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from es_semantic.cluster.steps import Steps
from es_semantic.errors import ControlDamaged, JobTaken
from es_semantic.schema.control import CONTROL_INDEX, Version, map_jobs, require_control
from es_semantic.sync.control import TRIES, find_control, write_control
from es_semantic.sync.intervals import Interval, Intervals
from es_semantic.sync.shards import Shard

Phase = Literal["copying", "ready", "blocked", "switched", "back"]
"""Being filled; complete and verified; the same, with the source's writes blocked by the job; switched to, with nothing
left to do; on the way back to the old index, with writes to the new one blocked."""


class StoredShard(BaseModel):
    """The sequence numbers of one shard of the source whose documents are in the target."""

    model_config = ConfigDict(extra="forbid")

    history: str
    done: list[tuple[int, int]]


class Switched(BaseModel):
    """A switch that was made, or was just about to be: the aliases that move, and where the old index is afterwards.

    ``old`` is None where it is not kept; ``blocked`` says whether the job has blocked its writes. ``positions`` are the
    target's sequence numbers before the switch, by shard: programs' own writes lie above them. ``swept`` are the
    source's, up to which what was deleted there was deleted in the target; where writes were not blocked (``late``),
    what lies above is fetched after the switch.
    """

    model_config = ConfigDict(extra="forbid")

    aliases: dict[str, dict[str, Any]]
    old: str | None
    positions: dict[str, int]
    swept: dict[str, int]
    late: bool
    blocked: bool


class Counts(BaseModel):
    """Documents of one job, of all its runs together.

    ``copied`` were written, of which ``embedded`` got new vectors, ``reused`` had true ones in the source or in the
    target, ``empty`` have no text and ``failed`` have text that could not be embedded. ``deleted`` were deleted again,
    because they are no more in the source. A document counts once for each time that it was copied.
    """

    model_config = ConfigDict(extra="forbid")

    copied: int = 0
    embedded: int = 0
    reused: int = 0
    empty: int = 0
    failed: int = 0
    deleted: int = 0


class Job(BaseModel):
    """The document of the control index; ``check`` is a hash over all the rest."""

    model_config = ConfigDict(extra="forbid")

    id: str
    run: str
    """Drawn by each run that takes the job over: whoever finds another one here has lost it."""
    source: str
    """The concrete index, after the name of the other cluster where it is in one."""
    uuid: str
    """Of the source."""
    target: str
    name: str
    """The semantic field."""
    plan: str
    """A hash of what was asked for: only who asks for the same goes on with this job."""
    phase: Phase = "copying"
    final_pipeline: str | None = None
    """What the target runs when it is done."""
    binding: dict[str, Any] = {}
    """How its semantic field is bound: settled when the job began, by what was in the source then."""
    kept: str | None = None
    """The name under which the old index is being kept, noted before it is made."""
    ready: dict[str, int] = {}
    """The target's sequence numbers by shard when a run ended with it in use, or fit for use: others write above."""
    shards: dict[str, StoredShard] = {}
    counts: Counts = Counts()
    switched: Switched | None = None
    check: str = ""

    @property
    def alias(self) -> str:
        """The hidden alias that marks the target as this job's, and through which alone it is written."""
        return f"es-semantic-reindex-{self.id}"

    @property
    def fence(self) -> str:
        """The hidden alias of the run that goes on: whoever switches removes it in the same step, or fails."""
        return f"{self.alias}-run-{self.run}"

    def checksum(self) -> str:
        """Return the hash that ``check`` must have."""
        body = orjson.dumps(self.model_dump(exclude={"check"}), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(body).hexdigest()[:16]


@dataclass(slots=True)
class Progress:
    """Which sequence numbers of the source's shards are done: their documents are in the target, or dead letters."""

    done: dict[Shard, Intervals] = field(default_factory=dict)

    def look(self, shards: Sequence[Shard], job: Job) -> list[str]:
        """Take in the shards as they are now, and what is stored of them; return what a person should know."""
        notes = []
        known = {(shard.uuid, shard.number, shard.history): done for shard, done in self.done.items()}
        fresh: dict[Shard, Intervals] = {}
        for shard in shards:
            done = known.get((shard.uuid, shard.number, shard.history))
            if done is None:
                done, note = _stored(job, shard)
                notes += [note] if note else []
            fresh[shard] = done
        self.done = fresh
        return notes

    def unread(self) -> dict[Shard, list[Interval]]:
        """Return what is not done of each shard."""
        return {shard: list(done.gaps(-1, shard.global_checkpoint)) for shard, done in self.done.items()}

    def numbers(self) -> tuple[int, int]:
        """Return how many sequence numbers are done, and how many are not."""
        done = sum(last - first + 1 for intervals in self.done.values() for first, last in intervals)
        return done, sum(last - first + 1 for parts in self.unread().values() for first, last in parts)

    def finish(self, shard: Shard, covered: Sequence[Interval]) -> None:
        """Note what is done."""
        for first, last in covered:
            self.done[shard].add(first, last)

    def stored(self) -> dict[str, StoredShard]:
        """Return what is remembered."""
        return {str(s.number): StoredShard(history=s.history, done=list(done)) for s, done in self.done.items()}


@dataclass(slots=True)
class Record:
    """A job and the version of its document, so that of two runs of one job only the later goes on."""

    job: Job
    version: Version | None = None

    def save(self, **changes: Any) -> Steps[None]:
        """Write the job with these changes.

        Raises:
            JobTaken: another run has taken the job over.
        """
        before = self.job
        changed = before.model_copy(update=changes)
        self.job = changed.model_copy(update={"check": changed.checksum()})
        try:
            for _ in range(TRIES):
                (outcome,) = yield from write_control([_item(self.job, self.version)])
                if outcome.ok:
                    self.version = outcome.seq_no, outcome.primary_term
                    return
                # An answer that was lost may have been to a write of our own.
                found = yield from find_record(before.target)
                if found is None or found.job.run != before.run:
                    break
                self.version = found.version
        except BaseException:
            self.job = before
            raise
        self.job = before
        raise JobTaken(
            f"another run has taken over the job that fills {before.target!r}, or it was cancelled",
            hint="Nothing is lost. Let the other run go on.",
        )

    def take_over(self) -> Steps[None]:
        """Make the job this run's, as it is at this moment; of two runs at once the later one goes on.

        Raises:
            JobTaken: it was cancelled.
        """
        run = uuid.uuid4().hex
        while True:
            changed = self.job.model_copy(update={"run": run})
            job = changed.model_copy(update={"check": changed.checksum()})
            (outcome,) = yield from write_control([_item(job, self.version)])
            if outcome.ok:
                self.job, self.version = job, (outcome.seq_no, outcome.primary_term)
                return
            found = yield from find_record(job.target)
            if found is None:
                raise JobTaken(f"the job that fills {job.target!r} was cancelled in this moment")
            self.job, self.version = found.job, found.version
            if self.job.run == run:
                return

    def delete(self) -> Steps[None]:
        """Forget the job, unless another run has taken it over."""
        action: dict[str, Any] = {"_index": CONTROL_INDEX, "_id": job_id(self.job.target)}
        if self.version is not None:
            action |= {"if_seq_no": self.version[0], "if_primary_term": self.version[1]}
        yield from write_control([[orjson.dumps({"delete": action})]])


def job_id(target: str) -> str:
    """Return the id of a job in the control index."""
    return "reindex-" + hashlib.sha256(target.encode()).hexdigest()[:40]


def find_record(target: str) -> Steps[Record | None]:
    """Return the job that fills this index, None where there is none.

    Raises:
        ControlDamaged: it was edited.
    """
    found = yield from find_control([job_id(target)])
    if not found:
        return None
    (document,) = found
    return Record(_read(document["_source"], document["_id"]), (document["_seq_no"], document["_primary_term"]))


def prepare_control() -> Steps[None]:
    """Make the control index, or let an older one hold jobs."""
    yield from require_control()
    yield from map_jobs()


def _read(source: Mapping[str, Any], doc_id: str) -> Job:
    try:
        job = Job.model_validate(source.get("job"))
        intact = job.check == job.checksum()
    except (ValidationError, orjson.JSONEncodeError) as error:
        raise _damaged(doc_id) from error
    if not intact:
        raise _damaged(doc_id)
    return job


def _item(job: Job, version: Version | None) -> list[bytes]:
    body = {
        "kind": "reindex",
        "index": job.target,
        "uuid": job.uuid,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "job": job.model_dump(),
    }
    place = {"_index": CONTROL_INDEX, "_id": job_id(job.target)}
    if version is None:
        return [orjson.dumps({"create": place}), orjson.dumps(body)]
    condition = {"if_seq_no": version[0], "if_primary_term": version[1]}
    return [orjson.dumps({"index": {**place, **condition}}), orjson.dumps(body)]


def _stored(job: Job, shard: Shard) -> tuple[Intervals, str]:
    known = job.shards.get(str(shard.number))
    if known is None:
        return Intervals(), ""
    done = Intervals(known.done)
    last = max((last for _, last in done), default=-1)
    if job.uuid != shard.uuid or known.history != shard.history or last > shard.global_checkpoint:
        return Intervals(), (
            f"shard {shard.number} of {shard.index!r} is not what it was when it was copied (restored, or re-created): "
            "it is read once more"
        )
    return done, ""


def _damaged(doc_id: str) -> ControlDamaged:
    return ControlDamaged(
        f"document {doc_id!r} of {CONTROL_INDEX!r} is not what es-semantic wrote there",
        hint=f"DELETE /{CONTROL_INDEX}/_doc/{doc_id}, delete the unfinished index, and start over.",
    )
