"""Queries: three modes, filters in every leg, ranks and scores that add up, and refusals that say why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.cluster.memory import UNKNOWN, memory_of
from es_semantic.cluster.steps import Compute, Remember, Request, Step, Steps, run
from es_semantic.errors import FingerprintMismatch, IndexUnavailable, InvalidQuery, NotAttached
from es_semantic.retrieval.results import SearchResult
from es_semantic.retrieval.search import search_steps
from es_semantic.schema.ranking import Ranking
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex

TEXT = {"type": "text"}
WORDS = "red green blue apple pear plum run walk swim fast slow big small old new day night".split()  # noqa: SIM905 (short)
ROWS = 120


def words(i: int) -> str:
    random = np.random.default_rng(i)
    return " ".join(random.choice(WORDS, size=6))


def filled(client: Elasticsearch, make_index: MakeIndex, embedder: TinyEmbedder, first: int = 0) -> str:
    """An attached and synced index of a hundred and twenty documents in three colours of tenants."""
    name = make_index({"title": TEXT, "body": TEXT, "tenant": {"type": "keyword"}, "n": {"type": "integer"}})
    operations: list[dict[str, Any]] = []
    for i in range(first, first + ROWS):
        operations += [{"index": {"_id": str(i)}}, {"title": words(i), "body": "text", "tenant": f"t{i % 3}", "n": i}]
    client.bulk(index=name, operations=operations, refresh=True)
    es_semantic.attach(client, name, ["title", "body"], model=embedder)
    es_semantic.sync(client, name, model=embedder)
    return name


@pytest.fixture(scope="module")
def embedder() -> TinyEmbedder:
    return TinyEmbedder()


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex, embedder: TinyEmbedder) -> str:
    return filled(client, make_index, embedder)


def test_hybrid_is_the_fusion_of_its_legs(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    result = es_semantic.search(client, index, "red apple", size=20, ranking=Ranking(method="rrf"), model=embedder)
    legs = {
        mode: es_semantic.search(client, index, "red apple", mode=mode, size=100, model=embedder)
        for mode in ("bm25", "knn")
    }
    assert len(result.hits) == 20
    for hit in result.hits:
        places = {mode: place for mode, leg in legs.items() if (place := _place(leg, hit.id))}
        assert {mode: (place.rank, place.score) for mode, place in hit.legs.items()} == places
        assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank, _ in places.values()))


def _place(result: SearchResult, doc_id: str) -> tuple[int, float] | None:
    return next(((rank, hit.score) for rank, hit in enumerate(result.hits, start=1) if hit.id == doc_id), None)


def test_bm25_is_elasticsearch_s_own_order(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    ours = es_semantic.search(client, index, "red apple", mode="bm25", size=10, model=embedder)
    match = {"query": "red apple", "fields": ["title", "body"], "type": "cross_fields"}
    theirs = client.search(index=index, query={"multi_match": match}, size=10)["hits"]["hits"]
    assert [(hit.id, hit.score) for hit in ours.hits] == [(hit["_id"], hit["_score"]) for hit in theirs]


def test_knn_is_the_exact_order(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    ours = es_semantic.search(client, index, "red apple", mode="knn", size=10, model=embedder)
    vectors = {str(i): embedder.vector(f"{words(i)}\ntext") for i in range(ROWS)}
    query = embedder.vector("red apple")
    exact = sorted(vectors, key=lambda i: -float(vectors[i] @ query))[:10]
    assert [hit.score for hit in ours.hits] == pytest.approx([(1 + vectors[i] @ query) / 2 for i in exact], abs=1e-4)


@pytest.mark.parametrize("mode", ["hybrid", "knn", "bm25"])
def test_a_filter_holds_in_every_mode_and_leaves_enough_hits(
    client: Elasticsearch, index: str, embedder: TinyEmbedder, mode: str
) -> None:
    clause = {"term": {"tenant": "t1"}}
    result = es_semantic.search(client, index, "text", mode=mode, size=ROWS, filters=clause, model=embedder)
    assert {hit.source["tenant"] for hit in result.hits} == {"t1"}
    assert len(result.hits) == ROWS / 3


def test_several_filters_must_all_match(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    clauses: list[dict[str, Any]] = [{"term": {"tenant": "t1"}}, {"range": {"n": {"lt": 10}}}]
    result = es_semantic.search(client, index, "text", size=50, filters=clauses, model=embedder)
    assert sorted(hit.source["n"] for hit in result.hits) == [1, 4, 7]


def test_fields_choose_what_bm25_looks_at(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    everywhere = es_semantic.search(client, index, "text", mode="bm25", size=ROWS, model=embedder)
    titles = es_semantic.search(client, index, "text", mode="bm25", size=ROWS, fields=["title"], model=embedder)
    assert (len(everywhere.hits), len(titles.hits)) == (ROWS, 0)


def test_sources_come_without_what_es_semantic_keeps(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    hit = es_semantic.search(client, index, "apple", size=1, model=embedder).hits[0]
    assert set(hit.source) == {"title", "body", "tenant", "n"}


def test_the_same_query_gives_the_same_order(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    orders = {
        tuple(hit.id for hit in es_semantic.search(client, index, "red day", size=100, model=embedder).hits)
        for _ in range(5)
    }
    assert len(orders) == 1


def test_bm25_needs_no_model_and_one_search(client: Elasticsearch, index: str) -> None:
    asked: list[Step] = []
    assert drive(client, search_steps(index, "red", _no_model, mode="bm25"), asked).hits
    assert [type(step) for step in asked] == [Request, Request]
    assert [step.path.rpartition("/")[2] for step in asked if isinstance(step, Request)] == ["_mapping", "_search"]


def test_hybrid_asks_for_all_legs_and_then_for_the_page(
    client: Elasticsearch, index: str, embedder: TinyEmbedder
) -> None:
    asked: list[Step] = []
    assert drive(client, search_steps(index, "red", lambda _: embedder), asked).hits
    paths = [step.path.rpartition("/")[2] for step in asked if isinstance(step, Request)]
    assert paths == ["_mapping", "_search", "_msearch", "_msearch"]
    asked.clear()
    es_semantic.search(client, index, "red", model=embedder)
    assert drive(client, search_steps(index, "red", lambda _: embedder), asked, known=client).hits
    paths = [step.path.rpartition("/")[2] for step in asked if isinstance(step, Request)]
    assert paths == ["_msearch", "_msearch"]


def drive(client: Elasticsearch, steps: Steps[Any], asked: list[Step], *, known: Elasticsearch | None = None) -> Any:
    """Run a procedure and note what it asked for; of what the client remembers only what ``known`` does."""
    outcome: Any = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as stop:
            return stop.value
        match step:
            case Compute():
                outcome = step.function()
            case Remember():
                outcome = UNKNOWN if known is None else memory_of(known).recall(step)
                if outcome is UNKNOWN:
                    outcome = drive(client, step.steps(), asked)
            case Request():
                asked.append(step)
                outcome = client.perform_request(
                    step.method, step.path, params=dict(step.params), headers=step.headers, body=step.body
                ).body


def _no_model(binding: object) -> Any:
    raise AssertionError(f"asked for the model of {binding}")


async def test_the_asynchronous_client_gives_the_same(
    client: Elasticsearch, node_url: str, index: str, embedder: TinyEmbedder
) -> None:
    async with AsyncElasticsearch(node_url) as asynchronous:
        theirs = await es_semantic.search(asynchronous, index, "big old plum", model=embedder)
    assert theirs.hits == es_semantic.search(client, index, "big old plum", model=embedder).hits


def test_an_alias_of_several_indices_of_one_model(
    client: Elasticsearch, make_index: MakeIndex, unique: str, embedder: TinyEmbedder
) -> None:
    first, second = filled(client, make_index, embedder), filled(client, make_index, embedder, first=60)
    for name in (first, second):
        client.indices.put_alias(index=name, name=f"{unique}-both")
    result = es_semantic.search(client, f"{unique}-both", "red apple", size=200, model=embedder)
    found = {(hit.index, hit.id) for hit in result.hits}
    assert {index for index, _ in found} == {first, second}
    assert len(found) == len(result.hits)
    assert all(int(hit.id) == hit.source["n"] for hit in result.hits)


def test_indices_of_different_models_are_searched_with_each_one_s_own(
    client: Elasticsearch, make_index: MakeIndex, embedder: TinyEmbedder
) -> None:
    other = TinyEmbedder("other")
    first, second = filled(client, make_index, embedder), filled(client, make_index, other)
    embedders = {each.profile.fingerprint.id: each for each in (embedder, other)}
    steps = search_steps(f"{first},{second}", "red apple", lambda bound: embedders[bound.fingerprint.id], size=60)
    hits = run(client, steps).hits
    for name, model in ((first, embedder), (second, other)):
        leg = f"knn:semantic:{model.profile.fingerprint.id}"
        assert {hit.index for hit in hits if leg in hit.legs} == {name}
        alone = es_semantic.search(client, name, "red apple", mode="knn", size=5, model=model).hits
        ranks = {hit.id: hit.legs[leg].rank for hit in hits if leg in hit.legs}
        assert [ranks.get(hit.id, place) for place, hit in enumerate(alone, start=1)] == [1, 2, 3, 4, 5]
    with pytest.raises(FingerprintMismatch):
        es_semantic.search(client, f"{first},{second}", "red apple", model=embedder)


def test_indices_with_different_source_fields_are_searched_in_all_of_them(
    client: Elasticsearch, make_index: MakeIndex, unique: str, embedder: TinyEmbedder
) -> None:
    for fields in (["title"], ["title", "body"]):
        name = make_index({"title": TEXT, "body": TEXT}, documents={"1": {"title": "red", "body": "apple"}})
        es_semantic.attach(client, name, fields, model=embedder)
        client.indices.put_alias(index=name, name=f"{unique}-both")
    assert len(es_semantic.search(client, f"{unique}-both", "apple", mode="bm25", model=embedder).hits) == 2


def test_another_model_is_refused_with_both_shown(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    other = TinyEmbedder("other")
    with pytest.raises(FingerprintMismatch) as caught:
        es_semantic.search(client, index, "red", model=other)
    assert other.profile.fingerprint.id in str(caught.value)
    assert embedder.profile.fingerprint.id in str(caught.value)


@pytest.mark.parametrize("text", ["", " \t\n", "\x00\x07", "x" * 10_485_760])
def test_bad_queries_are_refused_before_anything_is_sent(
    client: Elasticsearch, embedder: TinyEmbedder, text: str
) -> None:
    with pytest.raises(InvalidQuery):
        es_semantic.search(client, "no-such-index", text, model=embedder)


def test_the_longest_allowed_query_is_answered(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    text = " ".join(f"w{i}" for i in range(3000))[:9990] + " apple"
    assert es_semantic.search(client, index, text, model=embedder).hits


def test_query_syntax_is_only_text(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    for text in ("title:(red AND", '"', "*", "/[/", "red~2^9", "{}", "\\"):
        assert es_semantic.search(client, index, text, size=3, model=embedder).index == index


def test_a_wrong_filter_is_refused_in_elasticsearch_s_words(
    client: Elasticsearch, index: str, embedder: TinyEmbedder
) -> None:
    with pytest.raises(Exception, match=r"unknown query \[trem\]") as caught:
        es_semantic.search(client, index, "red", filters={"trem": {"tenant": "t1"}}, model=embedder)
    assert index in str(caught.value)


def test_wrong_names(client: Elasticsearch, index: str, make_index: MakeIndex, embedder: TinyEmbedder) -> None:
    with pytest.raises(IndexUnavailable):
        es_semantic.search(client, "no-such-index", "red", model=embedder)
    with pytest.raises(NotAttached, match=r"it has: semantic"):
        es_semantic.search(client, index, "red", name="other", model=embedder)
    with pytest.raises(NotAttached, match="attach"):
        es_semantic.search(client, make_index({"title": TEXT}), "red", model=embedder)


def test_an_index_that_is_not_embedded_yet_answers_by_words(
    client: Elasticsearch, make_index: MakeIndex, embedder: TinyEmbedder
) -> None:
    name = make_index({"title": TEXT}, documents={"1": {"title": "red apple"}})
    es_semantic.attach(client, name, ["title"], model=embedder)
    hits = es_semantic.search(client, name, "apple", model=embedder).hits
    assert [(hit.id, set(hit.legs)) for hit in hits] == [("1", {"bm25"})]


def test_vectors_of_a_model_bound_before_are_not_ranked(client: Elasticsearch, index: str) -> None:
    es_semantic.detach(client, index)
    other = TinyEmbedder("other")
    es_semantic.attach(client, index, ["title", "body"], model=other)
    assert es_semantic.search(client, index, "red apple", mode="knn", model=other).hits == ()
    es_semantic.sync(client, index, model=other)
    assert len(es_semantic.search(client, index, "red apple", mode="knn", model=other).hits) == 10


def test_one_id_in_several_shards_is_several_documents(
    client: Elasticsearch, make_index: MakeIndex, embedder: TinyEmbedder
) -> None:
    name = make_index({"title": TEXT}, settings={"number_of_shards": 3})
    for routing in "abcdef":
        client.index(index=name, id="1", routing=routing, document={"title": f"apple {routing}"})
    client.indices.refresh(index=name)
    stored = client.count(index=name)["count"]
    assert stored > 1
    es_semantic.attach(client, name, ["title"], model=embedder)
    assert es_semantic.sync(client, name, model=embedder).embedded == stored
    hits = es_semantic.search(client, name, "apple", model=embedder).hits
    assert len({hit.source["title"] for hit in hits}) == len(hits) == stored


def test_two_semantic_fields_do_not_see_each_other(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    es_semantic.attach(client, index, ["title"], model=embedder, name="titles")
    es_semantic.sync(client, index, model=embedder, name="titles")
    for name in ("semantic", "titles"):
        hits = es_semantic.search(client, index, "red apple", model=embedder, name=name).hits
        assert set(hits[0].source) == {"title", "body", "tenant", "n"}
        assert es_semantic.status(client, index, name=name).ready == ROWS


def test_a_small_result_window(client: Elasticsearch, index: str, embedder: TinyEmbedder) -> None:
    client.indices.put_settings(index=index, settings={"index.max_result_window": 50})
    with pytest.raises(InvalidQuery, match=r"raise index\.max_result_window"):
        es_semantic.search(client, index, "red", model=embedder)
    script = {"source": "ctx._source.title = 'anew'"}
    client.update_by_query(index=index, script=script, scroll_size=50, refresh=True)
    assert es_semantic.sync(client, index, model=embedder).read == ROWS
