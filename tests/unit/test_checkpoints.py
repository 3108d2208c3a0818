"""A checkpoint is read as it was written, or not at all; what it is not trusted for is read from the beginning."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.embedding.chunking import Chunking
from es_semantic.errors import ControlDamaged
from es_semantic.sync.checkpoints import (
    MAX_OWN,
    MAX_OWN_STORED,
    NEVER,
    Position,
    StoredCheckpoint,
    binding_id,
    checkpoint_id,
    merged,
    positions_of,
    read_stored,
    stored,
)
from es_semantic.sync.intervals import Intervals
from es_semantic.sync.partition import WHOLE, Partition
from es_semantic.sync.shards import Shard
from tests.schema_targets import binding

INDEX, UUID, NAME, BINDING, ID = "books", "uuid-1", "semantic", "binding-1", "checkpoint-x"
GENERATION = "generation-1"

numbers = st.integers(NEVER, 2**63 - 1)
pairs = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 50)).map(lambda pair: (pair[0], sum(pair))))


@st.composite
def positions(draw: st.DrawFn) -> dict[Shard, Position]:
    """Where each shard of one index is; never beyond its global checkpoint."""
    shards: dict[Shard, Position] = {}
    for number in range(draw(st.integers(1, 4))):
        seq_no = draw(numbers)
        shard = Shard(INDEX, UUID, number, f"history-{number}", draw(st.integers(seq_no, 2**63 - 1)))
        shards[shard] = Position(seq_no, Intervals(draw(pairs)))
    return shards


def document(of: dict[Shard, Position], *, partition: Partition = WHOLE) -> dict[str, Any]:
    """What is stored, after a way through JSON."""
    written: dict[str, Any] = orjson.loads(
        orjson.dumps(stored(of, name=NAME, partition=partition, binding=BINDING, generation=GENERATION))
    )
    return written


def checkpoint(of: dict[Shard, Position]) -> StoredCheckpoint:
    return read_stored(document(of), ID)


def plain(of: dict[Shard, Position]) -> dict[Shard, tuple[int, list[tuple[int, int]]]]:
    return {shard: (position.seq_no, list(position.own)) for shard, position in of.items()}


def one_shard(seq_no: int = 7, *, last: int = 20) -> dict[Shard, Position]:
    return {Shard(INDEX, UUID, 0, "history-0", last): Position(seq_no, Intervals([(9, 11)]))}


@given(positions())
def test_what_is_written_is_read(written: dict[Shard, Position]) -> None:
    read, notes = positions_of(checkpoint(written), list(written), BINDING)
    assert (plain(read), notes) == (plain(written), [])


def test_own_writes_beyond_the_most_that_are_remembered_are_read_again() -> None:
    shard = Shard(INDEX, UUID, 0, "history-0", 10**6)
    position = Position(0)
    for i in range(1, MAX_OWN + 10):
        position.remember(2 * i)
    own = [(2 * i, 2 * i) for i in range(1, MAX_OWN + 1)]
    assert list(position.own) == own
    read, _ = positions_of(checkpoint({shard: position}), [shard], BINDING)
    assert list(read[shard].own) == own[:MAX_OWN_STORED]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in a JSON document but the document itself."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield (*path, key)
        yield from leaves(below, (*path, key))


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.lists(st.integers()), st.just({})
)


def put(where: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Set what is at the path, and return what was there."""
    for key in path[:-1]:
        where = where[key]
    before, where[path[-1]] = where[path[-1]], value
    return before


@given(positions(), st.data(), anything)
def test_whatever_is_edited_is_noticed(written: dict[Shard, Position], data: st.DataObject, value: Any) -> None:
    edited = document(written)
    before = put(edited, data.draw(st.sampled_from(list(leaves(edited)))), value)
    if value == before and type(value) is type(before):
        assert read_stored(edited, ID) == checkpoint(written).model_copy(
            update={"at": edited["at"], "check": edited["check"]}
        )
        return
    with pytest.raises(ControlDamaged, match=f"document '{ID}'") as caught:
        read_stored(edited, ID)
    assert f"DELETE /es-semantic-control/_doc/{ID}" in caught.value.hint


@pytest.mark.parametrize("path", list(leaves(document(one_shard()))), ids=str)
def test_whatever_is_missing_is_noticed(path: tuple[Any, ...]) -> None:
    edited = document(one_shard())
    inner = edited
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    if path == ("kind",):
        # The only value that it may have.
        assert read_stored(edited, ID).shards["0"].seq_no == 7
        return
    with pytest.raises(ControlDamaged):
        read_stored(edited, ID)


@pytest.mark.parametrize("path", [("more",), ("shards", "0", "more"), ("shards", "1"), ("shards", "\ud800")])
def test_whatever_is_added_is_noticed(path: tuple[str, ...]) -> None:
    edited = document(one_shard())
    inner = edited
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = copy.deepcopy(edited["shards"]["0"])
    with pytest.raises(ControlDamaged):
        read_stored(edited, ID)


@pytest.mark.parametrize("value", [2**63, 2**64, 10**30, -2, "7", 7.0, True, None])
def test_a_number_that_is_none_is_noticed(value: Any) -> None:
    edited = document(one_shard())
    edited["shards"]["0"]["seq_no"] = value
    with pytest.raises(ControlDamaged):
        read_stored(edited, ID)


def shard(*, uuid: str = UUID, history: str = "history-0", last: int = 20) -> Shard:
    return Shard(INDEX, uuid, 0, history, last)


@pytest.mark.parametrize(
    ("now", "bound", "said"),
    [
        (shard(uuid="uuid-2"), BINDING, "'books' was re-created"),
        (shard(uuid="uuid-2", history="other"), BINDING, "'books' was re-created"),
        (shard(history="other"), BINDING, "shard 0 of 'books' was restored"),
        (shard(last=6), BINDING, "has written 6 at most, yet the checkpoint says 7"),
        (shard(last=NEVER), BINDING, "has written -1 at most, yet the checkpoint says 7"),
        (shard(), "binding-2", ""),
    ],
)
def test_what_is_not_trusted_is_read_from_its_beginning(now: Shard, bound: str, said: str) -> None:
    read, notes = positions_of(checkpoint(one_shard()), [now], bound)
    assert plain(read) == {now: (NEVER, [])}
    assert len(notes) == (1 if said else 0)
    assert all(said in note for note in notes)


def test_a_shard_that_is_just_at_its_checkpoint_goes_on() -> None:
    read, notes = positions_of(checkpoint(one_shard()), [shard(last=7)], BINDING)
    assert (read[shard()].seq_no, notes) == (7, [])


def test_a_shard_without_checkpoint_starts_at_its_beginning_beside_others() -> None:
    more = Shard(INDEX, UUID, 1, "history-1", 5)
    read, notes = positions_of(checkpoint(one_shard()), [shard(), more], BINDING)
    assert (read[shard()].seq_no, read[more].seq_no, notes) == (7, NEVER, [])


def test_no_checkpoint_at_all() -> None:
    assert plain(positions_of(None, [shard()], BINDING)[0]) == {shard(): (NEVER, [])}


@given(positions(), st.data())
def test_the_farther_of_two_workers_holds_shard_by_shard(ours: dict[Shard, Position], data: st.DataObject) -> None:
    theirs = {each: Position(data.draw(st.integers(NEVER, 2**63 - 1)), Intervals(data.draw(pairs))) for each in ours}
    before = plain(ours)
    merged(ours, checkpoint(theirs), BINDING)
    for each, position in ours.items():
        farther = max(before[each][0], theirs[each].seq_no)
        assert position.seq_no == farther
        either = Intervals([*before[each][1], *theirs[each].own])
        either.forget_through(farther)
        assert list(position.own) == list(either)


def test_nothing_is_taken_over_from_another_index_or_binding() -> None:
    for theirs, bound in (
        (checkpoint(one_shard()).model_copy(update={"uuid": "uuid-2"}), BINDING),
        (checkpoint(one_shard()), "binding-2"),
    ):
        ours = {shard(): Position(3)}
        merged(ours, theirs, bound)
        assert plain(ours) == {shard(): (3, [])}


def test_each_index_field_and_partition_has_a_checkpoint_of_its_own() -> None:
    places = [
        (index, name, partition)
        for index in ("a", "b", 'a","b')
        for name in ("semantic", "meaning")
        for partition in (WHOLE, Partition(1, 2), Partition(2, 2))
    ]
    assert len({checkpoint_id(*place) for place in places}) == len(places)


def test_a_binding_is_another_where_documents_would_be_judged_otherwise() -> None:
    bound = binding("title")
    chunked = bound.model_copy(update={"chunking": Chunking(max_tokens=16, overlap=0)})
    ids = [
        binding_id(bound, "semantic"),
        binding_id(bound, "meaning"),
        binding_id(binding("title", "body"), "semantic"),
        binding_id(binding("body", "title"), "semantic"),
        binding_id(binding("title", dims=32), "semantic"),
        binding_id(chunked, "semantic"),
    ]
    assert len(set(ids)) == len(ids)
    faster = bound.model_copy(update={"index_options": {"type": "flat"}})
    assert binding_id(faster, "semantic") == ids[0]
