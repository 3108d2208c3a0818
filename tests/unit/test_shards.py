"""What is read from the index stats."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.cluster.steps import Pause, Request
from es_semantic.errors import IndexUnavailable, RequestFailed
from es_semantic.schema.target import Gives, Target
from es_semantic.sync.shards import START_LOOKS, Shard, read_shards, refresh, shards_of
from tests.schema_targets import index


def copy(seq_no: int, *, primary: bool = True, state: str = "STARTED", history: str = "h") -> dict[str, Any]:
    return {
        "routing": {"primary": primary, "state": state},
        "commit": {"user_data": {"history_uuid": history}},
        "seq_no": {"max_seq_no": seq_no + 3, "local_checkpoint": seq_no + 2, "global_checkpoint": seq_no},
    }


def stats(**indices: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {"indices": {name: {"uuid": f"uuid-{name}", "shards": shards} for name, shards in indices.items()}}


def plain(shards: list[Shard]) -> list[tuple[str, str, int, str, int]]:
    return [(each.index, each.uuid, each.number, each.history, each.global_checkpoint) for each in shards]


def test_only_the_primary_tells_how_far_every_copy_is() -> None:
    copies = [copy(9, primary=False), copy(5, history="mine"), copy(7, primary=False)]
    assert plain(shards_of(stats(a={"0": copies}))) == [("a", "uuid-a", 0, "mine", 5)]


def test_shards_come_in_the_order_of_their_numbers() -> None:
    shards = shards_of(stats(b={"0": [copy(1)]}, a={str(n): [copy(n)] for n in (10, 9, 2, 0)}))
    assert [(each.index, each.number) for each in shards] == [("a", 0), ("a", 2), ("a", 9), ("a", 10), ("b", 0)]


@pytest.mark.parametrize(("state", "listed"), [("STARTED", 1), ("RELOCATING", 1), ("INITIALIZING", 0)])
def test_only_a_started_primary_is_asked(state: str, listed: int) -> None:
    assert len(shards_of(stats(a={"0": [copy(1, state=state)]}))) == listed


@pytest.mark.parametrize("answer", [{}, {"indices": {}}, {"indices": None}])
def test_no_index_has_no_shards(answer: dict[str, Any]) -> None:
    assert shards_of(answer) == []


def test_a_shard_is_the_same_however_far_it_is() -> None:
    assert Shard("a", "u", 0, "h", 1) == Shard("a", "u", 0, "h", 2)
    others = [Shard("b", "u", 0, "h", 1), Shard("a", "v", 0, "h", 1), Shard("a", "u", 1, "h", 1)]
    assert Shard("a", "u", 0, "h", 1) not in [*others, Shard("a", "u", 0, "i", 1)]


def answered(target: Target, answer: dict[str, Any]) -> list[Shard]:
    steps = read_shards(target)
    request = next(steps)
    assert isinstance(request, Request)
    assert request.path == f"/{target.name}/_stats"
    with pytest.raises(StopIteration) as ended:
        steps.send(answer)
    shards: list[Shard] = ended.value.value
    return shards


def test_all_shards_must_be_there() -> None:
    target = index({}, name="a", number_of_shards="2")
    both = {"0": [copy(1)], "1": [copy(2)]}
    assert len(answered(target, stats(a=both))) == 2
    for missing in ({"0": [copy(1)]}, {"0": [copy(1)], "1": [copy(2, state="INITIALIZING")]}, {}):
        with pytest.raises(IndexUnavailable, match=f"'a' has 2 shards, and {len(shards_of(stats(a=missing)))} of them"):
            answered(target, stats(a=missing))


def test_shards_of_a_new_index_are_waited_for() -> None:
    steps = read_shards(index({}, name="a", number_of_shards="2"), {"a"})
    next(steps)
    assert isinstance(steps.send({}), Pause)
    assert isinstance(next(steps), Request)
    assert isinstance(steps.send(stats(a={"0": [copy(1)]})), Pause)
    assert isinstance(next(steps), Request)
    with pytest.raises(StopIteration) as ended:
        steps.send(stats(a={"0": [copy(1)], "1": [copy(2)]}))
    assert [each.number for each in ended.value.value] == [0, 1]


def test_a_new_index_is_not_waited_for_for_ever() -> None:
    steps = read_shards(index({}, name="a"), {"a"})
    for _ in range(START_LOOKS):
        assert isinstance(next(steps), Request)
        assert isinstance(steps.send({}), Pause)
    assert isinstance(next(steps), Request)
    with pytest.raises(IndexUnavailable, match="0 of them have a started primary"):
        steps.send({})


def test_a_shard_that_an_older_index_lost_is_told_at_once() -> None:
    both = Target("data stream", "s", {}, {}, indices={"old": Gives({}, {}), "new": Gives({}, {})})
    steps = read_shards(both, {"new"})
    next(steps)
    with pytest.raises(IndexUnavailable, match="'old' has 1 shards, and 0"):
        steps.send({})


def test_an_index_made_meanwhile_is_listed_too() -> None:
    shards = answered(index({}, name="a", number_of_shards="1"), stats(a={"0": [copy(1)]}, b={"0": [copy(2)]}))
    assert [each.index for each in shards] == ["a", "b"]


@pytest.mark.parametrize(("answer", "fails"), [({}, False), ({"_shards": {"failed": 0}}, False), (None, True)])
def test_a_copy_that_was_not_refreshed_is_an_error(answer: dict[str, Any] | None, fails: bool) -> None:
    steps = refresh(index({}, name="a"))
    next(steps)
    with pytest.raises(RequestFailed if fails else StopIteration) as ended:
        steps.send({"_shards": {"failed": 1}} if answer is None else answer)
    if isinstance(ended.value, RequestFailed):
        assert "1 shards of 'a' could not be refreshed" in ended.value.what
