"""Documents as they are anywhere: odd values, vectors of the owner's, pipelines, routing, another cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.reindex.job import find_record
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex, SecuredNode, remove_everything
from tests.reindexing import documents
from tests.truth import untrue

__all__ = ["cli"]

TEXT = {"type": "text"}
PROPERTIES = {
    "title": TEXT,
    "exact": {"type": "keyword"},
    "mine": {"type": "dense_vector", "dims": 3, "similarity": "l2_norm"},
    "parts": {"type": "nested", "properties": {"n": {"type": "long"}, "v": {"type": "dense_vector", "dims": 2}}},
    "ignored": {"type": "object", "enabled": False},
}
ODD: dict[str, dict[str, Any]] = {
    "plain": {"title": "plain"},
    "vectors": {"title": "own vectors", "mine": [0.25, -1.5, 3.0], "parts": [{"n": 1, "v": [1.0, 2.0]}, {"n": 2}]},
    "numbers": {"title": "1e300", "ignored": {"more": 1 << 80, "tiny": 5e-324, "f": 0.1}},
    "surrogate": {"title": "a lone \ud800 one", "ignored": {"deep": [[[{"x": None}]]]}},
    "empty": {},
    "dotted": {"title": "dotted", "ignored.sub": 1, "exact": ["b", "a", "b"]},
    "weird id/?#%\u00e9": {"title": "weird"},
}


@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound"])
def test_odd_documents_stay_what_they_are(client: Elasticsearch, make_index: MakeIndex, bound: bool) -> None:
    index = make_index(PROPERTIES, documents=ODD, settings={"number_of_shards": 2})
    if bound:
        es_semantic.attach(client, index, "title", model=TinyEmbedder("older"), chunk="never")
        es_semantic.sync(client, index, model=TinyEmbedder("older"))
    before = documents(client, index)
    assert {doc_id: source for doc_id, (source, _, _) in before.items()} == ODD
    embedder = TinyEmbedder()
    report = es_semantic.reindex(
        client, index, f"{index}-new", fields="title", model=embedder, verify="all", shards=1, slices=2
    )
    assert report.switched
    assert documents(client, index) == before
    assert untrue(client, index, ["title"], embedder) == {}
    assert report.counts.embedded == len(ODD) - 1


def test_vectors_of_the_same_model_are_kept_in_chunks_too(client: Elasticsearch, make_index: MakeIndex) -> None:
    some = {str(i): {"title": " ".join(f"word{j}" for j in range(i * 60))} for i in range(8)}
    index = make_index({"title": TEXT}, documents=some)
    es_semantic.attach(client, index, "title", model=TinyEmbedder(), chunk="always")
    es_semantic.sync(client, index, model=TinyEmbedder())
    embedder = TinyEmbedder()
    report = es_semantic.reindex(client, index, f"{index}-new", model=embedder, index_type="bbq_flat")
    assert (report.counts.embedded, report.counts.reused) == (0, 7)
    assert [text for text in embedder.texts if "word" in text] == []
    stamp = client.indices.get_mapping(index=index)[f"{index}-new"]["mappings"]["_meta"]["es_semantic"]
    assert stamp["fields"]["semantic"]["index_options"]["type"] == "bbq_flat"
    assert stamp["fields"]["semantic"]["chunking"] is not None
    report = es_semantic.reindex(client, index, f"{index}-whole", model=embedder, chunk="never")
    assert (report.counts.embedded, report.counts.empty) == (7, 1)
    assert untrue(client, index, ["title"], embedder) == {}


def test_pipelines_do_not_run_again_and_all_fields_stay(
    client: Elasticsearch, make_index: MakeIndex, unique: str
) -> None:
    count = {"script": {"source": "ctx.runs = ctx.runs == null ? 1 : ctx.runs + 1"}}
    for kind in ("default", "final"):
        client.ingest.put_pipeline(id=f"{unique}-{kind}", processors=[count])
    settings = {"default_pipeline": f"{unique}-default", "final_pipeline": f"{unique}-final"}
    index = make_index({"title": TEXT, "body": TEXT}, settings=settings, documents={"1": {"title": "a", "body": "b"}})
    es_semantic.attach(client, index, "title", model=TinyEmbedder("one"), name="first", chunk="never")
    es_semantic.attach(client, index, "body", model=TinyEmbedder("two"), name="second", chunk="never")
    for name in ("first", "second"):
        es_semantic.sync(client, index, model=TinyEmbedder("one" if name == "first" else "two"), name=name)
    before = documents(client, index, "first")
    assert before["1"][0]["runs"] == 2
    es_semantic.reindex(client, index, f"{index}-new", model=TinyEmbedder("three"), name="first")
    assert documents(client, index, "first") == before
    client.index(index=index, id="2", document={"title": "c", "body": "d"}, refresh=True)
    later = client.get(index=index, id="2")["_source"]
    assert later["runs"] == 2
    assert {later[name]["status"] for name in ("first", "second")} == {"pending"}
    for name, model in (("first", "three"), ("second", "two")):
        assert es_semantic.sync(client, index, model=TinyEmbedder(model), name=name).embedded == 1


def test_routing_stays(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT}, settings={"number_of_shards": 3}, _routing={"required": True})
    for i in range(20):
        client.index(index=index, id=str(i), routing=f"r{i % 4}", document={"title": f"text {i}"})
    before = documents(client, index)
    report = es_semantic.reindex(client, index, f"{index}-new", fields="title", model=TinyEmbedder(), verify="all")
    client.update(index=index, id="3", routing="r3", doc={"title": "changed"})
    client.delete(index=index, id="4", routing="r0")
    assert documents(client, report.target).keys() == before.keys() - {"4"}
    es_semantic.undo_reindex(client, f"{index}-new")
    after = documents(client, index)
    assert after.keys() == before.keys() - {"4"}
    assert after["3"][:2] == ({"title": "changed"}, "r3")
    assert {k: v for k, v in after.items() if k not in "34"} == {k: v for k, v in before.items() if k not in "34"}


@pytest.fixture
def elsewhere(superuser: Elasticsearch, unique: str) -> Iterator[str]:
    """An index of the secured node, which is another cluster."""
    superuser.indices.create(index=unique, mappings={"properties": {"title": TEXT}})
    for i in range(30):
        superuser.index(index=unique, id=str(i), document={"title": f"text {i}"})
    superuser.indices.refresh(index=unique)
    yield unique
    remove_everything(superuser, unique)


def test_from_another_cluster(
    client: Elasticsearch, superuser: Elasticsearch, elsewhere: str, make_index: MakeIndex
) -> None:
    make_index({})
    new = f"{elsewhere}-here"
    embedder = TinyEmbedder()
    wanted: dict[str, Any] = {"fields": "title", "model": embedder, "remote": superuser}
    report = es_semantic.reindex(client, elsewhere, new, **wanted, switch="none", slices=2)
    assert (report.stage, report.counts.copied) == ("ready", 30)
    superuser.index(index=elsewhere, id="later", document={"title": "later"})
    superuser.delete(index=elsewhere, id="3")
    report = es_semantic.reindex(client, elsewhere, new, **wanted, switch="none", verify="all")
    assert (report.counts.copied, report.counts.deleted) == (31, 1)
    assert documents(client, new) == documents(superuser, elsewhere)
    assert untrue(client, new, ["title"], embedder) == {}
    assert run(superuser, find_record(new)) is None
    found = es_semantic.estimate_reindex(client, elsewhere, f"{new}-2", **wanted)
    assert (found.documents, found.to_embed) == (30, 30)
    assert es_semantic.cancel_reindex(client, new).stage == "cancelled"
    assert not client.indices.exists(index=new)


def test_another_cluster_from_the_command_line(
    cli: Cli, client: Elasticsearch, secured_node: SecuredNode, elsewhere: str, make_index: MakeIndex
) -> None:
    make_index({})
    Path("es-semantic.yml").write_text(
        "remotes:\n  far:\n"
        f"    url: {secured_node.url}\n    username: {secured_node.username}\n    password: {secured_node.password}\n"
    )
    ran = cli("reindex", elsewhere, "--to", f"{elsewhere}-here", "--fields", "title", "--remote", "far", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["counts"]["copied"] == 30
    assert secured_node.password not in ran.out + ran.err
    assert len(documents(client, f"{elsewhere}-here")) == 30
    unknown = cli("reindex", elsewhere, "--to", "x", "--remote", "near")
    assert unknown.code == 2
    assert "remote cluster 'near' is not configured; configured: far" in unknown.err
