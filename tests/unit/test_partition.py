"""Every document id belongs to exactly one part."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.errors import UsageError
from es_semantic.sync.partition import WHOLE, Partition, parse_partition


@given(st.text(st.characters()), st.integers(1, 1024))
def test_every_id_is_in_exactly_one_part(doc_id: str, count: int) -> None:
    assert sum(Partition(number, count).holds(doc_id) for number in range(1, count + 1)) == 1


@given(st.text(st.characters()))
def test_the_whole_holds_every_id(doc_id: str) -> None:
    assert WHOLE.holds(doc_id)


def test_parts_are_of_similar_size() -> None:
    sizes = Counter(
        number for i in range(6000) for number in range(1, 4) if Partition(number, 3).holds(f"document {i}")
    )
    assert sorted(sizes) == [1, 2, 3]
    assert all(1800 < size < 2200 for size in sizes.values())


def test_which_part_an_id_is_in_never_changes() -> None:
    """Workers of different releases run side by side, and checkpoints outlive them."""
    parts = {doc_id: next(n for n in range(1, 8) if Partition(n, 7).holds(doc_id)) for doc_id in ("1", "2", "", "é")}
    assert parts == {"1": 3, "2": 4, "": 2, "é": 4}


@given(st.integers(1, 1024).flatmap(lambda count: st.tuples(st.integers(1, count), st.just(count))))
def test_what_is_written_is_parsed(part: tuple[int, int]) -> None:
    partition = Partition(*part)
    assert parse_partition(str(partition)) == partition


NONE = [
    "0/0",
    "0/1",
    "1/0",
    "3/2",
    "2/1",
    "a/b",
    "1",
    "/",
    "1/",
    "/1",
    "1/2/3",
    "-1/2",
    "1/-2",
    "+1/2",
    "1.0/2",
    "0x1/2",
    "1/1025",
    "1025/1025",
    "1/99999",
    "1/²",
]
NONE += ["", " 1/2", "1/2 ", "1 / 2", "1/2\n", "1\x00/2", "\u0661/\u0662", "1/" + 5000 * "9"]


@pytest.mark.parametrize("text", NONE, ids=ascii)
def test_what_is_no_partition(text: str) -> None:
    with pytest.raises(UsageError, match="does not exist") as caught:
        parse_partition(text)
    assert "1 <= i <= n <= 1024" in caught.value.hint
    assert caught.value.exit_code == 2
