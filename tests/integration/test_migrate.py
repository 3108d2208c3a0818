"""A live index changes its model: prepared beside the first, compared, switched to, gone back from, and dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.embedding import Embeddings
from es_semantic.errors import FingerprintMismatch, ModelUnavailable, UsageError
from es_semantic.evaluation.metrics import NDCG
from es_semantic.migration import remove
from es_semantic.schema.ranking import Ranking
from es_semantic.schema.tuned import store_ranking
from tests.embedder import TinyEmbedder
from tests.integration.test_chunks import Windowed
from tests.migrating import NEW, Models, provide
from tests.nodes import MakeIndex
from tests.truth import untrue

TEXTS = {
    "1": "a quokka on an island",
    "2": "a wombat under the ground",
    "3": "rain over the harbour",
    "4": "a train to the coast",
}
OLD, OTHER = TinyEmbedder("older", 64), TinyEmbedder("newer", 48)


class Failing(TinyEmbedder):
    """The new model, which loads but does not embed documents."""

    def __init__(self) -> None:
        super().__init__("newer", 48)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        raise ModelUnavailable(f"{len(texts)} texts are too many for now")


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    """There are no other processes here that search by older bindings."""
    monkeypatch.setattr(remove, "SETTLE", 0.0)
    return provide(monkeypatch, OLD, OTHER, TinyEmbedder("third", 32))


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    """An index of the old model, all embedded."""
    index = make_index({"title": {"type": "text"}})
    es_semantic.attach(client, index, "title", model=OLD, chunk="never")
    for doc_id, text in TEXTS.items():
        client.index(index=index, id=doc_id, document={"title": text})
    es_semantic.sync(client, index)
    return index


def served_by(client: Elasticsearch, index: str) -> str:
    """By which field a search for a document's own text finds it at the top, as near as can be."""
    result = es_semantic.search(client, index, TEXTS["1"], mode="knn", size=4)
    assert result.hits[0].id == "1"
    assert result.hits[0].legs["knn"].score > 0.99
    assert all(set(hit.source) == {"title"} for hit in result.hits)
    return es_semantic.migration(client, index).serving.field


def prepared(client: Elasticsearch, index: str) -> Any:
    return es_semantic.migrate(client, index, model=OTHER, chunk="never")


def test_the_whole_way(client: Elasticsearch, index: str) -> None:
    assert es_semantic.migration(client, index).phase == "none"
    preparation = prepared(client, index)
    assert (preparation.field, preparation.report.embedded, preparation.state.phase) == (NEW, 4, "ready")
    assert served_by(client, index) == "semantic"
    assert es_semantic.switch_migration(client, index).phase == "switched"
    assert served_by(client, index) == NEW
    assert es_semantic.status(client, index).model == OTHER.profile.fingerprint.id
    assert es_semantic.roll_back_migration(client, index).phase == "ready"
    assert served_by(client, index) == "semantic"
    es_semantic.switch_migration(client, index)
    dropped = es_semantic.drop_migration(client, index)
    assert (dropped.phase, dropped.serving.field, dropped.serving.ready) == ("none", NEW, 4)
    assert served_by(client, index) == NEW
    assert all(set(source(client, index, doc_id)) == {"title", NEW} for doc_id in TEXTS)
    assert es_semantic.drop_migration(client, index).notes == ("there is nothing to remove",)


def test_the_next_change_takes_a_place_that_nothing_had(client: Elasticsearch, index: str) -> None:
    prepared(client, index)
    es_semantic.switch_migration(client, index)
    es_semantic.drop_migration(client, index)
    again = es_semantic.migrate(client, index, model=OLD, chunk="never")
    assert again.field == "semantic_3"
    es_semantic.switch_migration(client, index)
    es_semantic.drop_migration(client, index)
    assert served_by(client, index) == "semantic_3"
    assert untrue(client, index, ["title"], OLD, place="semantic_3") == {}
    es_semantic.detach(client, index, purge=True)
    assert all(set(source(client, index, doc_id)) == {"title"} for doc_id in TEXTS)
    assert "es_semantic" not in (client.indices.get_mapping(index=index)[index]["mappings"].get("_meta") or {})


def test_what_is_written_meanwhile_is_in_both(client: Elasticsearch, index: str) -> None:
    prepared(client, index)
    client.index(index=index, id="5", document={"title": "a heron in the reeds"})
    client.update(index=index, id="2", doc={"title": "a wombat in the garden"})
    report = es_semantic.sync(client, index)
    assert report.notes == ["'semantic_2', of another model: 2 embedded, 0 already true, 0 failed"]
    assert untrue(client, index, ["title"], OLD) == {}
    assert untrue(client, index, ["title"], OTHER, place=NEW) == {}
    es_semantic.switch_migration(client, index)
    client.index(index=index, id="6", document={"title": "a boat without oars"})
    es_semantic.sync(client, index)
    # The old model's as well, so that a rollback loses nothing.
    assert untrue(client, index, ["title"], OLD) == {}
    assert untrue(client, index, ["title"], OTHER, place=NEW) == {}


def test_a_switch_brings_along_what_nobody_has_embedded(client: Elasticsearch, index: str) -> None:
    prepared(client, index)
    client.index(index=index, id="5", document={"title": "a heron in the reeds"})
    client.indices.refresh(index=index)
    assert es_semantic.migration(client, index).phase == "preparing"
    assert es_semantic.switch_migration(client, index).serving.ready == 5


def test_a_worker_without_the_new_model_goes_on_with_the_old(client: Elasticsearch, index: str, models: Models) -> None:
    prepared(client, index)
    client.index(index=index, id="5", document={"title": "a heron in the reeds"})
    models.away.add("newer")
    (note,) = es_semantic.sync(client, index).notes
    assert note == "'semantic_2', of another model, could not be brought up to date: model newer is away"
    assert untrue(client, index, ["title"], OLD) == {}
    client.index(index=index, id="6", document={"title": "a boat without oars"})
    # Who brings a model wants nothing done with another.
    assert es_semantic.sync(client, index, model=OLD).notes == []


def test_interrupted_it_goes_on(client: Elasticsearch, index: str, models: Models) -> None:
    models.by_name["newer"] = Failing()
    with pytest.raises(ModelUnavailable):
        es_semantic.migrate(client, index, model=models.by_name["newer"], chunk="never")
    assert es_semantic.migration(client, index).phase == "preparing"
    assert served_by(client, index) == "semantic"
    assert prepared(client, index).state.phase == "ready"
    assert es_semantic.migrate(client, index, model=OTHER).report.embedded == 0


def test_trees_follow_the_binding(client: Elasticsearch, index: str) -> None:
    tree = {
        "knn": {
            "field": "semantic.vector",
            "query_vector_builder": {"text_embedding": {"model_text": TEXTS["3"]}},
            "k": 2,
            "num_candidates": 10,
        }
    }
    simple = {"rrf": {"query": TEXTS["3"], "fields": ["semantic"]}}
    everything = {"rrf": {"query": TEXTS["3"]}}
    prepared(client, index)
    for serves in ("semantic", NEW):
        for retriever in (tree, simple, everything):
            answer = es_semantic.retrieve(client, index, retriever=retriever)
            assert answer["hits"]["hits"][0]["_id"] == "3", (serves, retriever)
        if serves == "semantic":
            es_semantic.switch_migration(client, index)
            es_semantic.drop_migration(client, index)
    # A vector of the caller's own goes where the caller says.
    own = {"field": f"{NEW}.vector", "query_vector": OTHER.vector(TEXTS["2"]).tolist(), "k": 1, "num_candidates": 5}
    assert es_semantic.retrieve(client, index, retriever={"knn": own})["hits"]["hits"][0]["_id"] == "2"


def test_more_like_and_context_follow_the_binding(client: Elasticsearch, index: str) -> None:
    prepared(client, index)
    es_semantic.switch_migration(client, index)
    es_semantic.drop_migration(client, index)
    nearest = max(("2", "3", "4"), key=lambda other: OTHER.vector(TEXTS["1"]) @ OTHER.vector(TEXTS[other]))
    assert es_semantic.more_like(client, index, "1", size=1).hits[0].id == nearest
    assert TEXTS["4"] in es_semantic.context(client, index, TEXTS["4"], max_tokens=100).text


def test_the_new_field_can_be_searched_before_the_switch(client: Elasticsearch, index: str) -> None:
    prepared(client, index)
    result = es_semantic.search(client, index, TEXTS["4"], name=["semantic", NEW])
    assert set(result.hits[0].legs) == {"bm25", "knn:semantic", "knn:semantic_2"}
    assert result.hits[0].legs["knn:semantic_2"].score > 0.99


def test_compared_in_the_index_itself(client: Elasticsearch, index: str) -> None:
    prepared(client, index)
    for labels in (["older (serves)", "newer"], ["newer (serves)", "older"]):
        found = es_semantic.compare_migration(client, index)
        assert list(found.models) == labels
        assert [result.vectors for result in found.models.values()] == [4, 4]
        assert {result.name: result.dims for result in found.models.values()} == {
            label: 64 if "older" in label else 48 for label in labels
        }
        assert found.queries_from == "the first words of documents"
        (shared,) = (each for each in found.overlaps if each.mode == "knn")
        assert shared.value == 1.0  # All four documents are among the first ten of either.
        assert all(result.modes["knn"].runs for result in found.models.values())
        es_semantic.switch_migration(client, index)


def test_compared_by_judgements(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    judged = tmp_path / "judged.csv"
    judged.write_text("query,id,grade\n" + "".join(f"{text},{doc_id},1\n" for doc_id, text in TEXTS.items()))
    prepared(client, index)
    found = es_semantic.compare_migration(client, index, judgements=judged)
    assert {name: result.modes["knn"].metrics[NDCG] for name, result in found.models.items()} == {
        "older (serves)": 1.0,
        "newer": 1.0,
    }
    assert {frozenset((each.first, each.second)) for each in found.comparisons["hybrid"]} == {frozenset(found.models)}
    assert (found.documents, found.missing and found.missing.count) == (4, 0)
    with pytest.raises(UsageError, match="two ways to say what is searched for"):
        es_semantic.compare_migration(client, index, judgements=judged, queries=judged)


def test_an_alias_of_indices_that_change_one_after_the_other(
    client: Elasticsearch, index: str, make_index: MakeIndex
) -> None:
    other = make_index({"title": {"type": "text"}})
    es_semantic.attach(client, other, "title", model=OLD, chunk="never")
    client.index(index=other, id="5", document={"title": "a heron in the reeds"})
    es_semantic.sync(client, other)
    both = f"{index}-both"
    client.indices.update_aliases(actions=[{"add": {"indices": [index, other], "alias": both}}])

    def found() -> None:
        for text, doc_id in ((TEXTS["2"], "2"), ("a heron in the reeds", "5")):
            best = es_semantic.search(client, both, text, size=1).hits[0]
            assert (best.id, set(best.source)) == (doc_id, {"title"})
            assert best.legs["knn"].score > 0.99
            nearest = {"field": "semantic.vector", "k": 1, "num_candidates": 10}
            text_of = {"query_vector_builder": {"text_embedding": {"model_text": text}}}
            answer = es_semantic.retrieve(client, both, retriever={"knn": {**nearest, **text_of}})
            assert answer["hits"]["hits"][0]["_id"] == doc_id

    for each in (index, other):
        prepared(client, each)
        found()
    for each in (index, other):
        es_semantic.switch_migration(client, each)
        found()
    for each in (index, other):
        es_semantic.drop_migration(client, each)
        found()


def test_documents_like_each_other_are_left_out_by_whatever_serves(client: Elasticsearch, index: str) -> None:
    """Maximal marginal relevance without a query compares stored vectors, which are at another place by then."""
    tree = {
        "diversify": {
            "type": "mmr",
            "field": "semantic.vector",
            "lambda": 0.5,
            "retriever": {"standard": {"query": {"match_all": {}}}},
        }
    }
    prepared(client, index)
    es_semantic.switch_migration(client, index)
    es_semantic.drop_migration(client, index)
    assert len(es_semantic.retrieve(client, index, retriever=tree)["hits"]["hits"]) == 4


def test_purged_after_a_change(client: Elasticsearch, index: str) -> None:
    """``detach`` and, later, ``detach --purge``: by then nothing says where the values were."""
    prepared(client, index)
    es_semantic.switch_migration(client, index)
    es_semantic.drop_migration(client, index)
    change, _ = es_semantic.detach(client, index)
    assert change.field == NEW
    assert es_semantic.detach(client, index, purge=True)[1] == 4
    assert all(set(source(client, index, doc_id)) == {"title"} for doc_id in TEXTS)


def test_a_tuned_ranking_is_of_one_model(client: Elasticsearch, index: str) -> None:
    tuned = Ranking(method="rrf", weights={"bm25": 0.2, "knn": 0.8})
    assert run(client, store_ranking(index, tuned, name="semantic"))
    prepared(client, index)
    meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["es_semantic"]["fields"]
    assert ("ranking" in meta["semantic"], "ranking" in meta[NEW]) == (True, False)


def source(client: Elasticsearch, index: str, doc_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(index=index, id=doc_id)["_source"]
    return found


def test_a_model_with_other_dims_under_the_same_name(client: Elasticsearch, index: str, models: Models) -> None:
    """It is another model by its fingerprint: refused by sync, and changed to like any other."""
    wider = TinyEmbedder("older", 80)
    with pytest.raises(FingerprintMismatch):
        es_semantic.sync(client, index, model=wider)
    es_semantic.migrate(client, index, model=wider, chunk="never")
    assert served_by(client, index) == "semantic"
    es_semantic.switch_migration(client, index, model=wider)
    models.by_name["older"] = wider
    assert served_by(client, index) == NEW


def test_an_index_that_was_changed_can_be_re_indexed(client: Elasticsearch, index: str, unique: str) -> None:
    prepared(client, index)
    es_semantic.switch_migration(client, index)
    es_semantic.drop_migration(client, index)
    target = f"{unique}-target"
    report = es_semantic.reindex(client, index, target, switch="none", verify="all")
    assert (report.counts.embedded, report.counts.reused) == (0, 4)
    assert served_by(client, target) == NEW
    assert untrue(client, target, ["title"], OTHER, place=NEW) == {}


def test_chunks_may_come_with_the_new_model(client: Elasticsearch, index: str) -> None:
    windowed = Windowed("newer")
    es_semantic.migrate(client, index, model=windowed, chunk="always")
    es_semantic.switch_migration(client, index, model=windowed)
    result = es_semantic.search(client, index, TEXTS["2"], model=windowed, mode="knn", passages=1)
    assert (result.hits[0].id, result.hits[0].passages[0].text) == ("2", TEXTS["2"])
