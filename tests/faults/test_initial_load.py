"""An initial load that does not come to its end: replicas and refresh_interval come back as their owner had them."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request, Steps, run
from es_semantic.errors import ControlDamaged, ModelUnavailable, Unreachable
from es_semantic.schema.target import resolve
from es_semantic.sync.initial_load import HELD_BACK, LONGEST_PATH, REMEMBERED, give_back, hold_back
from tests.driving import Driver, Killed, lost
from tests.faults.workers import IN_FLIGHT, Counting, Follower, Owner, WorkerProcess, attached, check, settle
from tests.nodes import MakeIndex

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 600
TITLE = {"title": {"type": "text"}}

OWNERS = [
    {},
    {"index.refresh_interval": "7s", "index.number_of_replicas": "2"},
    {"index.refresh_interval": None, "index.auto_expand_replicas": None},
    {"index.refresh_interval": "-1", "index.number_of_replicas": "0", "index.auto_expand_replicas": "false"},
    {"index.auto_expand_replicas": "0-1", "index.refresh_interval": "1s"},
]


def settings_of(client: Elasticsearch, index: str) -> dict[str, Any]:
    """All settings of an index, with flat keys."""
    settings: dict[str, Any] = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    return settings


def is_held_back(client: Elasticsearch, index: str) -> bool:
    settings = settings_of(client, index)
    return REMEMBERED in settings and all(settings.get(key) == value for key, value in HELD_BACK.items())


@pytest.fixture(params=OWNERS, ids=lambda own: ",".join(f"{k[6:]}={v}" for k, v in own.items()) or "defaults")
def owner(client: Elasticsearch, make_index: MakeIndex, request: pytest.FixtureRequest) -> Owner:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    if request.param:
        client.indices.put_settings(index=owner.index, settings=request.param)
    return owner


def test_to_its_end(client: Elasticsearch, owner: Owner) -> None:
    before = settings_of(client, owner.index)
    model = Counting()
    seen: list[bool] = []
    model.meanwhile = lambda _texts: seen.append(is_held_back(client, owner.index))
    assert es_semantic.sync(client, owner.index, model=model, initial_load=True).embedded == DOCUMENTS
    assert set(seen) == {True}
    assert settings_of(client, owner.index) == before
    check(owner)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ModelUnavailable("it is gone"), RuntimeError("a bug")], ids=repr
)
def test_interrupted(client: Elasticsearch, make_index: MakeIndex, error: BaseException) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    client.indices.put_settings(index=owner.index, settings={"index.refresh_interval": "9s"})
    before = settings_of(client, owner.index)
    model = Counting()

    def interrupt(_texts: object) -> None:
        # From the third on, so that the probe sentence fails as well.
        if model.calls >= 3:
            raise error

    model.meanwhile = interrupt
    with pytest.raises(type(error)):
        es_semantic.sync(client, owner.index, model=model, initial_load=True)
    assert settings_of(client, owner.index) == before
    model.meanwhile = lambda _texts: None
    assert settle(client, owner, model).notes == []
    check(owner)


def kill_one(node_url: str, owner: Owner) -> int:
    """Kill an initial load in its midst and return how many texts it has embedded."""
    worker = WorkerProcess(node_url, owner.index, pause=0.05, initial_load=True)
    worker.wait_for_start(batches=3)
    worker.kill()
    assert is_held_back(owner.client, owner.index)
    return worker.embedded


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_killed(client: Elasticsearch, node_url: str, owner: Owner) -> None:
    before = settings_of(client, owner.index)
    embedded = kill_one(node_url, owner)
    model = Counting()
    report = es_semantic.sync(client, owner.index, model=model)
    assert settings_of(client, owner.index) == before
    assert [note for note in report.notes if "restored" in note and owner.index in note]
    assert DOCUMENTS <= embedded + len(model.embedded) <= DOCUMENTS + IN_FLIGHT
    assert settle(client, owner, model).notes == []
    check(owner)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_killed_twice_and_then_followed(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    """The second initial load must not take what the first has left for the owner's settings."""
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    client.indices.put_settings(index=owner.index, settings={"index.refresh_interval": "9s"})
    before = settings_of(client, owner.index)
    for _ in range(2):
        kill_one(node_url, owner)
    with Follower(client, [owner.index], Counting()) as follower:
        follower.wait_until_true(owner)
        assert settings_of(client, owner.index) == before
    check(owner)


def initial_load(index: str) -> Steps[None]:
    """The settings' part of one, from looking the index up to its end."""
    target = yield from resolve(index)
    yield from hold_back(target)
    yield from give_back([index])


class Stepping:
    """A procedure that goes on by one request when it is told to."""

    def __init__(self, client: Elasticsearch, steps: Steps[None]) -> None:
        self._client = client
        self._steps = steps
        self._outcome: Any = None

    def step(self) -> None:
        """Perform its next request, if there is one."""
        try:
            request = self._steps.send(self._outcome)
        except StopIteration:
            return
        self._outcome = run(self._client, one(request))


def one(step: Any) -> Steps[Any]:
    return (yield step)


REQUESTS = 4
"""Those of one initial load that read or change settings after the look-up: two to hold back, two to give back."""

LOOK_UP = 3


def orders() -> Iterator[tuple[int, ...]]:
    """Every order in which two equal loads can take turns, each ended anywhere; the first turn is the first one's."""
    for first, second in itertools.product(range(1, REQUESTS + 1), range(REQUESTS + 1)):
        for places in itertools.combinations(range(1, first + second), second):
            yield tuple(int(turn in places) for turn in range(first + second))


def test_two_at_once_in_any_order_and_killed_anywhere(client: Elasticsearch, make_index: MakeIndex) -> None:
    """Whatever two of them have done, the owner's settings are in force or remembered; and the next sync restores them.

    Both have looked the index up before either begins.
    """
    index = make_index(TITLE, settings={"refresh_interval": "7s"})
    owners = settings_of(client, index)
    remembered = {key: owners.get(key) for key in HELD_BACK}
    seen = []
    for order in orders():
        loads = [Stepping(client, initial_load(index)) for _ in range(2)]
        for load in loads:
            for _ in range(LOOK_UP):
                load.step()
        for turn in order:
            loads[turn].step()
        settings = settings_of(client, index)
        held = settings != owners
        if held:
            assert orjson.loads(settings[REMEMBERED]) == remembered, order
            assert settings == {**owners, **HELD_BACK, REMEMBERED: settings[REMEMBERED]}, order
        assert run(client, give_back([index])) == [index] * held, order
        assert settings_of(client, index) == owners, order
        seen.append(held)
    assert {True, False} == set(seen)
    print(f"{len(seen)} orders, {sum(seen)} of them left something held back")


@pytest.mark.parametrize("dies", ["before", "after"])
def test_killed_at_every_request(client: Elasticsearch, make_index: MakeIndex, dies: str) -> None:
    owner = attached(client, make_index(TITLE, settings={"refresh_interval": "9s"}), 3)
    before = settings_of(client, owner.index)
    left: list[bool] = []

    def load(at: int) -> bool:
        """Sync, die at that request, and say whether there was one."""
        owner.put({"new": {"title": f"text {dies} {at}"}})
        count = itertools.count()

        def die(_request: Request) -> None:
            if next(count) == at:
                raise Killed

        hooks = {"before": lambda _request: None, "after": lambda _request: None, dies: die}
        try:
            steps = inspect.unwrap(es_semantic.sync)(owner.index, model=Counting(), initial_load=True)
            Driver(client, **hooks).drive(steps)
        except Killed:
            return True
        return False

    while load(len(left)):
        held = settings_of(client, owner.index) != before
        assert held == is_held_back(client, owner.index)
        report = settle(client, owner, Counting())
        assert bool(report.notes) == held
        assert settings_of(client, owner.index) == before
        left.append(held)
    assert settings_of(client, owner.index) == before
    assert {True, False} == set(left)
    check(owner)


def test_the_answer_to_holding_back_is_lost(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(TITLE, settings={"refresh_interval": "7s"})
    owners = settings_of(client, index)
    target = run(client, resolve(index))
    seen: list[bool] = []

    def lose_first(request: Request) -> None:
        if request.method == "PUT":
            seen.append(is_held_back(client, index))
            if len(seen) == 1:
                raise lost()

    with pytest.raises(Unreachable):
        Driver(client, lambda _request: None, lose_first).drive(hold_back(target))
    assert seen == [True, False]
    assert settings_of(client, index) == owners


def test_an_index_created_again_keeps_its_own_settings(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(TITLE, settings={"refresh_interval": "5s"})
    run(client, hold_back(run(client, resolve(index))))
    assert is_held_back(client, index)
    client.indices.delete(index=index)
    owner = Owner(client, index)
    client.indices.create(index=index, mappings={"properties": TITLE}, settings={"refresh_interval": "30s"})
    es_semantic.attach(client, index, ["title"], model=Counting(), chunk="never")
    before = settings_of(client, index)
    assert settle(client, owner, Counting()).notes == []
    assert settings_of(client, index) == before


def test_what_the_owner_changes_meanwhile_is_left(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(TITLE, settings={"refresh_interval": "5s", "number_of_replicas": 1})
    owners = settings_of(client, index)
    run(client, hold_back(run(client, resolve(index))))
    client.indices.put_settings(index=index, settings={"index.refresh_interval": "30s"})
    assert run(client, give_back([index])) == [index]
    assert settings_of(client, index) == {**owners, "index.refresh_interval": "30s"}


@pytest.mark.parametrize("edited", ["", "5s", "[]", "{}", orjson.dumps(dict.fromkeys(HELD_BACK, 1)).decode()])
def test_what_somebody_has_edited_is_not_believed(client: Elasticsearch, make_index: MakeIndex, edited: str) -> None:
    index = make_index(TITLE)
    client.indices.put_settings(index=index, settings={REMEMBERED: edited})
    before = settings_of(client, index)
    with pytest.raises(ControlDamaged, match=index) as caught:
        run(client, give_back([index]))
    assert f"PUT /{index}/_settings" in caught.value.hint
    assert settings_of(client, index) == before


def test_shards_go_where_they_went(client: Elasticsearch, make_index: MakeIndex) -> None:
    """The setting that remembers is one of allocation, and must not keep a shard from any node."""
    index = make_index(TITLE)
    run(client, hold_back(run(client, resolve(index))))
    client.indices.close(index=index)
    client.indices.open(index=index, wait_for_active_shards="all")
    assert client.cluster.health(index=index, wait_for_status="green", timeout="30s")["status"] == "green"


def test_more_indices_than_one_request_can_name(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(TITLE)
    run(client, hold_back(run(client, resolve(index))))
    gone = [f"{index}-{'x' * 200}-{number}" for number in range(60)]
    assert sum(map(len, gone)) > 3 * LONGEST_PATH
    assert run(client, give_back([*gone, index])) == [index]
    assert run(client, give_back(gone)) == []
