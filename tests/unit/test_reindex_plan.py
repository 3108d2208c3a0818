"""What a new index is made of, where its documents are read, how much room it takes: pure functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import JobStopped, UsageError
from es_semantic.reindex.body import Changes, create_body, kept_settings, merged, with_index_type
from es_semantic.reindex.disk import Room, left, require_room, size, vector_bytes, watermark
from es_semantic.reindex.lanes import lanes
from es_semantic.reindex.switch import switch_actions
from es_semantic.reindex.verify import SAMPLE, drawn, same_document
from es_semantic.schema.binding import Bindings
from es_semantic.schema.target import Gives
from es_semantic.sync.initial_load import HELD_BACK, REMEMBERED
from es_semantic.sync.intervals import Interval, Intervals
from es_semantic.sync.shards import Shard
from tests.schema_targets import binding

SETTINGS = {
    "index.uuid": "u",
    "index.creation_date": "1",
    "index.provided_name": "i",
    "index.version.created": "9",
    "index.final_pipeline": "es-semantic-i",
    "index.blocks.write": "true",
    "index.number_of_shards": "3",
    "index.number_of_routing_shards": "12",
    "index.number_of_replicas": "1",
    "index.analysis.analyzer.mine.type": "english",
}


def test_settings_of_one_index_alone_are_left_out() -> None:
    assert kept_settings("i", SETTINGS) == {k: v for k, v in SETTINGS.items() if "number" in k or "analysis" in k}
    held = {
        **SETTINGS,
        **HELD_BACK,
        REMEMBERED: '{"index.refresh_interval":null,"index.number_of_replicas":"2","index.auto_expand_replicas":null}',
    }
    kept = kept_settings("i", held)
    assert kept["index.number_of_replicas"] == "2"
    assert not {"index.refresh_interval", "index.auto_expand_replicas", REMEMBERED} & kept.keys()


def test_changes_are_laid_over_the_source() -> None:
    source = Gives({"_meta": {"mine": 1}, "properties": {"a": {"type": "text"}, "semantic": {}}}, SETTINGS)
    changes = Changes(
        {"number_of_replicas": 0, "analysis": {"analyzer": {"mine": None}}, "index.refresh_interval": "5s"},
        {"properties": {"a": {"analyzer": "german"}, "b": {"type": "keyword"}}, "_meta": {"more": 2}},
        shards=1,
    )
    body = create_body("i", source, Bindings(owner_final_pipeline="own"), changes, name="semantic", alias="job")
    assert body == {
        "settings": {
            "index.number_of_shards": "1",
            "index.number_of_replicas": 0,
            "index.refresh_interval": "5s",
            "index.final_pipeline": "own",
            "index.analysis.analyzer.mine.type": "english",
        },
        "mappings": {
            "_meta": {"mine": 1, "more": 2},
            "properties": {"a": {"type": "text", "analyzer": "german"}, "b": {"type": "keyword"}},
        },
        "aliases": {"job": {"is_hidden": True}},
    }


@pytest.mark.parametrize(
    ("base", "changes", "result"),
    [
        ({"a": 1}, {"a": None}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": {"type": "text", "analyzer": "x"}}, {"a": {"type": "keyword"}}, {"a": {"type": "keyword"}}),
        (
            {"a": {"type": "text", "analyzer": "x"}},
            {"a": {"boost": 2}},
            {"a": {"type": "text", "analyzer": "x", "boost": 2}},
        ),
        ({"a": [1]}, {"a": [2]}, {"a": [2]}),
    ],
)
def test_merging(base: Any, changes: Any, result: Any) -> None:
    before = repr(base)
    assert merged(base, changes) == result
    assert repr(base) == before


def test_index_types() -> None:
    graph = {"type": "int8_hnsw", "m": 16, "ef_construction": 100, "rescore_vector": {"oversample": 3.0}}
    assert with_index_type(graph, None) == with_index_type(graph, "int8_hnsw") == graph
    assert with_index_type(graph, "bbq_hnsw") == {**graph, "type": "bbq_hnsw"}
    assert with_index_type(graph, "hnsw") == {"type": "hnsw", "m": 16, "ef_construction": 100}
    assert with_index_type(graph, "bbq_flat") == {"type": "bbq_flat", "rescore_vector": {"oversample": 3.0}}
    assert with_index_type(graph, "flat") == {"type": "flat"}
    with pytest.raises(UsageError, match="index type"):
        Changes(index_type="x")


def shard(number: int) -> Shard:
    return Shard("i", "u", number, "h", 0)


parts = st.dictionaries(
    st.integers(0, 3).map(shard),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 60)).map(lambda pair: (pair[0], sum(pair)))).map(
        lambda pairs: list(Intervals(pairs))
    ),
)


def numbers(part: dict[Shard, list[Interval]]) -> list[tuple[int, int]]:
    return sorted((s.number, n) for s, every in part.items() for first, last in every for n in range(first, last + 1))


@given(parts, st.integers(1, 9))
def test_lanes_share_everything_and_about_evenly(unread: dict[Shard, list[Interval]], count: int) -> None:
    cut = lanes(unread, count)
    assert sorted(n for part in cut for n in numbers(part)) == numbers(unread)
    sizes = [len(numbers(part)) for part in cut]
    assert len(cut) <= count
    assert all(sizes)
    assert not sizes or len(cut) < count or max(sizes) - min(sizes) <= 1


@given(parts, st.integers(1, 100_000))
def test_a_sample_is_a_part_of_what_is_done(done: dict[Shard, list[Interval]], documents: int) -> None:
    some, every = numbers(drawn(done, documents)), numbers(done)
    assert len(some) == len(set(some))
    assert set(some) <= set(every)
    assert bool(some) == bool(every)
    if documents <= SAMPLE:
        assert some == every


def test_an_alias_moves_in_one_step() -> None:
    aliases: dict[str, dict[str, Any]] = {"a": {"filter": {}}, "old": {}}
    assert switch_actions("old", "new", aliases, drop=True) == [
        {"remove_index": {"index": "old"}},
        {"add": {"index": "new", "alias": "a", "filter": {}}},
        {"add": {"index": "new", "alias": "old"}},
    ]
    assert switch_actions("old", "new", {"a": {}}, drop=False) == [
        {"remove": {"index": "old", "alias": "a"}},
        {"add": {"index": "new", "alias": "a"}},
    ]


GB = 2**30


@pytest.mark.parametrize(
    ("high", "total", "free", "room"),
    [
        ("90%", 100 * GB, 60 * GB, 50 * GB),
        ("0.9", 100 * GB, 60 * GB, 50 * GB),
        ("90%", 100 * GB, 5 * GB, 0),
        ("90%", 10_000 * GB, 400 * GB, 250 * GB),
        ("20gb", 100 * GB, 60 * GB, 40 * GB),
    ],
)
def test_what_is_left_below_the_watermark(high: str, total: int, free: int, room: int) -> None:
    disk = {"fs": {"total": {"total_in_bytes": total, "available_in_bytes": free}}}
    nodes = {"a": {"roles": ["data_hot"], **disk}, "b": {"roles": ["master"], **disk}}
    assert abs(left(nodes, high) - room) < GB / 100


def test_the_watermark_as_it_is_set() -> None:
    def high(value: str) -> dict[str, Any]:
        return {"cluster": {"routing": {"allocation": {"disk": {"watermark": {"high": value}}}}}}

    assert watermark({"defaults": high("90%"), "persistent": high("80%"), "transient": high("70%")}) == "70%"
    assert watermark({"defaults": high("85%"), "persistent": {}}) == "85%"
    assert watermark({}) == "90%"


def test_too_little_room_is_refused_with_both_sizes() -> None:
    require_room(Room(10, None), "new")
    require_room(Room(10, 10), "new")
    with pytest.raises(JobStopped, match=r"'new' will take about 2.0 GB, and the disks have 1.5 kB left"):
        require_room(Room(2_000_000_000, 1500), "new")
    assert [size(n) for n in (0, 999, 1000, 12_345_678, 5 * 10**13)] == ["0 B", "999 B", "1.0 kB", "12.3 MB", "50.0 TB"]


def test_bytes_of_a_vector() -> None:
    bound = binding("title")
    dims = bound.fingerprint.dims

    def bytes_of(**options: Any) -> float:
        return vector_bytes(bound.model_copy(update={"index_options": options}))

    assert bytes_of(type="flat") == 4 * dims
    assert bytes_of(type="hnsw", m=16) == 4 * dims + 72
    assert bytes_of(type="int8_hnsw", m=16) == 5 * dims + 16 + 72
    assert bytes_of(type="bbq_flat") == 4 * dims + dims / 8 + 16


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a":1,"b":[0.25,1]}', b'{"b":[0.24999999,1],"a":1}', True),
        (b'{"a":[[0.25]]}', b'{"a":[[0.24999999]]}', True),
        (b'{"a":0.25}', b'{"a":0.24999999}', False),
        (b'{"a":[0.25]}', b'{"a":[0.26]}', False),
        (b'{"a":[1]}', b'{"a":[1,2]}', False),
        (b'{"a":[1]}', b'{"a":["1"]}', False),
        (b'{"a":{"b":null}}', b'{"a":{}}', False),
    ],
)
def test_documents_are_compared_but_for_the_last_digit_of_vectors(one: bytes, other: bytes, same: bool) -> None:
    assert same_document(one, other) is same
