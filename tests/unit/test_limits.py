"""A sync stops just beyond each limit, never at it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import TooManyFailures
from es_semantic.sync.limits import MAX_FAILED_BATCHES, MAX_FAILURES, MAX_SHARE, WINDOW, FailureLimits

ids = itertools.count()


def count(batches: Sequence[tuple[int, int]], limits: FailureLimits | None = None) -> FailureLimits:
    """Take batches of (documents, failed) into account."""
    limits = limits or FailureLimits()
    for documents, failed in batches:
        limits.count(documents, anew(failed))
    return limits


def anew(failed: int) -> dict[str, str]:
    """So many failures of documents never seen before."""
    return {str(next(ids)): "why" for _ in range(failed)}


def test_a_thousand_failures_pass_and_one_more_does_not() -> None:
    # One in eight: below the limit of a window.
    limits = count([(8, 1)] * MAX_FAILURES)
    assert limits.failed == MAX_FAILURES
    with pytest.raises(TooManyFailures, match=f"{MAX_FAILURES + 1} documents failed; the last: why") as caught:
        count([(8, 1)], limits)
    assert caught.value.exit_code == 4
    assert "es-semantic failures INDEX" in caught.value.hint


def test_ten_batches_in_a_row_of_which_everything_failed() -> None:
    limits = count([(2, 2)] * (MAX_FAILED_BATCHES - 1))
    with pytest.raises(TooManyFailures, match=f"every document of {MAX_FAILED_BATCHES} batches in a row"):
        count([(2, 2)], limits)


def test_one_good_document_ends_the_row() -> None:
    count([*[(2, 2)] * (MAX_FAILED_BATCHES - 1), (2, 1), *[(2, 2)] * (MAX_FAILED_BATCHES - 1)])


def test_a_batch_without_documents_neither_ends_the_row_nor_counts() -> None:
    limits = count([*[(2, 2)] * (MAX_FAILED_BATCHES - 1), (0, 0)])
    assert limits.failed_batches == MAX_FAILED_BATCHES - 1
    with pytest.raises(TooManyFailures):
        count([(1, 1)], limits)


def test_the_share_of_a_window() -> None:
    most = int(MAX_SHARE * WINDOW)
    count([(WINDOW, most)])
    with pytest.raises(TooManyFailures, match=f"{most + 1} of the last {WINDOW} documents failed"):
        count([(WINDOW, most + 1)])


def test_a_share_is_counted_over_a_whole_window_only() -> None:
    limits = count([(WINDOW - 1, WINDOW - 2)])
    with pytest.raises(TooManyFailures, match=f"{WINDOW - 2} of the last {WINDOW} documents"):
        count([(1, 0)], limits)


def test_a_window_starts_anew() -> None:
    most = int(MAX_SHARE * WINDOW)
    count([(WINDOW, most), (WINDOW, most), (WINDOW - 1, most)])


batches = st.lists(st.integers(1, 700).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size))))


@given(batches)
def test_a_run_goes_on_only_within_all_limits(seen: list[tuple[int, int]]) -> None:
    limits = FailureLimits()
    in_a_row = total = 0
    for documents, failed in seen:
        total += failed
        in_a_row = in_a_row + 1 if failed == documents else 0
        try:
            limits.count(documents, anew(failed))
        except TooManyFailures:
            return
        assert total <= MAX_FAILURES
        assert in_a_row < MAX_FAILED_BATCHES


def test_one_document_that_is_written_again_and_again_stops_nobody() -> None:
    limits = FailureLimits()
    for _ in range(3 * MAX_FAILED_BATCHES):
        limits.count(1, {"the same": "why"})
    with pytest.raises(TooManyFailures, match=f"every document of {4 * MAX_FAILED_BATCHES - 1} batches in a row"):
        count([(1, 1)] * (MAX_FAILED_BATCHES - 1), limits)


def test_what_failed_before_everything_was_up_to_date_counts_no_more() -> None:
    limits = count([(8, 1)] * MAX_FAILURES)
    limits.new_run()
    count([(8, 1)] * MAX_FAILURES, limits)
