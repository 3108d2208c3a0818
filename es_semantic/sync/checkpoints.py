"""How far each shard of an index has been brought up to date: what is remembered between runs.

A checkpoint is one document of the control index for each index, semantic field and partition. It is trusted only for
the same index (its UUID), the same history of the shard, and the same binding; otherwise reading starts over, which is
always safe, because every document is judged by its own hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from es_semantic.errors import ControlDamaged
from es_semantic.schema.binding import Binding
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync.intervals import Interval, Intervals
from es_semantic.sync.partition import Partition
from es_semantic.sync.shards import Shard

MAX_OWN = 10_000
"""Intervals of own writes that are remembered for a shard. What is forgotten is read once more, and found true."""

MAX_OWN_STORED = 256
"""As many of them are saved with the checkpoint."""

NEVER = -1
"""The checkpoint of a shard of which nothing has been read."""


@dataclass(slots=True)
class Position:
    """How far one shard is: every document last written at or below ``seq_no`` is true or a dead letter.

    ``own`` are sequence numbers above it that this worker's own writes have got, so that these need no reading.
    """

    seq_no: int = NEVER
    own: Intervals = field(default_factory=Intervals)

    def remember(self, own: int) -> None:
        """Note the sequence number of an own write."""
        if len(self.own) < MAX_OWN:
            self.own.add(own)

    def advance(self, seq_no: int) -> None:
        """Everything up to and including ``seq_no`` is done."""
        self.seq_no = max(self.seq_no, seq_no)
        self.own.forget_through(self.seq_no)

    def unread(self, shard: Shard) -> list[tuple[int, int]]:
        """Return the intervals of sequence numbers that are written everywhere and not yet read."""
        return list(self.own.gaps(self.seq_no, shard.global_checkpoint))


def unread_of(positions: Mapping[Shard, Position]) -> dict[Shard, list[Interval]]:
    """Return what is unread of each shard."""
    return {shard: position.unread(shard) for shard, position in positions.items()}


class _StoredShard(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    history: str
    seq_no: int = Field(ge=NEVER)
    own: list[Annotated[tuple[int, int], Field(strict=False)]]


class StoredCheckpoint(BaseModel):
    """The document of the control index. ``check`` is a hash over all the rest, by which an edit is noticed.

    ``generation`` is drawn when the document is created and never changes: another one means that it was deleted and
    created again meanwhile, and dead letters may have been deleted with it.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str = Field(default="checkpoint", pattern="^checkpoint$")
    index: str
    field: str
    partition: str
    uuid: str
    binding: str
    generation: str
    shards: dict[str, _StoredShard]
    at: str
    check: str = ""

    def checksum(self) -> str:
        """Return the hash that ``check`` must have."""
        body = orjson.dumps(self.model_dump(exclude={"check"}), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(body).hexdigest()[:16]


def checkpoint_id(index: str, name: str, partition: Partition) -> str:
    """Return the id of an index's checkpoint in the control index."""
    return "checkpoint-" + hashlib.sha256(orjson.dumps([index, name, str(partition)])).hexdigest()[:32]


def binding_id(binding: Binding, name: str) -> str:
    """Return what changes whenever documents judged true under one binding may not be so under another."""
    parts = [name, binding.source, binding.stamp]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]


def stored(
    positions: Mapping[Shard, Position], *, name: str, partition: Partition, binding: str, generation: str
) -> dict[str, Any]:
    """Return the control index's document for the shards of one index, of which there is at least one."""
    first = next(iter(positions))
    shards = {
        str(shard.number): _StoredShard(
            history=shard.history, seq_no=position.seq_no, own=list(position.own)[:MAX_OWN_STORED]
        )
        for shard, position in positions.items()
    }
    checkpoint = StoredCheckpoint(
        index=first.index,
        field=name,
        partition=str(partition),
        uuid=first.uuid,
        binding=binding,
        generation=generation,
        shards=shards,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    return checkpoint.model_copy(update={"check": checkpoint.checksum()}).model_dump()


def read_stored(source: Mapping[str, Any], doc_id: str) -> StoredCheckpoint:
    """Return the checkpoint that a document of the control index holds.

    Raises:
        ControlDamaged: it is not what es-semantic has written there.
    """
    try:
        checkpoint = StoredCheckpoint.model_validate(source)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _damaged(doc_id, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    try:
        intact = checkpoint.check == checkpoint.checksum()
    except orjson.JSONEncodeError:  # Lone surrogates and huge numbers, which no worker writes.
        intact = False
    if not intact:
        raise _damaged(doc_id, "its check sum does not fit its contents")
    return checkpoint


def positions_of(
    checkpoint: StoredCheckpoint | None, shards: Sequence[Shard], binding: str
) -> tuple[dict[Shard, Position], list[str]]:
    """Return where to go on in each shard of one index, and what a person should know about it."""
    positions = {shard: Position() for shard in shards}
    if checkpoint is None or checkpoint.binding != binding:
        return positions, []
    index, notes = checkpoint.index, []
    for shard in shards:
        known = checkpoint.shards.get(str(shard.number))
        if checkpoint.uuid != shard.uuid:
            notes = [f"index {index!r} was re-created since the last sync: it is read from its beginning"]
        elif known is not None and known.history != shard.history:
            notes.append(f"shard {shard.number} of {index!r} was restored: it is read from its beginning")
        elif known is not None and known.seq_no > shard.global_checkpoint:
            notes.append(
                f"shard {shard.number} of {index!r} has written {shard.global_checkpoint} at most, yet the checkpoint "
                f"says {known.seq_no}: it is read from its beginning"
            )
        elif known is not None:
            positions[shard] = Position(known.seq_no, Intervals(known.own))
    return positions, notes


def merged(positions: Mapping[Shard, Position], checkpoint: StoredCheckpoint, binding: str) -> None:
    """Take over what another worker on the same partition has done meanwhile: both are right, so the farther holds.

    It may be farther than the shard was when it was last looked at.
    """
    for shard, position in positions.items():
        known = checkpoint.shards.get(str(shard.number))
        if known and (checkpoint.binding, checkpoint.uuid, known.history) == (binding, shard.uuid, shard.history):
            for first, last in known.own:
                position.own.add(first, last)
            position.advance(known.seq_no)


def _damaged(doc_id: str, what: str) -> ControlDamaged:
    return ControlDamaged(
        f"document {doc_id!r} of {CONTROL_INDEX!r} is not what es-semantic wrote there: {what}",
        hint=f"Nothing is lost: DELETE /{CONTROL_INDEX}/_doc/{doc_id} and sync again. It reads every document once "
        "more and embeds only those without a true vector.",
    )
