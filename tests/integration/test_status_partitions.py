"""How many writes are unread, where an index is synced in partitions."""

from __future__ import annotations

from elasticsearch import Elasticsearch
from hypothesis import given
from hypothesis import strategies as st

import es_semantic
from es_semantic.sync.checkpoints import NEVER, Position
from es_semantic.sync.intervals import Intervals
from es_semantic.sync.partition import WHOLE, Partition
from es_semantic.sync.status import read_by_all
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex

LAST = 30


def attached(client: Elasticsearch, make_index: MakeIndex, count: int) -> str:
    index = make_index({"title": {"type": "text"}}, settings={"number_of_shards": 2})
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder(), chunk="never")
    write(client, index, count)
    return index


def write(client: Elasticsearch, index: str, count: int, first: int = 0) -> None:
    lines = [line for i in range(first, first + count) for line in ({"index": {"_id": str(i)}}, {"title": f"text {i}"})]
    assert not client.bulk(index=index, operations=lines, refresh=True)["errors"]


def sync(client: Elasticsearch, index: str, partition: str) -> None:
    es_semantic.sync(client, index, model=TinyEmbedder(), partition=partition)


def unread(client: Elasticsearch, index: str) -> int | None:
    return es_semantic.status(client, index).unread


def test_every_partition_counts(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = attached(client, make_index, 20)
    assert unread(client, index) is None
    sync(client, index, "1/2")
    state = es_semantic.status(client, index)
    assert state.unread == 20
    assert 0 < state.ready < 20
    sync(client, index, "2/2")
    state = es_semantic.status(client, index)
    assert (state.unread, state.ready) == (0, 20)
    write(client, index, 5, first=20)
    assert unread(client, index) == 5
    sync(client, index, "1/2")
    sync(client, index, "2/2")
    assert unread(client, index) == 0


def test_partitions_go_on_where_the_whole_index_is(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = attached(client, make_index, 20)
    sync(client, index, "1/1")
    write(client, index, 6, first=20)
    assert unread(client, index) == 6
    sync(client, index, "3/3")
    assert unread(client, index) == 6
    sync(client, index, "1/1")
    assert unread(client, index) == 0


def test_two_semantic_fields_are_counted_apart(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = attached(client, make_index, 4)
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder(), chunk="never", name="other")
    sync(client, index, "1/1")
    assert unread(client, index) == 0
    assert es_semantic.status(client, index, name="other").unread is None


parts = st.integers(1, 3).flatmap(lambda n: st.builds(Partition, st.integers(1, n), st.just(n)))
numbers = st.integers(0, LAST)
positions = st.builds(
    lambda seq_no, own: Position(seq_no, Intervals((number, number) for number in own)),
    st.integers(NEVER, LAST),
    st.lists(numbers, max_size=6),
)


@given(st.dictionaries(parts, positions, max_size=6))
def test_a_number_is_unread_unless_every_part_of_some_division_has_read_it(synced: dict[Partition, Position]) -> None:
    whole = synced.get(WHOLE, Position())

    def is_read(number: int) -> bool:
        own = any(number in position.own for position in synced.values())
        ways = ([synced.get(Partition(i, n), whole).seq_no for i in range(1, n + 1)] for n in (1, 2, 3))
        return own or any(min(way) >= number for way in ways)

    found = read_by_all(synced)
    wanted = [number for number in range(LAST + 1) if not is_read(number)]
    assert [n for first, last in found.own.gaps(found.seq_no, LAST) for n in range(first, last + 1)] == wanted
