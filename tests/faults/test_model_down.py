"""The embedding provider is down for a while, or so many documents fail that it is hardly their fault."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import ModelUnavailable, TooManyFailures
from es_semantic.sync.metrics import PrometheusObserver
from tests.faults.workers import IN_FLIGHT, POISON, Counting, Follower, Owner, attached, check, command_line, settle
from tests.nodes import MakeIndex

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 300
TITLE = {"title": {"type": "text"}}


class Failing(Counting):
    """Answers nobody while it is ``down``."""

    down = False

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.refused = 0

    def _answer(self, _texts: object) -> None:
        if self.down:
            self.refused += 1
            raise ModelUnavailable("the provider does not answer")


def test_a_follower_backs_off_and_catches_up(client: Elasticsearch, make_index: MakeIndex) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    model, observer = Failing(), PrometheusObserver()
    model.down = True
    with Follower(client, [owner.index], model, observer=observer) as follower:
        follower.wait_until(lambda: len(follower.errors) >= 3)
        assert observer.health == (False, f"{owner.index}: ModelUnavailable")
        assert model.embedded == []
        model.down = False
        follower.wait_until_true(owner)
        follower.wait_until(lambda: observer.health[0])
        model.down = True
        owner.update({str(i): {"title": f"changed {i}"} for i in range(100)})
        follower.wait_until(lambda: not observer.health[0])
        model.down = False
        follower.wait_until_true(owner)
        follower.wait_until(lambda: observer.health[0])
    assert {type(error) for error in follower.errors} == {ModelUnavailable}
    # Nobody else is to blame: no document has failed.
    check(owner)
    assert len(model.embedded) == owner.versions


def test_a_one_shot_sync_says_so_and_the_next_goes_on(client: Elasticsearch, make_index: MakeIndex) -> None:
    owner = attached(client, make_index(TITLE), DOCUMENTS)
    model = Failing()

    def fail_from_the_fourth(texts: Sequence[str]) -> None:
        model.down = model.calls >= 4
        model._answer(texts)

    model.meanwhile = fail_from_the_fourth
    with pytest.raises(ModelUnavailable, match="does not answer"):
        es_semantic.sync(client, owner.index, model=model)
    model.meanwhile = lambda _texts: None
    assert 0 < len(model.embedded) < DOCUMENTS
    settle(client, owner, model)
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + IN_FLIGHT
    check(owner)


def poisoned(owner: Owner, documents: int, every: int) -> dict[str, str]:
    """Put documents of which every so many-th is poisoned; by id what their dead letters will say."""
    dead = dict.fromkeys((str(i) for i in range(0, documents, every)), "refused")
    owner.put({i: {"title": f"{POISON if i in dead else 'good'} {i}"} for i in map(str, range(documents))})
    return dead


def mend(owner: Owner, dead: dict[str, str]) -> None:
    """Give them good texts, and sync as often as that takes."""
    owner.update({doc_id: {"title": f"good again {doc_id}"} for doc_id in dead})
    settle(owner.client, owner, Counting())
    check(owner)


def test_ten_batches_in_a_row(client: Elasticsearch, make_index: MakeIndex) -> None:
    owner = attached(client, make_index(TITLE), 0)
    # The first batch has 64 texts and others 32: ten are fewer than the 512 of which the third limit takes a share.
    dead = poisoned(owner, 400, every=1)
    with pytest.raises(TooManyFailures, match="10 batches in a row") as stopped:
        es_semantic.sync(client, owner.index, model=Counting())
    assert stopped.value.exit_code == 4
    assert "es-semantic failures" in stopped.value.hint
    mend(owner, dead)


def test_more_than_a_share_of_a_window(client: Elasticsearch, make_index: MakeIndex) -> None:
    owner = attached(client, make_index(TITLE), 0)
    dead = poisoned(owner, 700, every=6)
    with Follower(client, [owner.index], Counting()) as follower:
        stopped = follower.join()
    assert isinstance(stopped, TooManyFailures)
    assert "of the last" in stopped.what
    mend(owner, dead)


def test_fewer_do_not_stop_it(client: Elasticsearch, make_index: MakeIndex) -> None:
    owner = attached(client, make_index(TITLE), 0)
    dead = poisoned(owner, 700, every=7)
    report = es_semantic.sync(client, owner.index, model=Counting())
    assert (report.embedded, report.failed) == (600, 100)
    check(owner, dead=dead)


def test_more_than_a_thousand(client: Elasticsearch, node_url: str, make_index: MakeIndex) -> None:
    """Every seventh document is refused, by Elasticsearch: so it goes faster."""
    owner = attached(client, make_index(TITLE, dynamic="false"), 0)
    owner.put({str(i): {"title": f"document {i}", **({"old": 1} if i % 7 == 0 else {})} for i in range(7300)})
    client.indices.put_mapping(index=owner.index, dynamic="strict")
    ended = command_line(node_url, "sync", owner.index)
    assert (ended.returncode, "Traceback" in ended.stderr) == (4, False), ended.stderr
    assert "documents failed" in ended.stderr
    # The next one counts anew, and goes on where this one has stopped.
    model = Counting()
    settle(client, owner, model)
    assert len(model.embedded) < 1500
    dead = dict.fromkeys((str(i) for i in range(0, 7300, 7)), "strict_dynamic_mapping_exception")
    check(owner, dead=dead, marked=False)
    client.indices.put_mapping(index=owner.index, dynamic="false")
    assert es_semantic.failures(client, owner.index, retry=True).queued == len(dead)
    assert settle(client, owner, model).embedded == len(dead)
    check(owner)
