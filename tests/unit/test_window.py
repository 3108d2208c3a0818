"""What is worked off together, and how far that brings each shard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.sync.documents import Document, Verdict
from es_semantic.sync.feed import Page
from es_semantic.sync.shards import Shard
from es_semantic.sync.window import WINDOW, WINDOW_CHARACTERS, Window, Work

FIRST, SECOND = Shard("i", "u", 0, "h", 100), Shard("i", "u", 1, "h", 100)


def document(number: int, verdict: Verdict = Verdict.STALE, text: str = "text") -> Document:
    return Document("i", str(number), None, number, 1, text, "hash", verdict)


def window(*documents: Document) -> Window:
    filled = Window()
    filled.add(Page(FIRST, list(documents), len(documents), []), documents)
    return filled


def test_an_empty_window_has_nothing_to_do() -> None:
    assert (Window().full, Window().stale, Window().through) == (False, [], {})


@pytest.mark.parametrize(("count", "full"), [(WINDOW - 1, False), (WINDOW, True), (WINDOW + 1, True)])
def test_a_window_is_full_with_so_many_documents_to_embed(count: int, full: bool) -> None:
    assert window(*map(document, range(count))).full is full


@pytest.mark.parametrize(("characters", "full"), [(WINDOW_CHARACTERS - 1, False), (WINDOW_CHARACTERS, True)])
def test_a_window_is_full_with_so_much_text(characters: int, full: bool) -> None:
    half = characters // 2
    assert window(document(0, text=half * "x"), document(1, text=(characters - half) * "x")).full is full


def test_only_what_is_to_be_embedded_fills_it() -> None:
    rest = [verdict for verdict in Verdict if verdict is not Verdict.STALE]
    documents = [document(i, verdict, WINDOW_CHARACTERS * "x") for verdict in rest for i in range(WINDOW)]
    assert not window(*documents).full


@given(st.lists(st.tuples(st.sampled_from([FIRST, SECOND]), st.integers(0, 4))))
def test_it_tells_how_far_each_shard_is_once_it_is_done(pages: list[tuple[Shard, int]]) -> None:
    filled, number = Window(), 0
    last: dict[Shard, int] = {}
    expected: list[Work] = []
    for shard, size in pages:
        number += size + 1
        documents = [document(number - size + i) for i in range(size)]
        wanted = documents[::2]
        filled.add(Page(shard, documents, number, []), wanted)
        last[shard] = number
        expected += [Work(shard, each) for each in wanted]
    assert filled.through == last
    assert filled.work == expected


@given(st.lists(st.sampled_from(Verdict)))
def test_every_document_is_in_the_list_of_its_verdict(verdicts: list[Verdict]) -> None:
    filled = window(*(document(i, verdict) for i, verdict in enumerate(verdicts)))
    lists = {verdict: filled.having(verdict) for verdict in Verdict}
    assert sum(map(len, lists.values())) == len(verdicts)
    assert all(work.document.verdict is verdict for verdict, some in lists.items() for work in some)
    assert filled.stale == lists[Verdict.STALE]


def test_texts_are_let_go_and_all_else_is_kept() -> None:
    filled = window(document(1), document(2, Verdict.EMPTY), document(3))
    before = [(work.document.id, work.document.hash, work.document.verdict) for work in filled.work]
    filled.forget_texts()
    assert [(work.document.id, work.document.hash, work.document.verdict) for work in filled.work] == before
    assert {work.document.text for work in filled.work} == {""}
    assert [work.document.id for work in filled.stale] == ["1", "3"]
