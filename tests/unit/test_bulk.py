"""Bulk bodies and what becomes of their items; the procedure is driven by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.cluster.steps import Pause, Request
from es_semantic.embedding.encoding import encode_vector
from es_semantic.schema.binding import Binding
from es_semantic.sync.bulk import MAX_TRIES, Item, Outcome, bodies, write
from es_semantic.sync.documents import read_document
from es_semantic.sync.embed import embed_each
from es_semantic.sync.one_pass import _Pass
from es_semantic.sync.report import SyncReport, silent
from tests.embedder import TinyEmbedder

OK = {"update": {"status": 200}}
BUSY = {"update": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}}
CONFLICT = {"update": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "newer"}}}
UNREADABLE = {"update": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no base64"}}}


@given(st.lists(st.binary(max_size=30)), st.integers(1, 60))
def test_bodies_keep_every_item_in_order_and_stay_below_the_limit(lines: list[bytes], limit: int) -> None:
    items: list[Item] = [[line] for line in lines]
    made = list(bodies(items, limit))
    assert [item for body in made for item in body] == items
    for body in made:
        assert body
        assert len(body) == 1 or sum(len(line) + 1 for item in body for line in item) <= limit


def drive(steps: Any, answers: list[list[dict[str, Any]]]) -> tuple[Any, list[list[bytes]], int]:
    """Answer each request with the next items; return the result, what was sent, and the number of pauses."""
    sent, pauses, outcome = [], 0, None
    try:
        while True:
            step = steps.send(outcome)
            if isinstance(step, Pause):
                assert 0 <= step.seconds <= 30
                pauses, outcome = pauses + 1, None
                continue
            assert isinstance(step, Request)
            assert isinstance(step.body, list)
            sent.append(step.body)
            outcome = {"items": answers.pop(0)}
    except StopIteration as stop:
        return stop.value, sent, pauses


def test_only_items_that_were_turned_away_are_sent_again() -> None:
    outcomes, sent, pauses = drive(write([[b"a"], [b"b"], [b"c"]]), [[OK, BUSY, CONFLICT], [BUSY], [OK]])
    assert [outcome.status for outcome in outcomes] == [200, 200, 409]
    assert sent == [[b"a", b"b", b"c"], [b"b"], [b"b"]]
    assert pauses == 2


def test_an_item_that_is_always_turned_away_fails_in_the_end() -> None:
    outcomes, sent, pauses = drive(write([[b"a"]]), [[BUSY]] * MAX_TRIES)
    assert outcomes == [Outcome(429, "es_rejected_execution_exception", "full")]
    assert (len(sent), pauses) == (MAX_TRIES, MAX_TRIES - 1)


def test_nothing_is_sent_for_nothing() -> None:
    assert drive(write([]), []) == ([], [], 0)


@pytest.mark.parametrize(
    ("known", "answers", "sent_as_base64", "known_afterwards"),
    [
        (True, [[UNREADABLE]], [True], True),
        (False, [[OK]], [False], False),
        (None, [[OK]], [True], True),
        (None, [[UNREADABLE], [OK]], [True, False], False),
        (None, [[UNREADABLE], [UNREADABLE]], [True, False], None),
    ],
)
def test_a_server_of_unknown_age_is_tried_with_base64_first(
    known: bool | None, answers: list[list[dict[str, Any]]], sent_as_base64: list[bool], known_afterwards: bool | None
) -> None:
    embedder = TinyEmbedder()
    fingerprint = embedder.profile.fingerprint
    binding = Binding(source=["title"], fingerprint=fingerprint, similarity="cosine", index_options={})
    report = SyncReport("i", "semantic", fingerprint.id)
    one_pass = _Pass(binding, "semantic", embedder, report, silent, known, one_index=True, max_page=100)
    hit = {"_index": "i", "_id": "1", "_seq_no": 1, "_primary_term": 1, "_source": {"title": "red"}}
    document = read_document(hit, binding, "semantic")
    _, sent, _ = drive(one_pass._write([document], embed_each(embedder, [document.text])), answers)
    encoded = encode_vector(embedder.vector("red")).encode()
    assert [encoded in body[1] for body in sent] == sent_as_base64
    assert one_pass.base64 is known_afterwards
