"""Tuning on a real node: what helps is stored in the binding and used by searches, what does not is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.errors import NotAttached, UsageError
from es_semantic.schema.binding import Binding, read_bindings
from es_semantic.schema.ranking import Ranking
from es_semantic.schema.tuned import store_ranking
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.judged import beir_folder, corpus, grades, queries
from tests.nodes import MakeIndex

__all__ = ["cli"]

TEXT = {"type": "text"}
OWNERS = {"owner": {"team": "search", "note": "type:id [bold]"}}
BAD = Ranking(method="linear", weights={"bm25": 0.0, "knn": 1.0})


class Noise(TinyEmbedder):
    """Vectors that have nothing to do with the text: the vector leg is useless."""

    def vector(self, text: str) -> Any:
        return super().vector(text.replace(" ", "_"))


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    """The collection, with a useless vector leg, and ranked by that alone."""
    documents = {doc_id: dict(fields) for doc_id, fields in corpus().items()}
    name = make_index({"title": TEXT, "text": TEXT}, documents=documents, _meta=OWNERS)
    es_semantic.attach(client, name, ["title", "text"], model=Noise(), chunk="never")
    es_semantic.sync(client, name, model=Noise())
    run(client, store_ranking(name, BAD, name="semantic"))
    return name


def binding_of(client: Elasticsearch, index: str) -> Binding:
    mapping = client.indices.get_mapping(index=index)[index]["mappings"]
    return read_bindings(mapping, index=index).fields["semantic"]


def meta_of(client: Elasticsearch, index: str) -> dict[str, Any]:
    meta: dict[str, Any] = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
    return meta


def test_what_helps_is_stored_and_used(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "set")
    before = es_semantic.evaluate(client, index, dataset=folder, model=Noise())
    found = es_semantic.tune(client, index, dataset=folder, model=Noise())
    assert found.current.ranking == BAD
    assert found.helps
    assert found.stored
    assert found.interval.low > 0
    assert found.held_out == pytest.approx(found.current.value + found.gain)
    assert found.best.value >= found.held_out
    assert binding_of(client, index).ranking == found.best.ranking
    assert {key: value for key, value in meta_of(client, index).items() if key != "es_semantic"} == OWNERS
    after = es_semantic.evaluate(client, index, dataset=folder, model=Noise())
    assert before.modes["hybrid"].metrics["ndcg@10"] == pytest.approx(found.current.value, abs=0.02)
    assert after.modes["hybrid"].metrics["ndcg@10"] == pytest.approx(found.best.value, abs=0.02)
    assert es_semantic.sync(client, index, model=Noise()).read == 0
    again = es_semantic.tune(client, index, dataset=folder, model=Noise())
    assert again.current.ranking == found.best.ranking
    assert not again.stored


def test_a_tuned_ranking_changes_the_next_search(client: Elasticsearch, index: str) -> None:
    """Also where the binding was looked up a moment ago by the same client."""

    def ids() -> list[str]:
        text = next(iter(queries().values()))
        return [hit.id for hit in es_semantic.search(client, index, text, size=100, model=Noise()).hits]

    before = ids()
    run(client, store_ranking(index, Ranking(method="linear", weights={"bm25": 1.0, "knn": 0.0}), name="semantic"))
    assert ids() != before


def test_what_was_tuned_for_other_fields_is_not_stored(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "set")
    found = es_semantic.tune(client, index, dataset=folder, model=Noise(), fields=["title", "text^2"])
    assert (found.helps, found.stored) == (True, False)
    assert "--fields" in found.notes[-1]
    assert binding_of(client, index).ranking == BAD


def test_what_cannot_be_stored_is_a_note(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "set")
    client.indices.put_settings(index=index, settings={"index.blocks.read_only": True})
    try:
        found = es_semantic.tune(client, index, dataset=folder, model=Noise())
    finally:
        client.indices.put_settings(index=index, settings={"index.blocks.read_only": None})
    assert (found.helps, found.stored) == (True, False)
    assert "not stored" in found.notes[-1]
    assert "read-only" in found.notes[-1]


def test_looking_without_storing(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    found = es_semantic.tune(client, index, dataset=beir_folder(tmp_path / "set"), model=Noise(), store=False)
    assert found.helps
    assert not found.stored
    assert binding_of(client, index).ranking == BAD


def test_what_does_not_help_is_not_stored(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    """Judgements by dice: whatever looks best on some queries is no better on the others."""
    seed = 5
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    dice = {query: {str(doc_id): 1 for doc_id in random.choice(list(corpus()), size=4)} for query in queries()}
    run(client, store_ranking(index, None, name="semantic"))
    found = es_semantic.tune(client, index, dataset=beir_folder(tmp_path / "set", judged=dice), model=Noise())
    assert not found.helps
    assert not found.stored
    assert found.interval.low <= 0
    assert binding_of(client, index).ranking is None


def test_reset(client: Elasticsearch, index: str) -> None:
    assert es_semantic.reset_ranking(client, index)
    assert binding_of(client, index).ranking is None
    assert not es_semantic.reset_ranking(client, index)
    assert {key: value for key, value in meta_of(client, index).items() if key != "es_semantic"} == OWNERS


def test_too_few_queries(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    few = dict(list(grades().items())[:6])
    with pytest.raises(UsageError, match="5 folds need 10 at least"):
        es_semantic.tune(client, index, dataset=beir_folder(tmp_path / "set", judged=few), model=Noise())
    with pytest.raises(UsageError, match="folds must be 2 or more"):
        es_semantic.tune(client, index, dataset=tmp_path / "set", model=Noise(), folds=1)


def test_all_indices_behind_an_alias(client: Elasticsearch, make_index: MakeIndex, unique: str) -> None:
    names = [make_index({"title": TEXT}, _meta=meta) for meta in (OWNERS, {"other": 1}, OWNERS)]
    for name in names:
        es_semantic.attach(client, name, "title", model=Noise(), chunk="never")
        client.indices.put_alias(index=name, name=f"{unique}-all")
    run(client, store_ranking(f"{unique}-all", BAD, name="semantic"))
    assert [binding_of(client, name).ranking for name in names] == [BAD] * 3
    assert meta_of(client, names[1])["other"] == 1
    assert meta_of(client, names[2])["owner"] == OWNERS["owner"]
    with pytest.raises(NotAttached):
        run(client, store_ranking(f"{unique}-all", BAD, name="other"))


@pytest.mark.usefixtures("make_index")
def test_the_next_index_of_a_data_stream_has_it_too(client: Elasticsearch, unique: str) -> None:
    template = {
        "mappings": {"properties": {"title": TEXT}, "_meta": OWNERS},
        "settings": {"number_of_replicas": 0},
    }
    client.indices.put_index_template(
        name=f"{unique}-template", index_patterns=[f"{unique}-ds*"], data_stream={}, template=template, priority=500
    )
    stream = f"{unique}-ds"
    client.create(index=stream, id="1", document={"@timestamp": "2026-01-01", "title": "a"})
    es_semantic.attach(client, stream, "title", model=Noise(), chunk="never")
    run(client, store_ranking(stream, BAD, name="semantic"))
    client.indices.rollover(alias=stream)
    mappings = client.indices.get_mapping(index=stream).body
    assert len(mappings) == 2
    for name, body in mappings.items():
        assert read_bindings(body["mappings"], index=name).fields["semantic"].ranking == BAD
        assert body["mappings"]["_meta"]["owner"] == OWNERS["owner"]
    assert not es_semantic.attach(client, stream, "title", model=Noise(), chunk="never").changed
    run(client, store_ranking(stream, None, name="semantic"))
    client.indices.rollover(alias=stream)
    for name, body in client.indices.get_mapping(index=stream).body.items():
        assert read_bindings(body["mappings"], index=name).fields["semantic"].ranking is None


def test_the_command(cli: Cli, client: Elasticsearch, make_index: MakeIndex, tmp_path: Path) -> None:
    documents = {doc_id: dict(fields) for doc_id, fields in corpus().items()}
    index = make_index({"title": TEXT, "text": TEXT}, documents=documents)
    cli("attach", index, "--fields", "title,text")
    cli("sync", index)
    run(client, store_ranking(index, BAD, name="semantic"))
    arguments = ["tune", index, "--dataset", str(beir_folder(tmp_path / "set"))]
    dry = cli(*arguments, "--no-store", "--json", "--plot", str(tmp_path / "plot.png"))
    assert dry.code == 0, dry.err
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert dry.json["helps"] is True
    assert dry.json["stored"] is False
    assert dry.json["current"]["weights"] == {"bm25": 0.0, "knn": 1.0}
    assert len(dry.json["folds"]) == 5
    low, high = dry.json["gain_interval"]
    assert 0 < low <= dry.json["gain"] <= high
    table = cli(*arguments)
    assert f"undo it with: es-semantic tune {index} --reset" in table.out
    assert "95 % interval" in table.out
    assert "default ranking is back" in cli("tune", index, "--reset").out
    assert cli("tune", index, "--reset", "--json").json == {"index": index, "field": "semantic", "reset": False}
    wrong = cli("tune", index, "--reset", "--dataset", "x")
    assert (wrong.code, "--reset takes no judgements" in wrong.err) == (2, True)
