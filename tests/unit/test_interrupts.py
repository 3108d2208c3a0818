"""Signals that come in the middle of something take effect after it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from es_semantic.cluster.interrupts import held_back

NUMBERS = [signal.SIGINT, signal.SIGTERM]


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.signal(number, interrupt) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_one_takes_effect_at_the_end(number: signal.Signals) -> None:
    reached: list[int] = []

    def block() -> None:
        with held_back():
            os.kill(os.getpid(), number)
            reached.append(1)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == [1]
    assert signal.getsignal(number) is interrupt


def test_the_second_takes_effect_at_once() -> None:
    reached: list[int] = []

    def block() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(1)
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(2)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == [1]
    assert [signal.getsignal(number) for number in NUMBERS] == [interrupt, interrupt]


def test_one_is_not_lost_where_the_block_fails() -> None:
    def block() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("the block's")

    with pytest.raises(KeyboardInterrupt) as caught:
        block()
    assert isinstance(caught.value.__context__, ValueError)


def test_without_a_signal_nothing_happens() -> None:
    with held_back():
        assert signal.getsignal(signal.SIGINT) is not interrupt
    assert [signal.getsignal(number) for number in NUMBERS] == [interrupt, interrupt]


def test_what_the_process_leaves_to_the_system_is_left_to_it() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_back():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_are_none_of_its_business() -> None:
    seen: list[object] = []

    def look() -> None:
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [interrupt]
