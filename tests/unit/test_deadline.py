"""A call that may take no longer than its caller can wait."""

from __future__ import annotations

import threading

import pytest

from es_semantic import deadline
from es_semantic.deadline import MOST, Late, in_milliseconds, within


def test_what_ends_in_time() -> None:
    assert within(60, lambda: 5, of="a", daemon=True) == 5
    with pytest.raises(ZeroDivisionError):
        within(60, lambda: 1 / 0, of="a", daemon=False)


def test_what_never_ends_takes_a_bounded_number_of_threads() -> None:
    going_on = threading.Event()
    before = threading.active_count()
    for _ in range(MOST):
        with pytest.raises(Late):
            within(0.001, going_on.wait, of="a", daemon=True)
    started = threading.Event()
    with pytest.raises(Late):
        within(0.001, started.set, of="a", daemon=True)
    assert threading.active_count() <= before + MOST
    assert not started.is_set()
    # Another service does not suffer from it.
    assert within(60, lambda: 5, of="b", daemon=True) == 5
    waiting = [threading.Thread(target=within, args=(60, int), kwargs={"of": "a", "daemon": True}) for _ in range(MOST)]
    for thread in waiting:
        thread.start()
    going_on.set()
    for thread in waiting:
        thread.join(timeout=60)
        assert not thread.is_alive()
    # Every place has been given back, and none twice.
    places = deadline._PLACES["a"]
    for _ in range(MOST):
        assert places.acquire(timeout=60)
    assert not places.acquire(blocking=False)
    places.release(MOST)


def test_a_thread_that_cannot_start_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(MOST + 1):
            with pytest.raises(RuntimeError):
                within(60, int, of="c", daemon=True)
    assert within(60, lambda: 5, of="c", daemon=True) == 5


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "250ms"), (1e-9, "1ms"), (86_400, "86400000ms")])
def test_as_elasticsearch_takes_a_timeout(seconds: float, text: str) -> None:
    assert in_milliseconds(seconds) == text
