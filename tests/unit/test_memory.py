"""What a client remembers, for how long, and of how much."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import dataclass

from es_semantic.cluster.memory import MAX_REMEMBERED, UNKNOWN, Memory, memory_of


@dataclass(frozen=True)
class What:
    key: object
    seconds: float


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_something_is_known_for_as_long_as_it_holds() -> None:
    clock = Clock()
    memory = Memory(clock)
    assert memory.recall(What("a", 2)) is UNKNOWN
    assert memory.keep(What("a", 2), "first", memory.age) == "first"
    clock.now += 2
    assert memory.recall(What("a", 2)) == "first"
    clock.now += 0.001
    assert memory.recall(What("a", 2)) is UNKNOWN
    memory.keep(What("a", 2), "second", memory.age)
    assert memory.recall(What("a", 2)) == "second"


def test_what_no_longer_holds_takes_no_room() -> None:
    class Large:
        pass

    clock = Clock()
    memory = Memory(clock)
    large = weakref.ref(memory.keep(What("large", 2), Large(), memory.age))
    memory.keep(What("long", 60), 1, memory.age)
    assert large() is not None
    clock.now += 3
    memory.keep(What("other", 2), 2, memory.age)
    gc.collect()
    assert large() is None
    assert memory.recall(What("long", 60)) == 1


def test_nothing_can_be_remembered_too() -> None:
    memory = Memory()
    memory.keep(What("a", 2), None, memory.age)
    assert memory.recall(What("a", 2)) is None


def test_the_oldest_makes_way_and_what_was_kept_anew_is_young() -> None:
    memory = Memory()
    for number in range(MAX_REMEMBERED):
        memory.keep(What(number, 60), number, memory.age)
    memory.keep(What(0, 60), "again", memory.age)
    memory.keep(What("new", 60), "new", memory.age)
    assert memory.recall(What(1, 60)) is UNKNOWN
    assert memory.recall(What(0, 60)) == "again"
    assert memory.recall(What(2, 60)) == 2
    memory.clear()
    assert memory.recall(What("new", 60)) is UNKNOWN


def test_each_client_has_a_memory_of_its_own_which_ends_with_it() -> None:
    class Client:
        pass

    one, other = Client(), Client()
    memory_of(one).keep(What("a", 60), 1, 0)
    assert memory_of(one).recall(What("a", 60)) == 1
    assert memory_of(other).recall(What("a", 60)) is UNKNOWN
    del one
    gc.collect()
    assert all(memory_of(Client()).recall(What("a", 60)) is UNKNOWN for _ in range(100))


def test_threads_share_it() -> None:
    memory = Memory()

    def keep(first: int) -> None:
        for number in range(first, first + 2_000):
            memory.keep(What(number, 60), number, memory.age)
            assert memory.recall(What(number, 60)) in (number, UNKNOWN)

    threads = [threading.Thread(target=keep, args=(first,)) for first in range(0, 8_000, 2_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(memory.recall(What(number, 60)) is not UNKNOWN for number in range(8_000)) == MAX_REMEMBERED


def test_what_was_asked_before_everything_was_forgotten_is_not_kept() -> None:
    memory = Memory()
    before = memory.age
    memory.clear()
    assert memory.keep(What("a", 60), "old", before) == "old"
    assert memory.recall(What("a", 60)) is UNKNOWN
