"""Queries and writes go on while a live index changes its model: none fails, none mixes models, none is lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.faults.test_reindex_load import DOCUMENTS, Named, Refused, fixed_documents, following, found_by_its_text
from tests.faults.workers import Owner, beside, seeded, wait_until
from tests.migrating import NEW, documents, provide
from tests.nodes import MakeIndex
from tests.truth import untrue


@pytest.mark.parametrize("dims", [64, 32])
def test_no_query_fails_and_no_write_is_lost(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch, dims: int
) -> None:
    generator = seeded()
    old, new = Named("older", 64), Named("newer", dims, pause=0.002)
    provide(monkeypatch, old, new)
    index = make_index({"title": {"type": "text"}, "count": {"type": "integer"}})
    fixed = fixed_documents()
    everything = Owner(client, index, DOCUMENTS)
    everything.put(fixed)
    es_semantic.attach(client, index, "title", model=old, chunk="never")
    es_semantic.sync(client, index)
    writer = Refused(client, everything)
    answers: Counter[str] = Counter()
    asked = itertools.count()
    together = threading.Lock()

    def ask() -> None:
        best, mode = found_by_its_text(client, index, fixed, next(asked))
        assert set(best.source) == {"title", "count"}
        with together:
            answers[mode] += 1

    def phase() -> str:
        return es_semantic.migration(client, index).phase

    with following(client, index):
        with beside(lambda: writer.change_some(generator), 0.05), beside(ask, 0), beside(ask, 0):
            es_semantic.migrate(client, index, model=new, chunk="never")
            es_semantic.switch_migration(client, index)
            time.sleep(1.0)
            es_semantic.roll_back_migration(client, index)
            time.sleep(1.0)
            es_semantic.switch_migration(client, index)
            time.sleep(1.0)
            es_semantic.drop_migration(client, index)
            assert phase() == "none"
            time.sleep(1.0)
        wait_until(lambda: untrue(client, index, ["title"], new, place=NEW) == {}, 30)
    print(f"{dict(answers)} queries")
    assert min(answers.values()) > 50
    assert writer.refused == 0
    assert documents(client, index) == everything.model


def test_both_are_kept_up_to_date_by_whoever_follows(
    client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Named("older", 64), Named("newer", 32)
    models = provide(monkeypatch, old, new)
    index = make_index({"title": {"type": "text"}})
    everything = Owner(client, index, 30)
    es_semantic.attach(client, index, "title", model=old, chunk="never")

    def true(place: str) -> bool:
        return untrue(client, index, ["title"], new if place == NEW else old, place=place) == {}

    with following(client, index):
        wait_until(lambda: true("semantic"))
        models.away.add("newer")
        es_semantic.migrate(client, index, model=new, chunk="never")
        everything.update({"1": {"title": "written while the worker cannot load the new model"}})
        wait_until(lambda: true("semantic"))
        assert not true(NEW)
        models.away.clear()
        wait_until(lambda: true(NEW), 90)
        steps = (es_semantic.switch_migration, es_semantic.roll_back_migration, es_semantic.switch_migration)
        for number, step in enumerate(steps):
            step(client, index)
            everything.update({"2": {"title": f"written after step {number}"}})
            wait_until(lambda: true("semantic") and true(NEW))
        es_semantic.drop_migration(client, index)
        everything.update({"3": {"title": "written after the old field was dropped"}})
        wait_until(lambda: true(NEW))
    assert documents(client, index) == everything.model
