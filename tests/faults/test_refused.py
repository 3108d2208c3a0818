"""Documents that Elasticsearch refuses to change: dead letters at once, and everything else becomes true."""

from __future__ import annotations

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.faults.workers import Counting, Follower, Owner, attached, check, letters_of, settle
from tests.nodes import MakeIndex
from tests.truth import untrue

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 150
TITLE = {"title": {"type": "text"}}


def stricter_with(client: Elasticsearch, make_index: MakeIndex, ids: list[str]) -> Owner:
    """An index whose documents of these ids hold a field that its mapping has come to forbid."""
    owner = attached(client, make_index(TITLE, dynamic="false"), DOCUMENTS)
    owner.put({doc_id: {"title": f"an old document {doc_id}", "forgotten": 1} for doc_id in ids})
    client.indices.put_mapping(index=owner.index, dynamic="strict")
    return owner


def test_a_mapping_that_has_become_strict(client: Elasticsearch, make_index: MakeIndex) -> None:
    old = ["a", "b", "c"]
    # The field `count` of the common documents is not mapped either, so it must be allowed.
    owner = stricter_with(client, make_index, old)
    client.indices.put_mapping(index=owner.index, properties={"count": {"type": "integer"}})
    model = Counting()
    report = es_semantic.sync(client, owner.index, model=model)
    assert (report.embedded, report.failed) == (DOCUMENTS, 3)
    assert {failure.id for failure in report.failures} == set(old)
    dead = dict.fromkeys(old, "strict_dynamic_mapping_exception")
    check(owner, dead=dead, marked=False)

    # At once, and once: they are not tried again.
    assert settle(client, owner, model).read == 0
    assert len(model.embedded) == DOCUMENTS + 3
    retried = es_semantic.failures(client, owner.index, retry=True)
    assert (retried.queued, {letter.id for letter in retried.failures}) == (0, set(old))
    check(owner, dead=dead, marked=False)

    # Mended by the owner, they can be queued.
    client.indices.put_mapping(index=owner.index, dynamic="false")
    assert es_semantic.failures(client, owner.index, retry=True).queued == 3
    assert settle(client, owner, model).embedded == 3
    check(owner)


def test_a_value_that_its_field_does_not_take_any_more(client: Elasticsearch, make_index: MakeIndex) -> None:
    """``ignore_malformed`` was turned off after documents with malformed values had come in."""
    properties = {**TITLE, "count": {"type": "integer", "ignore_malformed": True}}
    owner = attached(client, make_index(properties), DOCUMENTS)
    owner.put({"bad": {"title": "its count is no number", "count": "many"}})
    client.indices.put_mapping(index=owner.index, properties={"count": {"type": "integer", "ignore_malformed": False}})
    with Follower(client, [owner.index], Counting()) as follower:
        follower.wait_until(lambda: letters_of(client, owner.index) != [])
        follower.wait_until(lambda: set(untrue(client, owner.index, ["title"], follower.model)) == {"bad"})
        check(owner, dead={"bad": "document_parsing_exception"}, marked=False)
        owner.update({"bad": {"title": "a good number now", "count": 3}})
        follower.wait_until_true(owner)
        follower.wait_until(lambda: letters_of(client, owner.index) == [])
    check(owner)
