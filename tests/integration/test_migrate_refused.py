"""What a change of models refuses, and that nothing has changed then."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.errors import BindingConflict, JobStopped, NotAttached, UsageError
from es_semantic.schema.attach import detach_steps
from es_semantic.schema.rebound import rebind
from tests.faults.workers import POISON, Counting
from tests.integration.test_attach_streams import MakeStreams, make_streams
from tests.integration.test_cli import Cli, cli
from tests.integration.test_migrate import OLD, OTHER, TEXTS, index, models, prepared, served_by
from tests.migrating import NEW
from tests.nodes import MakeIndex

__all__ = ["cli", "index", "make_streams", "models"]


def meta(client: Elasticsearch, index: str) -> Any:
    return client.indices.get_mapping(index=index)[index]["mappings"].get("_meta")


def test_the_model_that_serves(client: Elasticsearch, index: str) -> None:
    before = client.indices.get_mapping(index=index)
    with pytest.raises(BindingConflict, match="is served by older-"):
        es_semantic.migrate(client, index, model=OLD)
    assert client.indices.get_mapping(index=index) == before


def test_a_second_change_beside_the_first(client: Elasticsearch, index: str, models: Any) -> None:
    prepared(client, index)
    before = meta(client, index)
    with pytest.raises(BindingConflict, match="is being prepared for newer-"):
        es_semantic.migrate(client, index, model=models.by_name["third"])
    es_semantic.switch_migration(client, index)
    with pytest.raises(BindingConflict, match="was switched from older-"):
        es_semantic.migrate(client, index, model=models.by_name["third"])
    es_semantic.roll_back_migration(client, index)
    assert meta(client, index) == before


def test_steps_out_of_order(client: Elasticsearch, index: str) -> None:
    for step, said in (
        (es_semantic.switch_migration, "no other model is prepared"),
        (es_semantic.roll_back_migration, "has no field of an earlier model"),
        (es_semantic.compare_migration, "has one model alone"),
    ):
        with pytest.raises(UsageError, match=said):
            step(client, index)
    prepared(client, index)
    with pytest.raises(UsageError, match="does not serve semantic field 'semantic'"):
        es_semantic.drop_migration(client, index)
    assert es_semantic.roll_back_migration(client, index).notes == ("the old model serves",)
    es_semantic.switch_migration(client, index)
    with pytest.raises(UsageError, match=r"serves semantic field 'semantic' of .* already"):
        es_semantic.cancel_migration(client, index)
    assert es_semantic.switch_migration(client, index).notes == ("this was done already",)


def test_given_up(client: Elasticsearch, index: str) -> None:
    prepared(client, index)
    cancelled = es_semantic.cancel_migration(client, index)
    assert cancelled.notes == (f"the values of {NEW} were removed from 4 documents",)
    assert served_by(client, index) == "semantic"
    assert set(meta(client, index)["es_semantic"]["fields"]) == {"semantic"}
    assert {"serving", "leaving"} & set(meta(client, index)["es_semantic"]) == set()
    hits = client.search(index=index)["hits"]["hits"]
    assert [set(hit["_source"]) for hit in hits] == 4 * [{"title", "semantic"}]


def test_detaching_meanwhile(client: Elasticsearch, index: str) -> None:
    prepared(client, index)
    before = meta(client, index)
    for name in ("semantic", NEW):
        with pytest.raises(BindingConflict, match=r"the model of semantic field 'semantic' .* is being changed"):
            es_semantic.detach(client, index, name=name)
    assert meta(client, index) == before


def test_what_vector_search_would_lose(client: Elasticsearch, index: str, models: Any) -> None:
    client.index(index=index, id="5", document={"title": f"a {POISON} ivy"})
    es_semantic.sync(client, index)
    picky = models.by_name["newer"] = Picky()
    assert es_semantic.migrate(client, index, model=picky, chunk="never").report.dead_letters == 1
    with pytest.raises(
        JobStopped, match=r"1 documents of .* have a vector of the model that serves and none of the new"
    ):
        es_semantic.switch_migration(client, index)
    assert served_by(client, index) == "semantic"
    state = es_semantic.switch_migration(client, index, allow_missing=True)
    assert state.notes == ("1 documents have no vector of the new model",)
    assert es_semantic.migration(client, index).serving.field == NEW


def test_no_semantic_field(client: Elasticsearch, make_index: MakeIndex) -> None:
    bare = make_index({"title": {"type": "text"}})
    for step in (es_semantic.migration, es_semantic.switch_migration, es_semantic.drop_migration):
        with pytest.raises(NotAttached):
            step(client, bare)
    with pytest.raises(NotAttached):
        es_semantic.migrate(client, bare, model=OTHER)


def test_a_name_that_somebody_has(client: Elasticsearch, index: str) -> None:
    """An owner's field, or a semantic field of its own, is never taken for the next place."""
    client.indices.put_mapping(index=index, properties={NEW: {"type": "keyword"}})
    es_semantic.attach(client, index, "title", model=OLD, chunk="never", name="semantic_3")
    assert prepared(client, index).field == "semantic_4"
    es_semantic.switch_migration(client, index)
    es_semantic.drop_migration(client, index)
    assert served_by(client, index) == "semantic_4"
    assert set(meta(client, index)["es_semantic"]["fields"]) == {"semantic_3", "semantic_4"}
    es_semantic.sync(client, index, name="semantic_3")
    assert es_semantic.search(client, index, TEXTS["1"], name="semantic_3", mode="knn").hits[0].id == "1"


def test_a_field_that_is_leaving_is_nobodys(client: Elasticsearch, index: str) -> None:
    """Giving up was cut off after the unbinding: its place is not attached to, nor prepared, nor served again."""
    prepared(client, index)
    run(client, rebind(index, methodcaller("leaves", NEW)))
    assert es_semantic.migration(client, index).phase == "dropping"
    with pytest.raises(BindingConflict, match="is being given up"):
        prepared(client, index)
    with pytest.raises(UsageError, match="is being dropped"):
        es_semantic.switch_migration(client, index)
    run(client, detach_steps(index, name=f"={NEW}"))
    with pytest.raises(BindingConflict, match="are being removed"):
        es_semantic.attach(client, index, "title", model=OTHER, name=NEW)
    with pytest.raises(BindingConflict, match="is being changed"):
        es_semantic.detach(client, index)
    assert es_semantic.cancel_migration(client, index).phase == "none"
    assert served_by(client, index) == "semantic"


def test_the_field_that_serves_does_not_leave(client: Elasticsearch, index: str) -> None:
    """A rollback between the steps of a drop: what serves by then stays."""
    prepared(client, index)
    es_semantic.switch_migration(client, index)
    es_semantic.roll_back_migration(client, index)
    before = meta(client, index)
    assert not run(client, rebind(index, methodcaller("leaves", "semantic")))
    with pytest.raises(BindingConflict, match="is being changed"):
        run(client, detach_steps(index, name="=semantic"))
    assert meta(client, index) == before


def test_a_read_only_index_of_a_data_stream(client: Elasticsearch, make_streams: MakeStreams) -> None:
    (stream,) = make_streams()
    es_semantic.attach(client, stream, "title", model=OLD, chunk="never")
    es_semantic.sync(client, stream)
    client.index(index=stream, document={"@timestamp": "2026-01-01", "title": TEXTS["1"]})
    es_semantic.sync(client, stream)
    first = sorted(client.indices.get_mapping(index=stream).body)[0]
    client.indices.rollover(alias=stream)
    client.indices.put_settings(index=first, settings={"index.blocks.write": True})
    client.index(index=stream, document={"@timestamp": "2026-01-02", "title": TEXTS["2"]})
    es_semantic.migrate(client, stream, model=OTHER, chunk="never")
    with pytest.raises(JobStopped, match="2 documents of"):
        es_semantic.switch_migration(client, stream)
    es_semantic.switch_migration(client, stream, allow_missing=True)
    dropped = es_semantic.drop_migration(client, stream)
    assert dropped.phase == "none"
    assert dropped.notes[1] == f"left as they are, because read-only: {first}"
    client.indices.put_settings(index=first, settings={"index.blocks.write": None})


def test_options_of_another_step(cli: Cli, index: str) -> None:
    for arguments in (["switch", "--model", "x"], ["--queries", "x"], ["drop", "--allow-missing"]):
        ran = cli("migrate", index, *arguments)
        assert ran.code == 2
        assert "belong to `migrate INDEX" in ran.err


class Picky(Counting):
    """The new model, which refuses some texts."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.dims = "newer", 48
