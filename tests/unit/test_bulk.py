"""Bulk bodies and what becomes of their items; the procedure is driven by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.cluster.steps import Pause, Request, Steps
from es_semantic.embedding.encoding import encode_vector
from es_semantic.errors import ClusterError, RequestFailed, Unreachable
from es_semantic.sync.bulk import (
    LARGEST_BODY,
    MAX_TRIES,
    SLOW_ANSWER,
    SMALLEST_BODY,
    BodySize,
    Item,
    Outcome,
    cut,
    full_jitter,
    write,
)
from es_semantic.sync.documents import Updates, read_document
from es_semantic.sync.embed import Embedded, embed_documents, whole
from es_semantic.sync.feed import Page
from es_semantic.sync.observer import Retried, Unobserved
from es_semantic.sync.shards import Shard
from es_semantic.sync.window import Window
from es_semantic.sync.writer import Writer
from tests.embedder import TinyEmbedder
from tests.schema_targets import binding

OK = {"update": {"status": 200, "_seq_no": 5, "_primary_term": 1}}
BUSY = {"update": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}}
CONFLICT = {"update": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "newer"}}}
UNREADABLE = {"update": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no base64"}}}

Answer = list[dict[str, Any]] | ClusterError
"""The items of a bulk answer, or how the whole request was refused."""


def bodies(items: list[Item], wanted: list[int], limit: int) -> Iterator[list[int]]:
    left = deque(wanted)
    while left:
        yield cut(items, left, limit)


@given(st.lists(st.binary(max_size=30)), st.data(), st.integers(1, 60))
def test_bodies_keep_every_wanted_item_in_order_and_stay_below_the_limit(
    lines: list[bytes], data: st.DataObject, limit: int
) -> None:
    items: list[Item] = [[line] for line in lines]
    wanted = [i for i in range(len(items)) if data.draw(st.booleans())]
    made = list(bodies(items, wanted, limit))
    assert [i for body in made for i in body] == wanted
    for body in made:
        assert body
        assert len(body) == 1 or sum(len(line) + 1 for i in body for line in items[i]) <= limit


@dataclass
class Driven:
    """What a procedure did: its result, the lines of each request, and how long it paused."""

    result: Any = None
    sent: list[list[bytes]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)


def drive(steps: Steps[Any], answer: Callable[[list[bytes]], Answer]) -> Driven:
    """Answer every request of a procedure by what it sends."""
    driven = Driven()
    outcome: Any = None
    error: ClusterError | None = None
    while True:
        try:
            step = steps.throw(error) if error else steps.send(outcome)
        except StopIteration as stop:
            driven.result = stop.value
            return driven
        outcome, error = None, None
        if isinstance(step, Pause):
            driven.pauses.append(step.seconds)
            continue
        assert isinstance(step, Request)
        assert isinstance(step.body, list)
        assert not step.resend_refused, "the loop is ours"
        driven.sent.append(step.body)
        reply = answer(step.body)
        if isinstance(reply, ClusterError):
            error = reply
        else:
            outcome = {"items": reply}


def in_turn(*answers: Answer) -> Callable[[list[bytes]], Answer]:
    left = list(answers)
    return lambda _lines: left.pop(0)


def test_only_items_that_were_turned_away_are_sent_again() -> None:
    driven = drive(write([[b"a"], [b"b"], [b"c"]]), in_turn([OK, BUSY, CONFLICT], [BUSY], [OK]))
    assert [outcome.status for outcome in driven.result] == [200, 200, 409]
    assert driven.sent == [[b"a", b"b", b"c"], [b"b"], [b"b"]]
    assert len(driven.pauses) == 2


@given(st.lists(st.integers(0, MAX_TRIES - 1), max_size=20))
def test_outcomes_are_in_the_order_of_the_items_however_often_each_was_turned_away(refusals: list[int]) -> None:
    left = list(refusals)

    def answer(lines: list[bytes]) -> Answer:
        items: list[dict[str, Any]] = []
        for line in lines:
            number = int(line)
            left[number] -= 1
            items.append(BUSY if left[number] >= 0 else {"index": {"status": 201, "_seq_no": number}})
        return items

    driven = drive(write([[str(i).encode()] for i in range(len(refusals))]), answer)
    assert [outcome.seq_no for outcome in driven.result] == list(range(len(refusals)))
    assert sum(map(len, driven.sent)) == sum(count + 1 for count in refusals)


def test_a_whole_request_that_is_turned_away_is_sent_again() -> None:
    refused = RequestFailed("too many", status=429, error_type="es_rejected_execution_exception")
    driven = drive(write([[b"a"], [b"b"]]), in_turn(refused, RequestFailed("not ready", status=503), [OK, OK]))
    assert [outcome.status for outcome in driven.result] == [200, 200]
    assert driven.sent == [[b"a", b"b"]] * 3
    assert len(driven.pauses) == 2


@pytest.mark.parametrize("refusal", [[BUSY], RequestFailed("full", status=429), RequestFailed("full", status=503)])
def test_a_cluster_that_stays_overloaded_is_an_error_and_nothing_counts_as_done(refusal: Answer) -> None:
    seen: list[list[bytes]] = []

    def answer(lines: list[bytes]) -> Answer:
        seen.append(lines)
        return refusal

    with pytest.raises(RequestFailed, match=f"1 of 1 writes were refused {MAX_TRIES} times: full") as caught:
        drive(write([[b"a"]]), answer)
    assert seen == [[b"a"]] * MAX_TRIES
    assert caught.value.status in (429, 503)
    assert "Nothing is lost" in caught.value.hint


@pytest.mark.parametrize(
    "error", [RequestFailed("broken", status=500), Unreachable("no answer"), RequestFailed("bad gateway", status=502)]
)
def test_a_request_of_unknown_outcome_is_raised_at_once(error: ClusterError) -> None:
    with pytest.raises(type(error)) as caught:
        drive(write([[b"a"]]), in_turn(error))
    assert caught.value is error


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 20))
def test_a_body_that_is_too_large_is_halved_and_only_the_item_that_is_alone_too_large_fails(
    lengths: list[int], largest: int
) -> None:
    items: list[Item] = [[b"x" * length] for length in lengths]

    def answer(lines: list[bytes]) -> Answer:
        if sum(map(len, lines)) > largest:
            return RequestFailed("too large", status=413)
        return [OK] * len(lines)

    driven = drive(write(items), answer)
    assert [outcome.status for outcome in driven.result] == [413 if length > largest else 200 for length in lengths]
    assert driven.pauses == []


def test_what_was_too_large_once_is_not_sent_again() -> None:
    """A proxy takes a megabyte: of 32 MB little more than what the first body wasted is sent twice."""
    size, taken = BodySize(), 1 << 20
    items: list[Item] = [[b"x" * 99_999] for _ in range(320)]
    refused: list[int] = []

    def answer(lines: list[bytes]) -> Answer:
        length = sum(len(line) + 1 for line in lines)
        if length > taken:
            refused.append(length)
            return RequestFailed("too large", status=413)
        return [OK] * len(lines)

    assert all(outcome.ok for outcome in drive(write(items, size=size), answer).result)
    assert sum(refused) <= 2 * LARGEST_BODY
    assert taken // 2 <= size.ceiling <= taken
    before = len(refused)
    drive(write(items, size=size), answer)
    assert len(refused) == before, "it has learnt"


def test_an_item_that_is_alone_too_large_says_nothing_of_the_others() -> None:
    size = BodySize()

    def answer(lines: list[bytes]) -> Answer:
        return RequestFailed("too large", status=413) if b"large" in lines[0] else [OK] * len(lines)

    driven = drive(write([[b"large"]], size=size), answer)
    assert ([outcome.status for outcome in driven.result], size.ceiling) == ([413], LARGEST_BODY)


def test_reasons_quote_nothing_of_the_document() -> None:
    quoting = {"type": "document_parsing_exception", "reason": "failed to parse", "caused_by": {"reason": "my diary"}}
    driven = drive(write([[b"a"]]), in_turn([{"update": {"status": 400, "error": quoting}}]))
    assert driven.result == [Outcome(400, "document_parsing_exception", "failed to parse: [masked]")]


def test_nothing_is_sent_for_nothing() -> None:
    driven = drive(write([]), in_turn())
    assert (driven.result, driven.sent, driven.pauses) == ([], [], [])


class Counting(Unobserved):
    def __init__(self) -> None:
        self.rejected = 0
        self.retries: list[str] = []

    def overload(self, items: int) -> None:
        self.rejected += items

    def retry(self, what: Retried) -> None:
        self.retries.append(what)


def test_what_is_turned_away_is_counted() -> None:
    observer = Counting()
    drive(write([[b"a"], [b"b"]], observer=observer), in_turn([BUSY, BUSY], [OK, BUSY], [OK]))
    assert (observer.rejected, observer.retries) == (3, ["bulk", "bulk"])


def test_bodies_shrink_under_load_and_grow_again() -> None:
    size = BodySize()
    assert size.limit == LARGEST_BODY
    size.learn(overloaded=True, seconds=0.1)
    assert size.limit == LARGEST_BODY // 2
    size.learn(overloaded=False, seconds=2 * SLOW_ANSWER)
    assert size.limit == LARGEST_BODY // 4
    size.learn(overloaded=False, seconds=0.1)
    assert size.limit == LARGEST_BODY // 4 + SMALLEST_BODY


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2 * SLOW_ANSWER)), max_size=60))
def test_bodies_keep_within_their_bounds(answers: list[tuple[bool, float]]) -> None:
    size = BodySize()
    for overloaded, seconds in answers:
        before = size.limit
        size.learn(overloaded=overloaded, seconds=seconds)
        assert SMALLEST_BODY <= size.limit <= LARGEST_BODY
        assert size.limit <= before if overloaded else True


@given(st.lists(st.one_of(st.booleans(), st.integers(2, LARGEST_BODY)), max_size=60))
def test_bodies_never_grow_to_what_was_too_large(answers: list[bool | int]) -> None:
    size, smallest = BodySize(), LARGEST_BODY + 1
    for answer in answers:
        if isinstance(answer, bool):
            size.learn(overloaded=answer, seconds=0)
        else:
            size.refused(answer)
            smallest = min(smallest, answer)
        assert 0 < size.limit < smallest


def test_a_refused_body_is_followed_by_smaller_ones() -> None:
    items: list[Item] = [[b"x" * (LARGEST_BODY // 2 - 1)], [b"y" * (LARGEST_BODY // 2 - 1)]]
    driven = drive(write(items), in_turn([BUSY, BUSY], [OK], [OK]))
    assert [len(lines) for lines in driven.sent] == [2, 1, 1]


@given(st.integers(0, 10_000), st.floats(0.01, 10), st.floats(1, 60))
def test_a_pause_is_never_longer_than_the_longest(attempt: int, first: float, longest: float) -> None:
    assert 0 <= full_jitter(attempt, first, longest) <= min(longest, first * 2.0 ** min(attempt, 30))


@pytest.mark.parametrize(
    ("item", "ok", "superseded", "blocked"),
    [
        (Outcome(200), True, False, False),
        (Outcome(409, "version_conflict_engine_exception"), False, True, False),
        (Outcome(404, "document_missing_exception"), False, True, False),
        (Outcome(404), False, True, False),
        (Outcome(404, "index_not_found_exception"), False, False, False),
        (Outcome(403, "cluster_block_exception"), False, False, True),
        (Outcome(403, "security_exception"), False, False, False),
        (Outcome(400, "document_parsing_exception"), False, False, False),
    ],
)
def test_what_an_outcome_means(item: Outcome, ok: bool, superseded: bool, blocked: bool) -> None:
    assert (item.ok, item.superseded, item.blocked) == (ok, superseded, blocked)


@pytest.mark.parametrize(
    ("known", "answers", "sent_as_base64", "known_afterwards"),
    [
        (True, [[OK]], [True], True),
        (False, [[OK]], [False], False),
        (None, [[OK]], [True], True),
        (None, [[UNREADABLE], [OK]], [True, False], False),
        (None, [[UNREADABLE], [UNREADABLE]], [True, False], None),
    ],
)
def test_a_server_of_unknown_age_is_tried_with_base64_first(
    known: bool | None, answers: list[Answer], sent_as_base64: list[bool], known_afterwards: bool | None
) -> None:
    embedder = TinyEmbedder()
    bound = binding("title")
    writer = Writer(Updates("semantic", bound), known, Unobserved())
    hit = {"_index": "i", "_id": "1", "_seq_no": 1, "_primary_term": 1, "_source": {"title": "red"}}
    document = read_document(hit, bound, "semantic")
    window = Window(embedded=embed_documents(embedder, [document.text], whole))
    window.add(Page(Shard("i", "u", 0, "h", 1), [document], 1, [(0, 1)]), [document])
    stored: Answer = [{"index": {"status": 201}}]
    dead_letter = [stored] if answers[-1] == [UNREADABLE] else []
    driven = drive(writer.write(window), in_turn(*answers, *dead_letter))
    encoded = encode_vector(embedder.vector("red")).encode()
    assert [encoded in body[1] for body in driven.sent[: len(answers)]] == sent_as_base64
    assert writer.base64 is known_afterwards
    assert [bool(result.failure) for result in driven.result] == [bool(dead_letter)]


def test_a_mark_without_vector_says_nothing_of_the_server_s_age() -> None:
    embedder, bound = TinyEmbedder(), binding("title")
    writer = Writer(Updates("semantic", bound), None, Unobserved())
    hits = [
        {"_index": "i", "_id": str(i), "_seq_no": i, "_primary_term": 1, "_source": {"title": "red"}} for i in (1, 2)
    ]
    documents = [read_document(hit, bound, "semantic") for hit in hits]
    embedded = embed_documents(embedder, ["red"], whole)
    window = Window(embedded=[*embedded, Embedded(None, reason="refused")])
    window.add(Page(Shard("i", "u", 0, "h", 2), documents, 2, [(0, 2)]), documents)
    stored: Answer = [{"index": {"status": 201}}]
    driven = drive(writer.write(window), in_turn([UNREADABLE, OK], [OK], stored))
    assert [len(body) for body in driven.sent] == [4, 2, 2], "only the vector is sent again"
    assert writer.base64 is False
    assert [result.failure for result in driven.result] == ["", "refused"]
