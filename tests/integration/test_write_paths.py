"""What each way of writing leaves in a document, that no way is refused, and that one sync makes all of them true."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.schema.text import source_text, text_hash
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex, remove_everything
from tests.truth import untrue

TEXT = {"type": "text"}
PROPERTIES = {"title": TEXT, "body": TEXT, "pages": {"type": "integer"}}
FIELDS = ["title", "body"]
OLD = {"title": "old title", "body": "old body", "pages": 1}

Write = Callable[[Elasticsearch, str, str], Any]


def bulk(client: Elasticsearch, index: str, *lines: dict[str, Any]) -> None:
    answer = client.bulk(index=index, operations=list(lines))
    assert not answer["errors"], answer


def upsert(doc_id: str) -> dict[str, Any]:
    return {"update": {"_id": doc_id}}


def only(doc_id: str) -> dict[str, Any]:
    return {"ids": {"values": [doc_id]}}


def script(field: str, value: str) -> dict[str, Any]:
    return {"source": "ctx._source[params.field] = params.value", "params": {"field": field, "value": value}}


def reindex(client: Elasticsearch, index: str, doc_id: str, document: dict[str, Any]) -> None:
    client.index(index=f"{index}-from", id=doc_id, document=document, refresh=True)
    client.reindex(source={"index": f"{index}-from", "query": only(doc_id)}, dest={"index": index})


def update_by_query(client: Elasticsearch, index: str, doc_id: str, title: str) -> None:
    client.update_by_query(index=index, query=only(doc_id), script=script("title", title))


def get_modify_put(client: Elasticsearch, index: str, doc_id: str, **change: Any) -> None:
    source = client.get(index=index, id=doc_id)["_source"]
    client.index(index=index, id=doc_id, document={**source, **change})


NEW = {"title": "new title", "body": "new body", "pages": 2}
ABSENT, PENDING, EMPTY, READY, STALE = "absent", "pending", "empty", "ready", "stale"

# Written over {"title": "old title", "body": "old body", "pages": 1}, whose vector is true.
OVERWRITES: dict[str, tuple[Write, str]] = {
    "index": (lambda c, i, d: c.index(index=i, id=d, document=NEW), PENDING),
    "index, the same text": (lambda c, i, d: c.index(index=i, id=d, document={**OLD, "pages": 2}), PENDING),
    "index, no text": (lambda c, i, d: c.index(index=i, id=d, document={"title": "", "body": None}), EMPTY),
    "index, no source field": (lambda c, i, d: c.index(index=i, id=d, document={"pages": 2}), ABSENT),
    "bulk index": (lambda c, i, d: bulk(c, i, {"index": {"_id": d}}, NEW), PENDING),
    "GET, modify, PUT: other text": (lambda c, i, d: get_modify_put(c, i, d, title="new title"), PENDING),
    "GET, modify, PUT: same text": (lambda c, i, d: get_modify_put(c, i, d, pages=2), PENDING),
    "GET, modify, PUT: no text": (lambda c, i, d: get_modify_put(c, i, d, title=None, body=[]), EMPTY),
    "_update, a source field": (lambda c, i, d: c.update(index=i, id=d, doc={"title": "new title"}), PENDING),
    "_update, another field": (lambda c, i, d: c.update(index=i, id=d, doc={"pages": 2}), READY),
    "_update, no text left": (lambda c, i, d: c.update(index=i, id=d, doc={"title": "", "body": ""}), EMPTY),
    "_update by script": (lambda c, i, d: c.update(index=i, id=d, script=script("title", "new title")), PENDING),
    "_update by script, another field": (lambda c, i, d: c.update(index=i, id=d, script=script("pages", "2")), READY),
    "_update, doc_as_upsert": (
        lambda c, i, d: c.update(index=i, id=d, doc={"title": "new title"}, doc_as_upsert=True),
        PENDING,
    ),
    "bulk update": (lambda c, i, d: bulk(c, i, upsert(d), {"doc": {"title": "new title"}}), STALE),
    "bulk update, another field": (lambda c, i, d: bulk(c, i, upsert(d), {"doc": {"pages": 2}}), READY),
    "bulk update by script": (lambda c, i, d: bulk(c, i, upsert(d), {"script": script("title", "new title")}), STALE),
    "bulk doc_as_upsert": (
        lambda c, i, d: bulk(c, i, upsert(d), {"doc": {"title": "new title"}, "doc_as_upsert": True}),
        PENDING,
    ),
    "bulk doc_as_upsert, another field": (
        lambda c, i, d: bulk(c, i, upsert(d), {"doc": {"pages": 2}, "doc_as_upsert": True}),
        READY,
    ),
    "_update_by_query": (
        lambda c, i, d: c.update_by_query(index=i, query=only(d), script=script("title", "new title")),
        PENDING,
    ),
    "_update_by_query, nothing": (lambda c, i, d: c.update_by_query(index=i, query=only(d)), READY),
    "_reindex": (lambda c, i, d: reindex(c, i, d, NEW), PENDING),
    "index, pipeline=_none": (lambda c, i, d: c.index(index=i, id=d, document=NEW, pipeline="_none"), PENDING),
    "bulk index, pipeline=_none": (
        lambda c, i, d: bulk(c, i, {"index": {"_id": d, "pipeline": "_none"}}, NEW),
        PENDING,
    ),
}

# Written where there is no document yet.
FIRST_WRITES: dict[str, tuple[Write, str]] = {
    "index": (lambda c, i, d: c.index(index=i, id=d, document=NEW), PENDING),
    "create": (lambda c, i, d: c.create(index=i, id=d, document=NEW), PENDING),
    "bulk index": (lambda c, i, d: bulk(c, i, {"index": {"_id": d}}, NEW), PENDING),
    "bulk create": (lambda c, i, d: bulk(c, i, {"create": {"_id": d}}, NEW), PENDING),
    "_update, upsert": (lambda c, i, d: c.update(index=i, id=d, doc={"pages": 2}, upsert=NEW), PENDING),
    "bulk update, upsert": (lambda c, i, d: bulk(c, i, upsert(d), {"doc": {"pages": 2}, "upsert": NEW}), PENDING),
    "bulk doc_as_upsert": (lambda c, i, d: bulk(c, i, upsert(d), {"doc": NEW, "doc_as_upsert": True}), PENDING),
    "bulk doc_as_upsert, no source field": (
        lambda c, i, d: bulk(c, i, upsert(d), {"doc": {"pages": 2}, "doc_as_upsert": True}),
        ABSENT,
    ),
    "_reindex": (lambda c, i, d: reindex(c, i, d, NEW), PENDING),
    "null": (lambda c, i, d: c.index(index=i, id=d, document={"title": None}), EMPTY),
    "blank": (lambda c, i, d: c.index(index=i, id=d, document={"title": " \n", "body": ["\t", ""]}), EMPTY),
    "routed": (lambda c, i, d: c.index(index=i, id=d, document=NEW, routing="elsewhere"), PENDING),
}


@pytest.fixture(scope="module")
def shared(client: Elasticsearch) -> Iterator[str]:
    """An attached index that many tests write to; ``-from`` after its name is free for a source to re-index from."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.indices.create(
        index=name,
        mappings={"properties": PROPERTIES},
        settings={"number_of_replicas": 0, "number_of_shards": 2},
    )
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder())
    yield name
    remove_everything(client, name)


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    """An attached index without documents."""
    name = make_index(PROPERTIES)
    es_semantic.attach(client, name, FIELDS, model=TinyEmbedder())
    return name


def document_of(client: Elasticsearch, index: str, doc_id: str) -> dict[str, Any]:
    client.indices.refresh(index=index)
    hits = client.search(index=index, query=only(doc_id), source_exclude_vectors=False)["hits"]["hits"]
    (source,) = (hit["_source"] for hit in hits)
    assert isinstance(source, dict)
    return source


def verdict(source: dict[str, Any]) -> str:
    """Say in which of the five states a document is, and check that its parts agree with it."""
    state = source.get("semantic")
    if state is None:
        return ABSENT
    same_text = state["hash"] == text_hash(source_text(source, FIELDS))
    if state.get("vector") is not None:
        assert state["status"] == "ready"
        return READY if same_text else STALE
    assert same_text or state["status"] == "pending"
    status: str = state["status"]
    return status


def make_true(client: Elasticsearch, index: str) -> None:
    """One pass, after which every document is hashed and embedded again and compared; a second finds nothing."""
    embedder = TinyEmbedder()
    report = es_semantic.sync(client, index, model=embedder)
    assert (report.failed, report.superseded) == (0, 0)
    assert untrue(client, index, FIELDS, embedder) == {}
    again = TinyEmbedder()
    assert es_semantic.sync(client, index, model=again).read == 0
    assert again.texts == []


@pytest.fixture(scope="module")
def overwritten(client: Elasticsearch, shared: str) -> dict[str, str]:
    """Every document made true, then written over by the path that it is named after, and then judged."""
    for path in OVERWRITES:
        client.index(index=shared, id=f"over: {path}", document=OLD)
    make_true(client, shared)
    for path, (write, _) in OVERWRITES.items():
        client.indices.refresh(index=shared)
        write(client, shared, f"over: {path}")
    return {path: verdict(document_of(client, shared, f"over: {path}")) for path in OVERWRITES}


@pytest.fixture(scope="module")
def first_written(client: Elasticsearch, shared: str) -> dict[str, str]:
    """Every document written for the first time by the path that it is named after, and then judged."""
    for path, (write, _) in FIRST_WRITES.items():
        write(client, shared, f"first: {path}")
    return {path: verdict(document_of(client, shared, f"first: {path}")) for path in FIRST_WRITES}


@pytest.mark.parametrize("path", OVERWRITES)
def test_writing_over_a_true_document(overwritten: dict[str, str], path: str) -> None:
    assert overwritten[path] == OVERWRITES[path][1]


@pytest.mark.parametrize("path", FIRST_WRITES)
def test_the_first_write(first_written: dict[str, str], path: str) -> None:
    assert first_written[path] == FIRST_WRITES[path][1]


@pytest.mark.usefixtures("overwritten", "first_written")
def test_one_pass_makes_all_of_them_true(client: Elasticsearch, shared: str) -> None:
    client.index(index=shared, document=NEW)
    make_true(client, shared)


def test_what_was_there_before_attaching_is_true_after_one_pass(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES, documents={str(i): {"title": f"number {i}"} for i in range(20)})
    es_semantic.attach(client, index, FIELDS, model=TinyEmbedder())
    make_true(client, index)


def test_a_text_that_comes_back_through_a_path_without_pipeline_keeps_its_vector(
    client: Elasticsearch, index: str
) -> None:
    client.index(index=index, id="1", document=OLD)
    make_true(client, index)
    for title, expected in (("other", STALE), (OLD["title"], READY)):
        bulk(client, index, upsert("1"), {"doc": {"title": title}})
        assert verdict(document_of(client, index, "1")) == expected


def test_a_client_that_asks_for_vectors_and_puts_them_back_keeps_them(client: Elasticsearch, index: str) -> None:
    client.index(index=index, id="1", document=OLD)
    make_true(client, index)
    source = document_of(client, index, "1")
    client.index(index=index, id="1", document={**source, "pages": 2})
    assert verdict(document_of(client, index, "1")) == READY
    client.index(index=index, id="1", document={**source, "title": "new title"})
    assert verdict(document_of(client, index, "1")) == PENDING


def test_an_upsert_of_part_of_the_text_is_never_taken_for_the_whole(client: Elasticsearch, index: str) -> None:
    """The pipeline sees but the partial document, and must not call a vector true that belongs to its text alone."""
    client.index(index=index, id="1", document={"title": "only a title"})
    make_true(client, index)
    bulk(client, index, upsert("1"), {"doc": {"body": "and a body"}})
    bulk(client, index, upsert("1"), {"doc": {"title": "only a title"}, "doc_as_upsert": True})
    assert verdict(document_of(client, index, "1")) == PENDING
    make_true(client, index)


THEIRS = [
    '{"semantic": "a string"}',
    '{"semantic": 7}',
    '{"semantic": true}',
    '{"semantic": [1, 2]}',
    '{"semantic": [{"vector": [1]}, "x"]}',
    '{"semantic": {}}',
    '{"semantic": {"vector": "no base64", "hash": 5, "status": {"of": "an order"}, "queued_at": "tomorrow"}}',
    '{"semantic": {"vector": [1, 2, 3], "status": "ready"}}',
    '{"semantic.vector": [1, 2, 3]}',
    '{"semantic.status": {"of": "an order"}, "semantic.deep.er": 1}',
    '{"semantic.vector": "x", "semantic": {"status": 1}}',
]


def test_a_documents_own_field_of_that_name_is_no_reason_to_refuse_it(client: Elasticsearch, shared: str) -> None:
    for number, theirs in enumerate(THEIRS):
        for kind, rest in (("text", {"title": "a title"}), ("no text", {"pages": 3})):
            client.index(index=shared, id=f"theirs {kind} {number}", document={**json.loads(theirs), **rest})
    make_true(client, shared)
    for number in range(len(THEIRS)):
        source = document_of(client, shared, f"theirs text {number}")
        assert (set(source), source["semantic"]["status"]) == ({"title", "semantic"}, "ready")


@pytest.mark.parametrize(
    "document",
    [
        '{"title": "\\ud800 alone", "body": "\\udc00"}',
        '{"title": 1e400, "body": -0.0}',
        '{"title": 123456789012345678901234567890123456789012345678901234567890}',
        '{"title": [[["deep"], null], true, 1.50], "body": "\\u0000"}',
        '{"title": ' + 300 * "[" + '"very deep"' + 300 * "]" + "}",
        '{"_ingest": {"timestamp": "mine"}, "_foo": 1, "title": "underscores"}',
        '{"title": {"not": "a text"}}',
        '{"pages": "many"}',
        '{"": 1, "title": "an empty key"}',
    ],
)
def test_what_elasticsearch_takes_without_the_pipeline_it_takes_with_it(
    client: Elasticsearch, make_index: MakeIndex, shared: str, document: str
) -> None:
    plain = make_index(PROPERTIES)
    headers = {"accept": "application/json", "content-type": "application/json"}
    quiet = client.options(ignore_status=400)
    answers: list[Any] = [
        quiet.perform_request("PUT", f"/{name}/_doc/taken", headers=headers, body=document.encode()).meta.status
        for name in (plain, shared)
    ]
    assert answers[0] in (201, 400)
    assert answers[0] // 100 == answers[1] // 100
    make_true(client, shared)


def test_custom_routing(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES, settings={"number_of_shards": 4}, _routing={"required": True})
    es_semantic.attach(client, index, FIELDS, model=TinyEmbedder())
    for number in range(20):
        for routing in ("one", "other"):
            # The same id twice: with routing, both may exist.
            client.index(index=index, id=str(number), routing=routing, document={"title": f"{number} {routing}"})
    make_true(client, index)
    assert es_semantic.detach(client, index, purge=True)[1] == 40
    client.indices.refresh(index=index)
    sources = [hit["_source"] for hit in client.search(index=index, size=100)["hits"]["hits"]]
    assert sorted(sources, key=str) == sorted(
        ({"title": f"{n} {r}"} for n in range(20) for r in ("one", "other")), key=str
    )


def test_purging_leaves_source_as_the_owner_wrote_it_and_runs_no_pipeline_of_the_owner(
    client: Elasticsearch, make_index: MakeIndex, unique: str
) -> None:
    written: dict[str, Any] = {
        "empty": {},
        "text": {"title": "a title", "body": ["one", None, ["two"]]},
        "numbers": {"title": 1.50, "pages": 3, "unmapped": {"deep": [1, 2.5, 12345678901234567890, None, True]}},
        "dotted": {"a.b": 1, "a": {"c": 2}, "title": "dotted"},
        "blank": {"title": ""},
        "surrogate": {"title": "\ud800"},
        "similar": {"title": "x", "semantics": {"vector": [1]}, "other": {"semantic": {"status": "mine"}}},
    }
    index = make_index(PROPERTIES, dynamic=False)
    client.indices.put_alias(index=index, name=f"{index}-alias")
    es_semantic.attach(client, index, FIELDS, model=TinyEmbedder())
    for doc_id, document in written.items():
        client.index(index=index, id=doc_id, document=document)
    es_semantic.sync(client, index, model=TinyEmbedder())
    client.index(index=index, id="pending", document={"title": "not synced"})
    # From here on a pipeline of the owner's would show in every document that it sees.
    for which in ("default", "final"):
        client.ingest.put_pipeline(id=f"{unique}-{which}", processors=[{"set": {"field": which, "value": True}}])
        client.indices.put_settings(index=index, settings={f"index.{which}_pipeline": f"{unique}-{which}"})

    change, purged = es_semantic.detach(client, f"{index}-alias", purge=True)
    assert (change.changed, purged) == (True, len(written) + 1)
    found = {hit["_id"]: hit["_source"] for hit in client.search(index=index, size=100)["hits"]["hits"]}
    assert found == {**written, "pending": {"title": "not synced"}}
    assert es_semantic.detach(client, index, purge=True)[1] == 0
    client.index(index=index, id="later", document={"title": "later"})
    assert client.get(index=index, id="later")["_source"] == {"title": "later", "default": True, "final": True}


def test_a_purge_reads_many_pages(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES)
    es_semantic.attach(client, index, FIELDS, model=TinyEmbedder())
    operations = [line for i in range(2345) for line in ({"index": {"_id": str(i)}}, {"title": str(i)})]
    bulk(client, index, *operations)
    assert es_semantic.detach(client, index, purge=True)[1] == 2345
    hits = client.search(index=index, size=10_000)["hits"]["hits"]
    assert [hit["_source"] for hit in hits if set(hit["_source"]) != {"title"}] == []
    assert len(hits) == 2345
