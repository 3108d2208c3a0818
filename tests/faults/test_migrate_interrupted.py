"""A change of models cut off before every single request that changes something: the next run ends it."""

from __future__ import annotations

import inspect

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request
from es_semantic.migration import remove
from tests.driving import Driver, Killed
from tests.embedder import TinyEmbedder
from tests.migrating import provide
from tests.nodes import MakeIndex
from tests.truth import untrue

OLD, OTHER = TinyEmbedder("older", 64), TinyEmbedder("newer", 48)
TEXTS = {str(number): {"title": f"quokka {number} wombat {number * 7919}"} for number in range(6)}

READS = ("_search", "_count", "_mget", "_refresh", "_pit", "_simulate", "_analyze", "_has_privileges", "_render")
"""Requests by POST that change nothing."""


def changes(request: Request) -> bool:
    last = request.path.rsplit("/", 1)[-1]
    return request.method in ("PUT", "DELETE", "POST") and last not in READS and "_pit" not in request.path


class Cut:
    """Ends the procedures before the request of a number: with everything done that the one before it has done."""

    def __init__(self, client: Elasticsearch, index: str, at: int) -> None:
        self.client, self.index, self.at = client, index, at
        self.seen = 0

    def run(self) -> None:
        """All steps of the change, one after the other."""
        driver = Driver(self.client, self._before, lambda _: None)
        for steps in (
            inspect.unwrap(es_semantic.migrate)(self.index, model=OTHER, chunk="never"),
            inspect.unwrap(es_semantic.switch_migration)(self.index),
            inspect.unwrap(es_semantic.drop_migration)(self.index),
        ):
            driver.drive(steps)

    def _before(self, request: Request) -> None:
        if changes(request):
            if self.seen == self.at:
                raise Killed
            self.seen += 1


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> str:
    provide(monkeypatch, OLD, OTHER)
    monkeypatch.setattr(remove, "SETTLE", 0.0)
    index = make_index({"title": {"type": "text"}})
    es_semantic.attach(client, index, "title", model=OLD, chunk="never")
    for doc_id, document in TEXTS.items():
        client.index(index=index, id=doc_id, document=document)
    es_semantic.sync(client, index)
    return index


def test_cut_off_anywhere(client: Elasticsearch, index: str) -> None:
    number = 0
    while True:
        cut = Cut(client, index, number)
        try:
            cut.run()
        except Killed:
            assert works(client, index), number
            end(client, index)
        else:
            break
        # As it was before, to be cut off at the next request.
        back(client, index)
        number += 1
    print(f"cut off at {number} requests")
    assert number > 8


def works(client: Elasticsearch, index: str) -> bool:
    hit = es_semantic.search(client, index, TEXTS["3"]["title"], mode="knn", size=1).hits[0]
    return (hit.id, set(hit.source)) == ("3", {"title"}) and hit.score > 0.99


def end(client: Elasticsearch, index: str) -> None:
    """What somebody does who finds a change cut off: each step that is left, as the state says."""
    if es_semantic.migration(client, index).serving.model != OTHER.profile.fingerprint.id:
        es_semantic.migrate(client, index, model=OTHER, chunk="never")
        es_semantic.switch_migration(client, index)
    es_semantic.drop_migration(client, index)
    state = es_semantic.migration(client, index)
    assert (state.phase, state.serving.ready) == ("none", len(TEXTS))
    place = state.serving.field
    assert untrue(client, index, ["title"], OTHER, place=place) == {}
    found = client.search(index=index, size=100)["hits"]["hits"]
    assert {hit["_id"]: set(hit["_source"]) for hit in found} == {doc_id: {"title", place} for doc_id in TEXTS}
    assert works(client, index)


def back(client: Elasticsearch, index: str) -> None:
    es_semantic.detach(client, index, name="semantic", purge=True)
    assert "es_semantic" not in (client.indices.get_mapping(index=index)[index]["mappings"].get("_meta") or {})
    es_semantic.attach(client, index, "title", model=OLD, chunk="never")
    es_semantic.sync(client, index)
