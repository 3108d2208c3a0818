"""What cannot be re-indexed is refused with a reason, before anything is changed where that is possible."""

from __future__ import annotations

from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.errors import JobStopped, JobTaken, SchemaError, UsageError
from es_semantic.reindex.job import find_record
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex
from tests.reindexing import documents

TEXT = {"type": "text"}
TITLE = {"title": TEXT}


def reindex(client: Elasticsearch, index: str, **options: Any) -> Any:
    wanted = {"fields": "title", "model": TinyEmbedder(), **options}
    return es_semantic.reindex(client, index, wanted.pop("to", f"{index}-new"), **wanted)


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index(TITLE, documents={str(i): {"title": f"text {i}", "n": i} for i in range(5)})


def test_a_target_that_is_somebody_else_s(client: Elasticsearch, index: str, make_index: MakeIndex) -> None:
    other = make_index(TITLE, documents={"mine": {"title": "keep"}})
    client.indices.put_alias(index=other, name=f"{index}-taken")
    for name in (other, f"{index}-taken"):
        with pytest.raises(UsageError, match="is there already"):
            reindex(client, index, to=name)
    assert documents(client, other) == {"mine": ({"title": "keep"}, None, 1)}
    with pytest.raises(UsageError, match=r"is '.*' already"):
        reindex(client, index, to=index)
    with pytest.raises(UsageError, match="not the name of one index"):
        reindex(client, index, to=f"{index}-*")


def test_an_alias_of_two_indices(client: Elasticsearch, index: str, make_index: MakeIndex) -> None:
    other = make_index(TITLE)
    alias = f"{index}-both"
    client.indices.put_alias(index=f"{index},{other}", name=alias)
    with pytest.raises(SchemaError, match="stands for 2 indices"):
        reindex(client, alias)
    with pytest.raises(UsageError, match=f"alias '{alias}' of '{index}' stands for 2 indices"):
        reindex(client, index)
    assert not client.indices.exists(index=f"{index}-new")
    assert reindex(client, index, switch="none").stage == "ready"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"_source": {"enabled": False}}, "keeps no _source"),
        ({"_source": {"excludes": ["n"]}}, "only a part of each document"),
    ],
)
def test_a_source_without_whole_documents(
    client: Elasticsearch, make_index: MakeIndex, more: dict[str, Any], said: str
) -> None:
    index = make_index(TITLE, **more)
    with pytest.raises(SchemaError, match=said):
        reindex(client, index)
    assert not client.indices.exists(index=f"{index}-new")


def test_a_part_of_a_data_stream(client: Elasticsearch, unique: str) -> None:
    template = {"mappings": {"properties": TITLE}, "settings": {"number_of_replicas": 0}}
    client.indices.put_index_template(name=unique, index_patterns=[f"{unique}*"], data_stream={}, template=template)
    try:
        client.index(index=unique, document={"@timestamp": "2026-11-22", "title": "text"}, op_type="create")
        (backing,) = client.indices.get_mapping(index=unique)
        for name in (unique, backing):
            with pytest.raises(SchemaError, match="data stream"):
                reindex(client, name, to=f"other-{unique}")
    finally:
        client.options(ignore_status=[400, 404]).indices.delete_data_stream(name=unique)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mappings": {"properties": {"semantic": {"type": "keyword"}}}}, "semantic"),
        ({"mappings": {"properties": {"title": {"type": "keyword"}}}}, "title"),
        ({"settings": {"index.mapping.total_fields.limit": 3}}, "(?i)limit of total fields"),
        ({"settings": {"index.no_such_setting": 1}}, "no_such_setting"),
        ({"shards": 0}, "0 shards"),
        ({"index_type": "quick"}, "index type 'quick' does not exist"),
        ({"fields": "missing"}, "missing"),
        ({"fields": None}, "which fields"),
        ({"slices": 0}, "slices must be 1 or more"),
        ({"rate_limit": 0}, "rate limit"),
        ({"verify": "some"}, "verify 'some'"),
        ({"switch": "now"}, "switch 'now'"),
        ({"switch": "caught-up"}, "is an index, not an alias"),
        ({"chunk": "maybe"}, "chunk 'maybe'"),
        ({"language": "xx"}, "xx"),
    ],
)
def test_what_the_new_index_cannot_be(client: Elasticsearch, index: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(es_semantic.EsSemanticError, match=said):
        reindex(client, index, **options)
    assert not client.indices.exists(index=f"{index}-new")
    with pytest.raises(UsageError, match="no job fills"):
        es_semantic.cancel_reindex(client, f"{index}-new")
    assert reindex(client, index).switched


def test_an_unfinished_job_is_gone_on_with_only_as_it_was_begun(client: Elasticsearch, index: str) -> None:
    reindex(client, index, switch="none")
    for other in ({"model": TinyEmbedder(dims=32)}, {"model": TinyEmbedder("another")}, {"shards": 2}):
        with pytest.raises(UsageError, match="is another one"):
            reindex(client, index, **other)
    assert reindex(client, index, slices=3, verify="all").switched


def test_of_two_runs_of_one_job_the_later_goes_on(client: Elasticsearch, index: str) -> None:
    class Overtaken(TinyEmbedder):
        def embed_documents(self, texts: Any) -> Any:
            record = run(client, find_record(f"{index}-new"))
            if record is not None and "text 1" in texts:
                run(client, record.take_over())
            return super().embed_documents(texts)

    with pytest.raises(JobTaken, match="another run has taken over"):
        reindex(client, index, model=Overtaken())
    assert reindex(client, index).switched


def test_a_document_that_the_new_mapping_refuses_stops_the_switch(client: Elasticsearch, index: str) -> None:
    client.indices.put_mapping(index=index, properties={"code": {"type": "keyword"}})
    client.index(index=index, id="bad", document={"title": "no number", "code": "x7"})
    options = {"mappings": {"properties": {"code": {"type": "integer"}}}}
    with pytest.raises(JobStopped, match=r"1 documents .* are not in .*'bad'") as stopped:
        reindex(client, index, **options)
    assert stopped.value.exit_code == 4
    assert set(client.indices.get(index=index)) == {index}
    (letter,) = es_semantic.failures(client, f"{index}-new").failures
    assert letter.id == "bad"
    client.index(index=index, id="bad", document={"title": "a number", "code": 7})
    report = reindex(client, index, **options)
    assert report.switched
    assert es_semantic.failures(client, index).failures == []
    assert documents(client, index)["bad"][0] == {"title": "a number", "code": 7}


def test_a_document_that_was_refused_and_is_deleted_stops_nothing(client: Elasticsearch, index: str) -> None:
    client.indices.put_mapping(index=index, properties={"code": {"type": "keyword"}})
    client.index(index=index, id="bad", document={"title": "no number", "code": "x7"})
    options = {"mappings": {"properties": {"code": {"type": "integer"}}}}
    with pytest.raises(JobStopped):
        reindex(client, index, **options)
    client.delete(index=index, id="bad")
    assert reindex(client, index, **options).switched


def test_two_documents_of_one_id(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(TITLE, settings={"number_of_shards": 2})
    for routing in ("a", "b", "c", "d"):
        client.index(index=index, id="same", routing=routing, document={"title": f"routed by {routing}"})
    client.indices.refresh(index=index)
    assert client.count(index=index)["count"] == 2
    with pytest.raises(JobStopped, match="different"):
        reindex(client, index, shards=1)
    assert set(client.indices.get(index=index)) == {index}
    es_semantic.cancel_reindex(client, f"{index}-new")
    assert reindex(client, index).switched
