"""What holds for every tree: filters never leak, pages fit together, and the order is one order."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import es_semantic
from tests.nodes import remove_everything
from tests.retrieval_corpus import Corpus, Key, corpus_of, key_of
from tests.retriever_trees import SEED, apart, filters, fused_trees, leaves, native_trees, window_of

Json = dict[str, Any]

EXAMPLES = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SMALL: Json = {"range": {"n": {"lte": 6}}}
EVERYTHING: Json = {"all": {"top_hits": {"size": 100, "_source": False}}}
trees = st.one_of(fused_trees(window=3), fused_trees(window=3), native_trees(window=3)).map(apart)


@pytest.fixture(scope="module")
def corpus(client: Elasticsearch) -> Iterator[Corpus]:
    print(f"seed {SEED} (set ES_SEMANTIC_SEED to repeat)")
    with corpus_of(client, SEED) as filled:
        yield filled


def retrieve(corpus: Corpus, target: str, tree: Json, **page: Any) -> Json:
    return es_semantic.retrieve(corpus.client, target, retriever=copy.deepcopy(tree), **page)


def found(answer: Json) -> list[tuple[Key, float]]:
    return [(key_of(hit), hit["_score"]) for hit in answer["hits"]["hits"]]


def matches(source: Json, clause: Json) -> bool:
    """Whether a document matches one of the filters that trees are made with."""
    ((kind, what),) = clause.items()
    if kind == "exists":
        return "tag" in source
    ((field, value),) = what.items()
    match kind:
        case "term":
            return bool(source.get(field) == value)
        case "range":
            return bool(source[field] <= value["lte"])
    assert kind == "match"
    return value in source[field].split()


@seed(SEED)
@EXAMPLES
@given(st.data())
def test_filters_never_leak(corpus: Corpus, data: st.DataObject) -> None:
    """Every hit, every bucket, every inner hit and every pin matches the filters of the root, wherever it is from."""
    tree, target = data.draw(trees), data.draw(st.sampled_from(corpus.targets))
    ((_, root),) = tree.items()
    clauses = data.draw(st.lists(filters, min_size=1, max_size=2))
    root["filter"] = clauses
    page = data.draw(
        st.fixed_dictionaries(
            {"size": st.integers(0, window_of(tree))},
            optional={
                "aggs": st.just(EVERYTHING),
                "collapse": st.just({"field": "n", "inner_hits": {"name": "same", "size": 50, "_source": False}}),
                "post_filter": filters,
            },
        )
    )
    if "collapse" in page:
        page.pop("post_filter", None)
    answer = retrieve(corpus, target, tree, **page)
    seen = [key for key, _ in found(answer)]
    for hit in answer["hits"]["hits"]:
        seen += [key_of(each) for each in hit.get("inner_hits", {}).get("same", {"hits": {"hits": []}})["hits"]["hits"]]
    if "aggs" in page:
        hits = answer["aggregations"]["all"]["hits"]
        seen += [key_of(hit) for hit in hits["hits"]]
    documents = corpus.of(target)
    assert all(matches(documents[key], clause) for key in seen for clause in clauses)
    if "post_filter" not in page:
        allowed = sum(all(matches(source, clause) for clause in clauses) for source in documents.values())
        assert answer["hits"]["total"]["value"] <= allowed
    for hit in answer["hits"]["hits"]:
        assert all(
            matches(documents[key_of(hit)], clause) for leg in hit.get("_legs", ()) for clause in above(tree, leg)
        )


def above(tree: Json, leg: str) -> list[Json]:
    """The filters of a leaf, by its name or path, and of what is above it."""
    for path, name, clauses in paths(tree):
        if leg in (path, name):
            return clauses
    raise AssertionError(leg)


def paths(tree: Json, path: str = "", clauses: tuple[Json, ...] = ()) -> Iterator[tuple[str, str, list[Json]]]:
    ((kind, retriever),) = tree.items()
    here = f"{path}.{kind}" if path else kind
    own = retriever.get("filter", [])
    clauses += (own,) if isinstance(own, dict) else tuple(own)
    if kind in ("standard", "knn"):
        yield here, retriever.get("_name", ""), list(clauses)
    if kind == "pinned":
        yield f"{here}.pins", retriever.get("_name", ""), list(clauses)
    if "retriever" in retriever:
        yield from paths(retriever["retriever"], f"{here}.retriever", clauses)
    for number, entry in enumerate(retriever.get("retrievers", [])):
        child, way = (entry["retriever"], ".retriever") if "retriever" in entry else (entry, "")
        yield from paths(child, f"{here}.retrievers[{number}]{way}", clauses)


@seed(SEED)
@EXAMPLES
@given(st.data())
def test_pages_fit_together(corpus: Corpus, data: st.DataObject) -> None:
    """Pages of any sizes, one after the other, are the one long page."""
    tree, target = data.draw(trees), data.draw(st.sampled_from(corpus.targets))
    more: Json = {
        **data.draw(st.sampled_from([{}, {}, {"collapse": {"field": "tag"}}, {"post_filter": SMALL}])),
        **data.draw(st.sampled_from([{}, {"execution": "client"}, {"track_total_hits": False}])),
    }
    window = window_of(tree)
    whole = found(retrieve(corpus, target, tree, size=window, **more))
    parts: list[tuple[Key, float]] = []
    start = 0
    while start < window:
        size = data.draw(st.integers(1, min(window, 7)))
        parts += found(retrieve(corpus, target, tree, size=size, from_=start, **more))
        start += size
    assert parts == whole
    assert len({key for key, _ in whole}) == len(whole)
    unsized = found(retrieve(corpus, target, tree, **more))
    assert unsized == whole


@seed(SEED)
@EXAMPLES
@given(st.data())
def test_the_order_of_retrievers_does_not_matter(corpus: Corpus, data: st.DataObject) -> None:
    """Not even for documents of equal score: their place in the index decides."""
    tree = data.draw(fused_trees().filter(lambda tree: "pinned" not in tree).map(apart))
    target = data.draw(st.sampled_from(corpus.targets))
    ((kind, root),) = tree.items()
    # Two, because from three numbers on the last digit of their sum may depend on their order, as in Elasticsearch.
    root = {**root, "retrievers": root["retrievers"][:2]}
    tree, changed = {kind: root}, {kind: {**root, "retrievers": data.draw(st.permutations(root["retrievers"]))}}
    assert found(retrieve(corpus, target, changed)) == found(retrieve(corpus, target, tree))


@seed(SEED)
@settings(EXAMPLES, max_examples=15)
@given(st.data())
def test_the_same_query_has_the_same_answer(corpus: Corpus, data: st.DataObject) -> None:
    tree, target = data.draw(trees), data.draw(st.sampled_from(corpus.targets))
    answers = [retrieve(corpus, target, tree, aggs={"n": {"terms": {"field": "n"}}}) for _ in range(5)]
    for answer in answers:
        answer.pop("took")
    assert answers == answers[:1] * 5


def rrf(*retrievers: Json, **options: Any) -> Json:
    return {"rrf": {"retrievers": list(retrievers), "rank_window_size": 20, **options}}


NOBODY: Json = {"standard": {"query": {"match": {"title": "nobody writes this"}}}}
RED: Json = {"standard": {"query": {"match": {"title": "red"}}}}
NEAREST: Json = {"knn": {"field": "vector", "query_vector": [1, 1, 1], "k": 10, "num_candidates": 50}}


def test_a_retriever_that_weighs_nothing_finds_what_comes_last(corpus: Corpus) -> None:
    heavy, light = {"retriever": RED, "weight": 1}, {"retriever": NEAREST, "weight": 0}
    for tree in (rrf(heavy, light), {"linear": {"retrievers": [heavy, light], "rank_window_size": 20}}):
        hits = retrieve(corpus, corpus.three, tree)["hits"]["hits"]
        red = ["red" in corpus.sources[key_of(hit)]["title"].split() for hit in hits]
        assert red == sorted(red, reverse=True)
        assert all(hit["_score"] > 0 for hit in hits)


def test_nothing_found(corpus: Corpus) -> None:
    for tree in (rrf(NOBODY, NOBODY), {"linear": {"retrievers": [{"retriever": NOBODY}]}}):
        answer = retrieve(corpus, corpus.three, tree, aggs={"n": {"max": {"field": "n"}}}, highlight={"fields": {}})
        assert answer["hits"] == {"total": {"value": 0, "relation": "eq"}, "max_score": None, "hits": []}
        assert answer["aggregations"] == {"n": {"value": None}}


def test_a_leg_that_finds_nothing_changes_no_order(corpus: Corpus) -> None:
    for one in (RED, NEAREST):
        alone, beside = (retrieve(corpus, corpus.three, rrf(*legs)) for legs in ([one], [one, NOBODY]))
        assert found(alone) == found(beside)


def test_no_hits_wanted(corpus: Corpus) -> None:
    answer = retrieve(corpus, corpus.three, rrf(RED, NEAREST), size=0, aggs={"n": {"max": {"field": "n"}}})
    assert (answer["hits"]["hits"], answer["hits"]["max_score"]) == ([], None)
    assert answer["hits"]["total"]["value"] > 20
    assert answer["aggregations"]["n"]["value"] == 9


def test_one_id_in_several_shards_is_several_documents(corpus: Corpus) -> None:
    keys = [key for key in corpus.of(corpus.three) if key[1] == "twin"]
    assert len(keys) > 1
    ids = {"standard": {"query": {"ids": {"values": ["twin"]}}}}
    pages: list[Json] = [{}, {"collapse": {"field": "n"}}, {"post_filter": {"match_all": {}}}]
    for page in pages:
        hits = retrieve(corpus, corpus.three, rrf(ids, ids), source=["n"], **page)["hits"]["hits"]
        if "collapse" not in page:
            assert {key_of(hit) for hit in hits} == set(keys)
        assert all(hit["_source"]["n"] == corpus.sources[key_of(hit)]["n"] for hit in hits)
    pinned = {"pinned": {"ids": ["twin"], "retriever": RED}}
    hits = retrieve(corpus, corpus.three, pinned)["hits"]["hits"]
    assert {key_of(hit) for hit in hits[: len(keys)]} == set(keys)


def test_routing_keeps_to_its_shard(corpus: Corpus) -> None:
    shards = corpus.client.search_shards(index=corpus.three, routing="x")["shards"]
    everything: Json = {"standard": {"query": {"match_all": {}}}}
    tree = rrf(everything, NEAREST, rank_window_size=100)
    hits = retrieve(corpus, corpus.three, tree, routing="x", size=100, execution="client")["hits"]["hits"]
    assert len(shards) == 1
    assert hits
    there = corpus.client.search(index=corpus.three, routing="x", size=200, source=False)["hits"]["hits"]
    assert {key_of(hit) for hit in hits} == {key_of(hit) for hit in there}


def test_an_alias_with_a_filter_shows_nothing_else(corpus: Corpus) -> None:
    alias = f"{corpus.prefix}-only-a"
    corpus.client.indices.put_alias(index=corpus.three, name=alias, filter={"term": {"tag": "a"}})
    aggs = {"tags": {"terms": {"field": "tag"}}}
    answer = retrieve(corpus, alias, rrf(RED, NEAREST), aggs=aggs, collapse={"field": "n", "inner_hits": {"name": "n"}})
    seen = [hit for hit in answer["hits"]["hits"]]
    seen += [each for hit in answer["hits"]["hits"] for each in hit["inner_hits"]["n"]["hits"]["hits"]]
    assert {hit["_source"]["tag"] for hit in seen} == {"a"}
    assert [bucket["key"] for bucket in answer["aggregations"]["tags"]["buckets"]] == ["a"]
    corpus.client.indices.delete_alias(index=corpus.three, name=alias)


def test_pins_by_the_name_of_an_alias(corpus: Corpus) -> None:
    key = next(key for key in sorted(corpus.sources) if key[0] == corpus.three and not key[2])
    docs = [{"_index": f"{corpus.prefix}-alias", "_id": key[1]}]
    first, *_ = retrieve(corpus, corpus.targets[2], {"pinned": {"docs": docs, "retriever": RED}})["hits"]["hits"]
    assert first["_id"] == key[1]
    docs = [{"_index": corpus.three, "_id": key[1]}]
    first, *_ = retrieve(corpus, corpus.targets[2], {"pinned": {"docs": docs, "retriever": RED}})["hits"]["hits"]
    assert key_of(first) == key


def test_a_pinned_document_that_filters_leave_out_stays_out(corpus: Corpus) -> None:
    """Elasticsearch would show it: its filters are for the retriever below alone. Here a filter hides what it hides."""
    outside = next(key for key, source in sorted(corpus.sources.items()) if source.get("tag") == "b" and not key[2])
    inside = next(key for key, source in sorted(corpus.sources.items()) if source.get("tag") == "a" and not key[2])
    docs = [{"_index": key[0], "_id": key[1]} for key in (outside, inside)]
    only: Json = {"filter": {"term": {"tag": "a"}}}
    for tree in (
        {"pinned": {"docs": docs, "retriever": RED, **only}},
        rrf({"pinned": {"docs": docs, "retriever": RED, "rank_window_size": 20}}, **only),
    ):
        answer = retrieve(corpus, corpus.targets[2], tree, aggs={"tags": {"terms": {"field": "tag"}}})
        hits = answer["hits"]["hits"]
        assert key_of(hits[0]) == inside
        assert {hit["_source"].get("tag") for hit in hits} == {"a"}
        assert [bucket["key"] for bucket in answer["aggregations"]["tags"]["buckets"]] == ["a"]


def test_a_data_stream_is_searched_by_its_name(client: Elasticsearch, unique: str) -> None:
    try:
        template = {"mappings": {"properties": {"title": {"type": "text"}}}, "settings": {"number_of_replicas": 0}}
        client.indices.put_index_template(
            name=f"{unique}-template", index_patterns=[f"{unique}*"], data_stream={}, template=template, priority=500
        )
        for number, title in enumerate(["red apple", "red pear", "blue apple"]):
            client.create(index=unique, id=str(number), document={"@timestamp": "2026-01-01", "title": title})
        client.indices.refresh(index=unique)
        apple = {"standard": {"query": {"match": {"title": "apple"}}}}
        hits = es_semantic.retrieve(client, unique, retriever=rrf(RED, apple))["hits"]["hits"]
        assert [hit["_id"] for hit in hits] == ["0", "1", "2"]
        assert all(hit["_index"].startswith(f".ds-{unique}") for hit in hits)
        pinned = {"pinned": {"docs": [{"_index": unique, "_id": "2"}], "retriever": RED}}
        hits = es_semantic.retrieve(client, unique, retriever=pinned)["hits"]["hits"]
        assert [hit["_id"] for hit in hits] == ["2", "0", "1"]
    finally:
        remove_everything(client, unique)


def test_thirty_two_leaves_and_long_queries(corpus: Corpus) -> None:
    numbers = [str(number) for number in range(50_000)]
    long = [{"standard": {"query": {"terms": {"tag": ["a", f"tag {leg}", *numbers]}}}} for leg in range(32)]
    hits = retrieve(corpus, corpus.one, rrf(*long))["hits"]["hits"]
    assert {corpus.sources[key_of(hit)]["tag"] for hit in hits} == {"a"}
    assert all(len(hit["_legs"]) == 32 for hit in hits)


def test_hits_without_their_documents(corpus: Corpus) -> None:
    hits = retrieve(corpus, corpus.one, rrf(RED), source=False, fields=["t*", "n"], docvalue_fields=["tag"])
    for hit in hits["hits"]["hits"]:
        assert "_source" not in hit
        assert hit["fields"]["title"] == [corpus.sources[key_of(hit)]["title"]]


def test_several_leaves_sort_by_a_field(corpus: Corpus) -> None:
    """Ties are broken by the place in the index, which a sorted search must not count otherwise."""
    by_n = {"standard": {"query": {"match_all": {}}, "sort": [{"n": "desc"}]}}
    everything: Json = {"standard": {"query": {"match_all": {}}}}
    # Equal scores everywhere: what two of the legs rank alike is ordered as the third leg alone orders it.
    for target in corpus.targets:
        alone = [key for key, _ in found(retrieve(corpus, target, rrf(everything, rank_window_size=500), size=500))]
        tree = rrf(by_n, everything, weights=None, rank_window_size=500)
        tree["rrf"].pop("weights")
        mixed = {"linear": {"rank_window_size": 500, "retrievers": [{"retriever": by_n}, {"retriever": everything}]}}
        assert [key for key, _ in found(retrieve(corpus, target, mixed, size=500))] == alone
        assert {key for key, _ in found(retrieve(corpus, target, tree, size=500))} == set(alone)


@seed(SEED)
@settings(EXAMPLES, max_examples=20)
@given(st.data())
def test_a_leaf_is_the_same_alone_and_under_rrf(corpus: Corpus, data: st.DataObject) -> None:
    leaf = data.draw(leaves().map(apart))
    target = data.draw(st.sampled_from(corpus.targets))
    alone = retrieve(corpus, target, leaf, size=20)
    fused = retrieve(corpus, target, rrf(leaf))
    assert [key for key, _ in found(fused)] == [key for key, _ in found(alone)]
