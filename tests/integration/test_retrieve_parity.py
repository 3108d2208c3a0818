"""What is ranked here is what Elasticsearch answers, wherever it runs the same tree by itself on every licence.

Every response is compared as a whole. What differs, and why:

* ``_legs`` is our own; ``took``, ``_shards`` and ``terminated_early`` tell of other searches.
* An explanation has the same value in other words: ours says what each retriever did. ``_shard`` and ``_node`` are not
  told.
* Names (``matched_queries``) are more here: Elasticsearch loses those of nested compound retrievers, and those of
  queries that are the whole of a leaf.
* Elasticsearch leaves out highlights, inner hits and the names of leaves where it computes neither totals nor
  aggregations; so it does, and counts less, with ``explain`` of nested compound retrievers.
* Where exactly as many documents are ranked as shall be counted, Elasticsearch says that there are no others. There may
  be.
* Sorted inner hits have one sort value more there, of the point in time that it uses, and inner hits without sequence
  numbers say now and then that theirs is -2.
* Where Elasticsearch counts up to a limit only, it loses ranked documents that score nearly 0 to others that score 0.
* A ``min_score`` of the request is overwritten there by one of a leaf.

What Elasticsearch accepts and does not heed is at the end of this file; ``auto`` then ranks here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import es_semantic
from es_semantic.errors import InvalidQuery, InvalidRetriever
from tests.retrieval_corpus import Corpus, corpus_of, key_of
from tests.retrieval_reference import Reference
from tests.retriever_trees import SEED, apart, fused_trees, leaves, native_trees, pages, window_of

Json = dict[str, Any]

EXAMPLES = settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def corpus(client: Elasticsearch) -> Iterator[Corpus]:
    print(f"seed {SEED} (set ES_SEMANTIC_SEED to repeat)")
    with corpus_of(client, SEED) as filled:
        yield filled


@seed(SEED)
@EXAMPLES
@given(st.data())
def test_compound_retrievers(corpus: Corpus, data: st.DataObject) -> None:
    tree = apart(data.draw(native_trees()))
    page = data.draw(pages(window_of(tree)))
    target = data.draw(st.sampled_from(corpus.targets))
    if "min_score" in page and "min_score" in str(tree):
        page.pop("min_score")
    if page.get("explain") and nested(tree):
        for name in ("collapse", "post_filter", "script_fields"):
            page.pop(name, None)
    native, ours = (ask(corpus, target, tree, page, execution) for execution in ("native", "client"))
    if isinstance(native, dict) and isinstance(ours, dict):
        reconcile(native, ours, tree, page)
    assert ours == native


@seed(SEED)
@settings(EXAMPLES, max_examples=40)
@given(st.data())
def test_a_single_leaf_is_elasticsearch_s_own_search(corpus: Corpus, data: st.DataObject) -> None:
    tree, page = apart(data.draw(leaves(sorted_too=True))), data.draw(pages(20))
    target = data.draw(st.sampled_from(corpus.targets))
    if "min_score" in page and "min_score" in str(tree):
        page.pop("min_score")
    theirs, *ours = [ask(corpus, target, tree, page, execution) for execution in (None, "native", "client", "auto")]
    for answer in ours:
        if isinstance(theirs, dict) and isinstance(answer, dict):
            for own, hit in zip(theirs["hits"]["hits"], answer["hits"]["hits"], strict=True):
                # With a filter beside it Elasticsearch loses a leaf's name.
                assert set(own.get("matched_queries", ())) <= set(hit.pop("matched_queries", ()))
    for each in theirs["hits"]["hits"] if isinstance(theirs, dict) else ():
        each.pop("matched_queries", None)
    assert ours == [theirs] * 3


def ask(corpus: Corpus, target: str, tree: Json, page: Json, execution: Any) -> Any:
    """The answer without what differs between any two searches, or the kind of a refusal; None is the plain client."""
    tree, page = copy.deepcopy(tree), copy.deepcopy(page)
    try:
        if execution is None:
            answer = corpus.client.perform_request(
                "POST",
                f"/{target}/_search",
                headers={"accept": "application/json", "content-type": "application/json"},
                body={"retriever": tree, **{RENAMED.get(name, name): value for name, value in page.items()}},
            ).body
        else:
            answer = es_semantic.retrieve(corpus.client, target, retriever=tree, execution=execution, **page)
    except InvalidRetriever:
        return "refused"
    except Exception as error:
        if getattr(error, "status_code", None) == 400:
            return "refused"
        raise
    return {name: value for name, value in answer.items() if name not in ("took", "_shards", "terminated_early")}


RENAMED = {"from_": "from", "source": "_source"}


def reconcile(native: Json, ours: Json, tree: Json, page: Json) -> None:
    """Take away what differs for a reason that the head of this file gives, and make sure that it differs only so."""
    total = page.get("track_total_hits", True)
    if total not in (True, False):
        cut_off(native, ours)
    explained = bool(page.get("explain"))
    ranked_alone = explained and nested(tree)
    uncounted = (total is False or total == 3) and "aggs" not in page and not explained
    for theirs, hit in zip(native["hits"]["hits"], ours["hits"]["hits"], strict=True):
        assert set(theirs.pop("matched_queries", [])) <= set(hit.pop("matched_queries", []))
        hit.pop("_legs")
        if explained:
            assert theirs.pop("_shard")
            assert theirs.pop("_node")
            assert theirs.pop("_explanation")["value"] == hit.pop("_explanation")["value"]
        if uncounted or ranked_alone:
            for name in {"highlight"} | ({"inner_hits"} - page.keys() if "collapse" not in page else set()):
                if name not in theirs:
                    hit.pop(name, None)
    if total == 3 and "hits" in native and native["hits"]["total"] != ours["hits"]["total"]:
        assert native["hits"].pop("total") == {"value": 3, "relation": "eq"}
        assert ours["hits"].pop("total") == {"value": 3, "relation": "gte"}
    if ranked_alone:
        for answer in (native, ours):
            answer["hits"].pop("total", None)
            answer.pop("aggregations", None)
    for answer in (native, ours):
        best = answer.get("aggregations", {}).get("best", {})
        if best.get("value") is not None and best["value"] < 1e-29:
            # A script sees our scores near 0 as other ones.
            best["value"] = 0
        for part in (answer.get("aggregations"), [hit.get("inner_hits") for hit in answer["hits"]["hits"]]):
            without(part, ("matched_queries", "_seq_no", "_primary_term"))


def cut_off(native: Json, ours: Json) -> None:
    """Take away the hits from the first one that scores nearly 0; they are there."""
    hits = [answer["hits"]["hits"] for answer in (native, ours)]
    assert all(hit["_score"] >= 0 for hit in hits[1])
    assert len(hits[0]) == len(hits[1])
    least = [next((at for at, hit in enumerate(each) if hit["_score"] < 1e-40), len(each)) for each in hits]
    for each in hits:
        del each[min(least) :]


def without(value: Any, names: tuple[str, ...]) -> None:
    """Take these keys away wherever they are, and of several sort values all but the first."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        without(each, names)
    if isinstance(value, dict):
        for name in names:
            value.pop(name, None)
        if isinstance(value.get("sort"), list):
            value["sort"] = value["sort"][:1]


def nested(tree: Json) -> bool:
    """Whether a compound retriever is over another one."""
    ((_, retriever),) = tree.items()
    return "retriever" in next(iter(retriever["retriever"].values()))


@seed(SEED)
@settings(EXAMPLES, max_examples=100)
@given(st.data())
def test_fusion_and_pins_are_as_documented(corpus: Corpus, data: st.DataObject) -> None:
    """No node of ours runs these by itself, so they are compared with a definition."""
    tree = apart(data.draw(fused_trees()))
    target, window = data.draw(st.sampled_from(corpus.targets)), window_of(tree)
    start, size = data.draw(st.integers(0, 3)), data.draw(st.integers(0, window))
    aggs = {"tags": {"terms": {"field": "tag", "size": 20}}}
    answer = es_semantic.retrieve(corpus.client, target, retriever=tree, size=size, from_=start, aggs=aggs)
    reference = Reference(corpus, target)
    ranking = reference.rank(tree, window)
    hits = answer["hits"]["hits"]
    wanted = ranking[start : start + size]
    assert [key_of(hit) for hit in hits] == [key for key, _ in wanted]
    assert [hit["_score"] for hit in hits] == pytest.approx([score for _, score in wanted], rel=2e-6)
    for hit in hits:
        places = {name: leg[key_of(hit)] for name, leg in reference.legs.items() if key_of(hit) in leg}
        legs = {name: (place["rank"], place["score"]) for name, place in hit["_legs"].items()}
        assert {name: leg for name, leg in legs.items() if name in reference.legs} == places
    everything = {key for key, _ in ranking}
    if "min_score" not in str(tree):
        everything |= reference.matched(tree, window)
    assert answer["hits"]["total"] == {"value": len(everything), "relation": "eq"}
    buckets = answer["aggregations"]["tags"]["buckets"]
    assert {bucket["key"]: bucket["doc_count"] for bucket in buckets} == reference.tags(everything)


MATCH_ALL: Json = {"standard": {"query": {"match_all": {}}}}
NEAREST: Json = {"knn": {"field": "vector", "query_vector": [1, 1, 1], "k": 20, "num_candidates": 50}}
GREEN: Json = {"match": {"body": "green"}}


def over(retriever: Json, **more: Any) -> Json:
    rescore = {"window_size": 20, "query": {"rescore_query": {"match": {"title": "apple"}}}}
    return {"rescorer": {"retriever": retriever, "rescore": rescore, **more}}


def diverse(retriever: Json, **more: Any) -> Json:
    options = {"type": "mmr", "field": "vector", "lambda": 0.5, "rank_window_size": 20, "size": 20}
    return {"diversify": {"retriever": retriever, **options, **more}}


UNHEEDED = {
    "diversify.filter": diverse(MATCH_ALL, filter=GREEN),
    "rescorer.retriever.diversify.filter": over(diverse(MATCH_ALL, filter=GREEN)),
    "knn.min_score": {"knn": {**NEAREST["knn"], "min_score": 0.4}},
    "rescorer.retriever.knn.min_score": over({"knn": {**NEAREST["knn"], "min_score": 0.4}}),
    "rescorer.min_score": over(MATCH_ALL, min_score=2),
    "diversify.min_score": diverse(NEAREST, min_score=0.4),
}


def heeded(where: str, hits: list[Json]) -> bool:
    if where.endswith("filter"):
        return all("green" in hit["_source"]["body"] for hit in hits)
    return all(hit["_score"] >= (2 if where == "rescorer.min_score" else 0.4) for hit in hits)


@pytest.mark.parametrize("where", UNHEEDED)
def test_what_elasticsearch_does_not_heed_is_heeded_here(corpus: Corpus, where: str) -> None:
    tree = UNHEEDED[where]
    theirs = corpus.client.search(index=corpus.three, retriever=tree, size=20)["hits"]["hits"]
    assert not heeded(where, theirs), "Elasticsearch heeds it now: no need to rank here"
    for execution in ("auto", "client"):
        hits = es_semantic.retrieve(corpus.client, corpus.three, retriever=tree, size=20, execution=execution)
        assert heeded(where, hits["hits"]["hits"])
        assert hits["hits"]["hits"]
    if where != "knn.min_score":
        with pytest.raises(InvalidQuery, match="only es-semantic can run"):
            es_semantic.retrieve(corpus.client, corpus.three, retriever=tree, execution="native")


def test_fields_that_exist_for_a_search_alone_are_known_to_leaves(corpus: Corpus) -> None:
    """To the leaves of Elasticsearch's compound retrievers they are not."""
    twice = {"type": "long", "script": "emit(doc['n'].value * 2)"}
    tree = over({"standard": {"query": {"range": {"twice": {"gte": 10}}}}})
    request: Json = {"retriever": tree, "runtime_mappings": {"twice": twice}, "fields": ["twice"], "size": 20}
    assert corpus.client.search(index=corpus.three, **request)["hits"]["hits"] == []
    hits = es_semantic.retrieve(corpus.client, corpus.three, execution="client", **request)["hits"]["hits"]
    assert len(hits) == 20
    assert all(hit["fields"]["twice"][0] >= 10 for hit in hits)


def test_documents_that_score_nothing_are_not_lost(corpus: Corpus) -> None:
    """Whether all is counted or not: to Elasticsearch that makes a difference."""
    nothing = {"window_size": 20, "query": {"rescore_query": {"match_none": {}}, "query_weight": 0}}
    tree = {"rescorer": {"retriever": {"standard": {"query": {"match": {"body": "green"}}}}, "rescore": nothing}}
    pages: list[Json] = [{}, {"post_filter": {"match_all": {}}}, {"collapse": {"field": "n"}}]
    for more in pages:
        answers = []
        for limit in (True, 21, 40, False):
            page: Json = {"retriever": tree, "size": 20, "track_total_hits": limit, "source": False, **more}
            hits = es_semantic.retrieve(corpus.client, corpus.one, execution="client", **page)["hits"]["hits"]
            answers.append([(key_of(hit), hit["_score"]) for hit in hits if hit["_score"] > 0])
        assert answers[0]
        assert all(answer == answers[0] for answer in answers)
        assert {score for _, score in answers[0]} == {1.4e-45}


def test_boosts_of_indices_change_no_compound_retriever(corpus: Corpus) -> None:
    request: Json = {"retriever": over(MATCH_ALL), "indices_boost": [{corpus.one: 5}], "source": False}
    theirs = corpus.client.search(index=corpus.targets[2], **request)["hits"]
    ours = es_semantic.retrieve(corpus.client, corpus.targets[2], execution="client", **request)["hits"]
    assert [(key_of(hit), hit["_score"]) for hit in ours["hits"]] == [
        (key_of(hit), hit["_score"]) for hit in theirs["hits"]
    ]


@pytest.mark.parametrize("more", [{}, {"post_filter": GREEN}, {"aggs": {"n": {"max": {"field": "n"}}}}])
def test_hits_without_ids_and_sources(corpus: Corpus, more: Json) -> None:
    page = {"stored_fields": "_none_", "size": 5, **more}
    native, ours = (ask(corpus, corpus.three, over(NEAREST), page, each) for each in ("native", "client"))
    for hit in ours["hits"]["hits"]:
        assert set(hit) == {"_index", "_score", "_legs"}
        hit.pop("_legs")
    assert ours == native
