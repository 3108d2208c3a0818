"""What the feed asks for covers every unread sequence number exactly once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.cluster.failures import failure
from es_semantic.cluster.steps import Request
from es_semantic.errors import ClusterError, RequestFailed, Unreachable
from es_semantic.sync import feed as module
from es_semantic.sync.checkpoints import Position, unread_of
from es_semantic.sync.documents import Document, Judged
from es_semantic.sync.feed import (
    FIRST_REQUEST,
    LARGEST_PAGE,
    LARGEST_REQUEST,
    MAX_RANGES,
    PAGE_CHARACTERS,
    Feed,
    RequestSize,
    above,
    take,
)
from es_semantic.sync.intervals import Intervals
from es_semantic.sync.partition import WHOLE, parse_partition
from es_semantic.sync.shards import Shard
from tests.schema_targets import binding

READER = Judged(binding("title"), "semantic")

unread = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))).map(
    lambda pairs: list(Intervals(pairs))
)


def numbers(ranges: list[tuple[int, int]]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


@given(unread, st.integers(1, 50))
def test_taking_goes_through_all_in_order(ranges: list[tuple[int, int]], span: int) -> None:
    left, seen = deque(ranges), []
    while left:
        part = take(left, span)
        assert 1 <= len(part) <= MAX_RANGES
        assert 1 <= len(numbers(part)) <= span
        seen += numbers(part)
    assert seen == numbers(ranges)


@given(unread, st.integers(-1, 420))
def test_a_full_page_leaves_what_is_above_it(ranges: list[tuple[int, int]], number: int) -> None:
    assert numbers(above(ranges, number)) == [each for each in numbers(ranges) if each > number]


@dataclass
class Read:
    """What a feed asked for, and the sequence numbers of the documents that it gave out."""

    sizes: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    """The characters of each."""
    numbers: list[tuple[int, int]] = field(default_factory=list)
    through: dict[int, int] = field(default_factory=dict)
    covered: list[tuple[int, int]] = field(default_factory=list)


def read(feed: Feed[Document], length: Callable[[int], int], standing: Callable[[int], bool] = lambda _: True) -> Read:
    """Answer as shards do of which each number ``standing`` is a document with a text of so many characters."""
    seen = Read()
    while True:
        steps = feed.next_page()
        request = next(steps, None)
        if request is None:
            return seen
        seen.pages.append(0)
        while True:
            assert isinstance(request, Request)
            assert isinstance(request.body, dict)
            seen.sizes.append(request.body["size"])
            try:
                request = steps.send({"hits": {"hits": list(_hits(request.body, length, standing))}})
            except StopIteration as ended:
                page = ended.value
                break
        seen.pages[-1] = sum(len(document.text) for document in page.documents)
        seen.numbers += [(page.shard.number, document.seq_no) for document in page.documents]
        seen.through[page.shard.number] = page.through
        seen.covered += [(page.shard.number, number) for number in numbers(page.covered)]


def _hits(body: dict[str, Any], length: Callable[[int], int], standing: Callable[[int], bool]) -> list[dict[str, Any]]:
    (written,) = body["query"]["bool"]["filter"]
    ranges = [each["range"]["_seq_no"] for each in written["bool"]["should"]]
    found = [n for each in ranges for n in range(each["gte"], each["lte"] + 1) if standing(n)][: body["size"]]
    common = {"_index": "i", "_primary_term": 1}
    return [{**common, "_id": str(n), "_seq_no": n, "_source": {"title": "x" * length(n)}} for n in found]


def always(length: int) -> Callable[[int], int]:
    return lambda _number: length


def shard(number: int, global_checkpoint: int) -> Shard:
    return Shard("i", "u", number, "h", global_checkpoint)


def feed(*shards: Shard, size: RequestSize | None = None, partition: str = str(WHOLE)) -> Feed[Document]:
    positions = {each: Position() for each in shards}
    return Feed(READER, parse_partition(partition), 10_000, unread_of(positions), size or RequestSize())


@given(st.lists(st.integers(-1, 700), min_size=1, max_size=3), st.integers(1, 5))
def test_every_document_of_every_shard_is_given_out_once(checkpoints: list[int], every: int) -> None:
    shards = [shard(number, last) for number, last in enumerate(checkpoints)]
    seen = read(feed(*shards), lambda _: 5, lambda number: number % every == 0)
    assert seen.numbers == [(s.number, n) for s in shards for n in range(0, s.global_checkpoint + 1, every)]
    assert seen.through == {s.number: s.global_checkpoint for s in shards if s.global_checkpoint >= 0}
    assert seen.covered == [(s.number, n) for s in shards for n in range(s.global_checkpoint + 1)]


def test_small_documents_take_hardly_more_requests_and_pages_than_the_fewest() -> None:
    for total in (1_000, 30_000):
        seen = read(feed(shard(0, total - 1)), lambda _: 50)
        assert len(seen.numbers) == total
        assert len(seen.sizes) <= total / LARGEST_REQUEST + 2
        assert len(seen.pages) <= total / LARGEST_PAGE + 2


def test_pages_begin_small_and_double_as_long_as_documents_are_small() -> None:
    seen = read(feed(shard(0, 5_000)), lambda _: 50)
    assert seen.sizes[:3] == [64, 128, 128]
    assert max(seen.sizes) == LARGEST_REQUEST
    large = PAGE_CHARACTERS // 4
    seen = read(feed(shard(0, 300)), lambda _: large)
    assert seen.sizes[0] == FIRST_REQUEST
    assert set(seen.sizes[1:]) == {3}, "as many as fit, with a character for each"


def test_a_page_of_alike_documents_holds_no_more_text_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_CHARACTERS", 2_000)
    for length in (1, 10, 300, 2_000, 6_000):
        seen = read(feed(shard(0, 1_000)), always(length))
        assert all(size * length <= max(2_000, length) for size in seen.sizes[1:])
        assert all(characters <= max(3_000, length) for characters in seen.pages[1:])


def test_huge_documents_after_tiny_ones_are_few_at_once() -> None:
    lengths = [PAGE_CHARACTERS // 10 if 2_000 <= number < 2_400 else 5 for number in range(3_000)]
    seen = read(feed(shard(0, len(lengths) - 1)), lengths.__getitem__)
    assert len(seen.numbers) == len(lengths)
    assert max(seen.pages) <= (LARGEST_REQUEST / 10 + 1) * PAGE_CHARACTERS
    assert sum(characters > 2 * PAGE_CHARACTERS for characters in seen.pages) == 1, "the first of them"


def test_with_few_documents_standing_pages_do_not_grow_beyond_what_was_seen() -> None:
    seen = read(feed(shard(0, 20_000)), lambda _: 50, lambda number: number % 1_000 == 0)
    assert set(seen.sizes) == {FIRST_REQUEST}
    assert len(seen.sizes) < 12


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("Elasticsearch did not answer in time"),
        RequestFailed("too large", status=413),
        RequestFailed("no answer from upstream", status=504),
        failure(
            429,
            {
                "error": {
                    "type": "search_phase_execution_exception",
                    "reason": "all shards failed",
                    "failed_shards": [
                        {
                            "reason": {
                                "type": "circuit_breaking_exception",
                                "reason": "[parent] Data too large, data for",
                            }
                        }
                    ],
                }
            },
            "POST /i/_search",
        ),
    ],
)
def test_a_page_that_may_have_been_too_large_is_tried_again_smaller_and_in_the_end_alone(error: ClusterError) -> None:
    size, asked = RequestSize(), []
    for _ in range(5):
        steps = feed(shard(0, 1_000), size=size).next_page()
        request = next(steps)
        assert isinstance(request, Request)
        assert isinstance(request.body, dict)
        asked.append(request.body["size"])
        with pytest.raises(type(error)):
            steps.throw(error)
    assert asked == [64, 16, 4, 1, 1]
    assert read(feed(shard(0, 1_000), size=size), lambda _: 5).sizes[:3] == [1, 2, 4], "it recovers"


def test_a_full_queue_says_nothing_of_the_page_s_size() -> None:
    size = RequestSize()
    steps = feed(shard(0, 1_000), size=size).next_page()
    next(steps)
    with pytest.raises(RequestFailed):
        steps.throw(RequestFailed("rejected execution", status=429, error_type="es_rejected_execution_exception"))
    assert size.documents == FIRST_REQUEST


def test_a_new_pass_begins_small_again() -> None:
    size = RequestSize()
    read(feed(shard(0, 5_000), size=size), lambda _: 5)
    assert size.documents == LARGEST_REQUEST
    assert read(feed(shard(0, 100), size=size), lambda _: 5).sizes[0] == FIRST_REQUEST


def test_what_is_unread_is_settled_when_the_feed_is_made() -> None:
    shards = [shard(0, 9), shard(1, 9)]
    positions = {each: Position() for each in shards}
    made = Feed(READER, WHOLE, 10_000, unread_of(positions))
    for position in positions.values():
        position.remember(5)
        position.advance(7)
    assert made.unread == 20
    assert read(made, lambda _: 5).numbers == [(number, n) for number in (0, 1) for n in range(10)]
    assert made.unread == 0


def test_pages_of_a_part_learn_from_its_own_documents() -> None:
    seen = read(feed(shard(0, 5_000), partition="1/3"), lambda _: 50)
    assert max(seen.sizes) == LARGEST_REQUEST
    assert 1_000 < len(seen.numbers) < 2_500
