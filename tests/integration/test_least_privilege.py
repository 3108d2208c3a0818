"""A worker has no cluster privilege, and on its indices only what ``es-semantic roles worker`` prints.

``test_suite_by_workers.py`` runs the tests of syncing with such a key.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AuthorizationException, Elasticsearch

import es_semantic
from es_semantic.embedding import Embeddings
from es_semantic.errors import Forbidden, InputRejected
from es_semantic.schema.control import CONCRETE_INDEX
from es_semantic.schema.roles import CONTROL, WORKER, worker_role
from es_semantic.sync.follow import Events
from es_semantic.sync.report import SyncReport
from tests.embedder import TinyEmbedder
from tests.integration.test_sync import index
from tests.integration.test_write_paths import FIELDS as WRITE_FIELDS
from tests.integration.test_write_paths import FIRST_WRITES, NEW, OLD, OVERWRITES
from tests.integration.test_write_paths import PROPERTIES as WRITE_PROPERTIES
from tests.nodes import MakeIndex
from tests.truth import untrue
from tests.workers_key import Keys, client, keys, node_url, only_workers

__all__ = ["client", "index", "keys", "node_url", "only_workers"]

TEXT = {"type": "text"}
FIELDS = ["title"]

pytestmark = pytest.mark.usefixtures("only_workers")


class Picky(TinyEmbedder):
    """Refuses what it is told to refuse."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if any("poison" in text for text in texts):
            raise InputRejected("this text is refused")
        return super().embed_documents(texts)


Write = Callable[[str, str], None]
"""Write a document of this id and title."""


@pytest.fixture(params=["index", "alias", "data stream"])
def place(request: pytest.FixtureRequest, client: Elasticsearch, make_index: MakeIndex, unique: str) -> str:
    """An attached index, by the name that a worker is given."""
    if request.param == "data stream":
        name = f"{unique}-stream"
        template = {"mappings": {"properties": {"title": TEXT}}, "settings": {"number_of_replicas": 0}}
        client.indices.put_index_template(
            name=f"{unique}-template", index_patterns=[f"{name}*"], data_stream={}, template=template, priority=500
        )
        client.create(index=name, id="first", document={"@timestamp": "2026-01-01"})
    else:
        name = make_index({"title": TEXT})
        if request.param == "alias":
            client.indices.put_alias(index=name, name=f"{name}-alias")
            name = f"{name}-alias"
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder())
    return name


@pytest.fixture
def write(client: Elasticsearch, place: str) -> Write:
    def create(doc_id: str, title: str) -> None:
        client.create(index=place, id=doc_id, document={"@timestamp": "2026-01-01", "title": title})

    return create


def test_all_that_a_worker_does(client: Elasticsearch, place: str, write: Write) -> None:
    for number in range(20):
        write(str(number), f"text {number}")
    write("bad", "poison")
    report = es_semantic.sync(client, place, model=Picky())
    assert (report.embedded, report.failed) == (20, 1)
    assert es_semantic.sync(client, place, model=Picky()).read == 0
    state = es_semantic.status(client, place)
    assert (state.ready, state.failed, state.unread) == (20, 1, 0)
    assert [letter.id for letter in es_semantic.failures(client, place).failures] == ["bad"]
    assert es_semantic.failures(client, place, retry=True).queued == 1
    assert es_semantic.sync(client, place, model=TinyEmbedder()).embedded == 1
    assert es_semantic.failures(client, place).failures == []
    assert es_semantic.search(client, place, "text 7", model=TinyEmbedder()).hits[0].id == "7"
    assert untrue(client, place, FIELDS, TinyEmbedder()) == {}


def test_parts(client: Elasticsearch, place: str, write: Write) -> None:
    for number in range(30):
        write(str(number), f"text {number}")
    parts = [es_semantic.sync(client, place, model=TinyEmbedder(), partition=f"{i}/3") for i in (1, 2, 3)]
    assert sum(part.embedded for part in parts) == 30
    assert all(part.embedded for part in parts)
    assert untrue(client, place, FIELDS, TinyEmbedder()) == {}


def test_following(client: Elasticsearch, place: str, write: Write) -> None:
    caught_up: list[int] = []
    end = time.monotonic() + 60

    def next_write(report: SyncReport) -> None:
        caught_up.append(report.embedded)
        if len(caught_up) < 4:
            write(str(len(caught_up)), f"text {len(caught_up)}")

    write("0", "text 0")
    es_semantic.follow(
        client,
        [place],
        model=TinyEmbedder(),
        events=Events(next_write, lambda _index, error, _seconds: pytest.fail(error.what)),
        stop=lambda: len(caught_up) == 4 or time.monotonic() > end,
    )
    assert caught_up == [1, 1, 1, 1]
    assert untrue(client, place, FIELDS, TinyEmbedder()) == {}


def test_every_way_of_writing(client: Elasticsearch, make_index: MakeIndex) -> None:
    name = make_index(WRITE_PROPERTIES, settings={"number_of_shards": 2})
    es_semantic.attach(client, name, WRITE_FIELDS, model=TinyEmbedder())
    for path in OVERWRITES:
        client.index(index=name, id=f"over: {path}", document=OLD)
    es_semantic.sync(client, name, model=TinyEmbedder())
    for path, (make, _) in OVERWRITES.items():
        client.indices.refresh(index=name)
        make(client, name, f"over: {path}")
    for path, (make, _) in FIRST_WRITES.items():
        make(client, name, f"first: {path}")
    client.index(index=name, document=NEW)
    report = es_semantic.sync(client, name, model=TinyEmbedder())
    assert (report.failed, report.superseded) == (0, 0)
    assert untrue(client, name, WRITE_FIELDS, TinyEmbedder()) == {}
    assert es_semantic.sync(client, name, model=TinyEmbedder()).read == 0


def test_what_a_worker_may_not(keys: Keys, index: str) -> None:
    worker = keys.client(index)
    forbidden: list[Callable[[], Any]] = [
        lambda: worker.indices.delete(index=index),
        lambda: worker.indices.delete(index=CONCRETE_INDEX),
        lambda: worker.indices.create(index=f"{index}-more"),
        lambda: worker.indices.put_settings(index=index, settings={"index.refresh_interval": "-1"}),
        lambda: worker.delete(index=index, id="1"),
        lambda: worker.ingest.get_pipeline(),
        lambda: worker.cluster.health(),
        lambda: worker.info(),
    ]
    for ask in forbidden:
        with pytest.raises(AuthorizationException):
            ask()


def make_true(owner: Elasticsearch, worker: Elasticsearch, index: str) -> None:
    """Go through all that a worker does, down to a dead letter that comes and goes."""
    owner.index(index=index, id="bad", document={"title": "poison"})
    es_semantic.sync(worker, index, model=Picky())
    es_semantic.failures(worker, index, retry=True)
    es_semantic.sync(worker, index, model=TinyEmbedder())


NEEDED = [("index", privilege) for privilege in WORKER] + [("control index", privilege) for privilege in CONTROL]


@pytest.mark.parametrize(("where", "privilege"), NEEDED, ids=str)
def test_no_privilege_is_more_than_a_worker_needs(
    client: Elasticsearch, keys: Keys, index: str, monkeypatch: pytest.MonkeyPatch, where: str, privilege: str
) -> None:
    monkeypatch.undo()
    role = worker_role([index])
    role["indices"][where == "control index"]["privileges"].remove(privilege)
    worker = client.options(api_key=keys.of_role(role))
    with pytest.raises(Forbidden) as caught:
        make_true(client, worker, index)
    assert (caught.value.status, "unauthorized" in caught.value.what) == (403, True)
    assert caught.value.hint
    # Nothing is lost: whoever has the privilege goes on.
    make_true(client, client.options(api_key=keys.encoded(index)), index)
    assert untrue(client, index, ["title", "body"], TinyEmbedder()) == {}


def test_a_worker_without_control_index_says_who_makes_it(client: Elasticsearch, index: str) -> None:
    es_semantic.sync(client, index, model=TinyEmbedder())
    client.indices.delete(index=CONCRETE_INDEX)
    client.index(index=index, id="new", document={"title": "new"})
    assert es_semantic.status(client, index).unread is None
    assert es_semantic.failures(client, index).failures == []
    for work in (
        lambda: es_semantic.sync(client, index, model=TinyEmbedder()),
        lambda: es_semantic.follow(client, [index], model=TinyEmbedder()),
    ):
        with pytest.raises(Forbidden, match="'es-semantic-control' is missing") as caught:
            work()
        assert "es-semantic attach" in caught.value.hint
    es_semantic.attach(client, index, ["title", "body"], model=TinyEmbedder())
    again = TinyEmbedder()
    report = es_semantic.sync(client, index, model=again)
    assert (report.read, report.unchanged, again.texts) == (51, 50, ["new"])


class Deleter(TinyEmbedder):
    """While it embeds, somebody deletes the control index."""

    def __init__(self, client: Elasticsearch) -> None:
        super().__init__()
        self._client = client

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        self._client.indices.delete(index=CONCRETE_INDEX, ignore_unavailable=True)
        return super().embed_documents(texts)


def test_a_control_index_that_is_deleted_meanwhile(client: Elasticsearch, index: str) -> None:
    with pytest.raises(Forbidden, match="'es-semantic-control' is missing"):
        es_semantic.sync(client, index, model=Deleter(client))
    es_semantic.attach(client, index, ["title", "body"], model=TinyEmbedder())
    es_semantic.sync(client, index, model=TinyEmbedder())
    assert untrue(client, index, ["title", "body"], TinyEmbedder()) == {}


@pytest.fixture
def printed(client: Elasticsearch, node_url: str, unique: str) -> Callable[..., dict[str, Any]]:
    """What ``es-semantic roles worker`` prints, asked by an administrator."""
    administrator = client.security.create_api_key(name=unique)["encoded"]

    def roles(*arguments: str, **environment: str) -> dict[str, Any]:
        command = [str(Path(sys.executable).with_name("es-semantic")), "roles", "worker", *arguments]
        env = {**os.environ, "ES_SEMANTIC_URL": node_url, "ES_SEMANTIC_API_KEY": administrator, **environment}
        ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        role: dict[str, Any] = json.loads(ran.stdout)
        return role

    return roles


def test_the_printed_role_is_what_elasticsearch_takes(
    client: Elasticsearch,
    place: str,
    unique: str,
    printed: Callable[..., dict[str, Any]],
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    role = printed(place)
    assert role["cluster"] == []
    headers = {"accept": "application/json", "content-type": "application/json"}
    client.perform_request("PUT", f"/_security/role/{unique}", headers=headers, body=role)
    client.security.put_user(username=unique, password="only-for-tests", roles=[unique])
    write("1", "text")
    monkeypatch.undo()
    user = client.options(basic_auth=(unique, "only-for-tests"))
    assert es_semantic.sync(user, place, model=TinyEmbedder()).embedded == 1
    client.security.delete_user(username=unique)
    client.security.delete_role(name=unique)


def test_without_an_answer_the_role_has_the_names_as_they_are(printed: Callable[..., dict[str, Any]]) -> None:
    assert printed("a", "logs-*", ES_SEMANTIC_URL="http://127.0.0.1:1") == worker_role(["a", "logs-*"])
    with_more = printed("a", "--initial-load", ES_SEMANTIC_URL="http://127.0.0.1:1")
    assert with_more == worker_role(["a"], initial_load=True)


def test_an_initial_load_needs_the_role_for_it(
    client: Elasticsearch, keys: Keys, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Forbidden, match="unauthorized"):
        es_semantic.sync(client, index, model=TinyEmbedder(), initial_load=True)
    # It has changed nothing and left nothing to restore.
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 50
    monkeypatch.undo()
    client.index(index=index, id="new", document={"title": "new"})
    more = client.options(api_key=keys.of_role(worker_role([index], initial_load=True)))
    assert es_semantic.sync(more, index, model=TinyEmbedder(), initial_load=True).embedded == 1
