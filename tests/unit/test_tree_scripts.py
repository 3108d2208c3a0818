"""Scripts are found wherever Elasticsearch's query language lets one stand, and fields of that name are none."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree import scripts
from es_semantic.retrieval.tree.parse import parse
from es_semantic.retrieval.tree.rules import check
from tests.trees import KNN, QUERY, STANDARD, Json

SCRIPT: Json = {"source": "1"}


def rrf(*retrievers: Json, **fields: Any) -> Json:
    return {"rrf": {"retrievers": list(retrievers) or [STANDARD], **fields}}


def rescore(window: int) -> Json:
    return {"window_size": window, "query": {"rescore_query": QUERY}}


def refused(tree: Json) -> InvalidRetriever:
    with pytest.raises(InvalidRetriever) as refusal:
        check(parse(tree), size=5, allow_scripts=False)
    return refusal.value


def with_query(query: Json) -> Json:
    return {"standard": {"query": query}}


WITH_SCRIPTS = [
    ({"script": {"script": SCRIPT}}, "script"),
    ({"script_score": {"query": QUERY, "script": SCRIPT}}, "script_score"),
    ({"wrapper": {"query": "eyJzY3JpcHQiOiAxfQ=="}}, "wrapper"),
    ({"bool": {"filter": {"script": {"script": "1"}}}}, "bool.filter.script"),
    (
        {"bool": {"must": [QUERY, {"bool": {"should": [{"script": {"script": "1"}}]}}]}},
        "bool.must[1].bool.should[0].script",
    ),
    ({"bool": {"must_not": [{"script": {"script": "1"}}]}}, "bool.must_not[0].script"),
    ({"boosting": {"positive": QUERY, "negative": {"script": {"script": SCRIPT}}}}, "boosting.negative.script"),
    ({"constant_score": {"filter": {"script": {"script": SCRIPT}}}}, "constant_score.filter.script"),
    ({"dis_max": {"queries": [QUERY, {"script": {"script": SCRIPT}}]}}, "dis_max.queries[1].script"),
    ({"function_score": {"query": {"script": {"script": SCRIPT}}}}, "function_score.query.script"),
    ({"function_score": {"script_score": {"script": SCRIPT}}}, "function_score.script_score"),
    (
        {"function_score": {"functions": [{"weight": 2}, {"script_score": {"script": SCRIPT}}]}},
        "function_score.functions[1].script_score",
    ),
    (
        {"function_score": {"functions": [{"filter": {"script": {"script": SCRIPT}}, "weight": 2}]}},
        "function_score.functions[0].filter.script",
    ),
    ({"nested": {"path": "a", "query": {"script": {"script": SCRIPT}}}}, "nested.query.script"),
    (
        {"nested": {"path": "a", "query": QUERY, "inner_hits": {"script_fields": {"x": {"script": SCRIPT}}}}},
        "nested.inner_hits.script_fields.x",
    ),
    (
        {"has_child": {"type": "a", "query": QUERY, "inner_hits": {"sort": {"_script": {"script": SCRIPT}}}}},
        "has_child.inner_hits.sort._script",
    ),
    ({"has_parent": {"parent_type": "a", "query": {"script": {"script": SCRIPT}}}}, "has_parent.query.script"),
    (
        {"knn": {"field": "v", "query_vector": [1.0], "filter": [{"script": {"script": SCRIPT}}]}},
        "knn.filter[0].script",
    ),
    ({"pinned": {"ids": ["1"], "organic": {"script": {"script": SCRIPT}}}}, "pinned.organic.script"),
    ({"rule": {"organic": {"script": {"script": SCRIPT}}, "match_criteria": {}}}, "rule.organic.script"),
    (
        {"intervals": {"body": {"match": {"query": "x", "filter": {"script": {"source": "true"}}}}}},
        "intervals.body.match.filter.script",
    ),
    (
        {"intervals": {"script": {"all_of": {"intervals": [{"any_of": {"filter": {"script": SCRIPT}}}]}}}},
        "intervals.script.all_of.intervals[0].any_of.filter.script",
    ),
    (
        {"terms_set": {"script": {"terms": ["a"], "minimum_should_match_script": {"source": "1"}}}},
        "terms_set.script.minimum_should_match_script",
    ),
    ({"a_plugin_s": {"deep": [{"script": {"id": "stored"}}]}}, "a_plugin_s.deep[0].script"),
    ({"a_plugin_s": {"score_script": "1"}}, "a_plugin_s.score_script"),
]


@pytest.mark.parametrize(("query", "path"), WITH_SCRIPTS)
def test_scripts_in_queries_are_refused(query: Json, path: str) -> None:
    for tree, start in (
        (with_query(query), "standard.query."),
        ({"standard": {"filter": query}}, "standard.filter."),
        (rrf(KNN, with_query(query)), "rrf.retrievers[1].standard.query."),
        (rrf(filter=[QUERY, query]), "rrf.filter[1]."),
        (
            {"rescorer": {"retriever": STANDARD, "rescore": [rescore(5), {"query": {"rescore_query": query}}]}},
            "rescorer.rescore[1].query.rescore_query.",
        ),
        ({"standard": {"sort": {"n": {"nested": {"path": "a", "filter": query}}}}}, "standard.sort.n.nested.filter."),
    ):
        check(parse(tree), size=5)
        error = refused(tree)
        assert error.path == start + path
        assert error.type == "illegal_argument_exception"
        assert error.reason in ("cannot execute [inline] scripts", "cannot execute [stored] scripts")


OTHER_SCRIPTS = [
    ({"standard": {"sort": [{"_script": {"type": "number", "script": SCRIPT}}]}}, "standard.sort[0]._script"),
    (
        {
            "standard": {
                "sort": {
                    "_geo_distance": {
                        "location": [0, 0],
                        "nested": {"path": "a", "filter": {"script": {"script": "1"}}},
                    }
                }
            }
        },
        "standard.sort._geo_distance.nested.filter.script",
    ),
    (
        {
            "standard": {
                "collapse": {"field": "a", "inner_hits": [{"name": "x"}, {"sort": [{"_script": {"script": "1"}}]}]}
            }
        },
        "standard.collapse.inner_hits[1].sort[0]._script",
    ),
    (
        {
            "standard": {
                "collapse": {
                    "field": "a",
                    "inner_hits": {"highlight": {"fields": {"t": {"highlight_query": {"script": {"script": "1"}}}}}},
                }
            }
        },
        "standard.collapse.inner_hits.highlight.fields.t.highlight_query.script",
    ),
    (
        {"rescorer": {"retriever": STANDARD, "rescore": {"script": {"script": {"id": "mine"}}}}},
        "rescorer.rescore.script",
    ),
]


@pytest.mark.parametrize(("tree", "path"), OTHER_SCRIPTS)
def test_other_scripts_are_refused(tree: Json, path: str) -> None:
    check(parse(tree), size=5)
    assert refused(tree).path == path


def test_it_is_told_whether_a_script_is_stored() -> None:
    inline, stored = ({"script": {"script": script}} for script in ("1", {"id": "mine"}))
    assert refused(with_query(inline)).reason == "cannot execute [inline] scripts"
    assert refused(with_query(stored)).reason == "cannot execute [stored] scripts"


NO_SCRIPTS = [
    {"term": {"script": "x"}},
    {"term": {"script": {"value": "x"}}},
    {"match": {"script": {"query": "x"}}},
    {"match": {"_script": "x"}},
    {"terms": {"script_score": ["a"]}},
    {"terms": {"script": {"index": "a", "id": "1", "path": "b"}}},
    {"range": {"script_fields": {"gte": 1}}},
    {"exists": {"field": "script"}},
    {"query_string": {"query": "script:x"}},
    {"intervals": {"script": {"match": {"query": "script"}}}},
    {"terms_set": {"script": {"terms": ["script"], "minimum_should_match_field": "n"}}},
    {"function_score": {"query": {"match_all": {}}, "gauss": {"script": {"origin": 1, "scale": 2}}}},
    {"function_score": {"functions": [{"linear": {"script": {"origin": 1, "scale": 2}}}]}},
    {"bool": {"filter": [{"term": {"script": "x"}}], "must": {"match": {"script": "x"}}}},
    {"span_near": {"clauses": [{"span_term": {"script": "x"}}], "slop": 1}},
    {"more_like_this": {"fields": ["script"], "like": {"doc": {"script": {"source": "x"}}}}},
    {"a_plugin_s": {"script": {"value": 1}}},
]


@pytest.mark.parametrize("query", NO_SCRIPTS)
def test_a_field_of_that_name_is_no_script(query: Json) -> None:
    for tree in (with_query(query), rrf(filter=query), {"standard": {"sort": [{"script": "asc"}, "script_score"]}}):
        check(parse(tree), size=5, allow_scripts=False)


BODIES = [
    ({"script_fields": {"x": {"script": "1"}}}, "body.script_fields.x"),
    ({"runtime_mappings": {"x": {"type": "long", "script": {"source": "emit(1)"}}}}, "body.runtime_mappings.x.script"),
    ({"aggs": {"x": {"scripted_metric": {"map_script": "1"}}}}, "body.aggs.x.scripted_metric"),
    (
        {"aggs": {"x": {"terms": {"field": "a"}, "aggs": {"y": {"avg": {"script": "1"}}}}}},
        "body.aggs.x.aggs.y.avg.script",
    ),
    (
        {"aggs": {"x": {"filters": {"filters": {"a": {"script": {"script": "1"}}}}}}},
        "body.aggs.x.filters.filters.a.script",
    ),
    (
        {"aggregations": {"x": {"bucket_script": {"buckets_path": {}, "script": "1"}}}},
        "body.aggregations.x.bucket_script",
    ),
    ({"aggs": {"x": {"top_hits": {"script_fields": {"y": {"script": "1"}}}}}}, "body.aggs.x.top_hits.script_fields.y"),
    ({"aggs": {"x": {"filter": {"script": {"script": "1"}}}}}, "body.aggs.x.filter.script"),
    ({"sort": [{"_script": {"script": "1"}}]}, "body.sort[0]._script"),
    ({"post_filter": {"script": {"script": "1"}}}, "body.post_filter.script"),
    ({"knn": {"field": "v", "filter": {"script": {"script": "1"}}}}, "body.knn.filter.script"),
    (
        {"collapse": {"field": "a", "inner_hits": {"script_fields": {"x": {}}}}},
        "body.collapse.inner_hits.script_fields.x",
    ),
    ({"rescore": {"script": {"script": "1"}}}, "body.rescore.script"),
    (
        {"suggest": {"x": {"phrase": {"field": "a", "collate": {"query": {"source": "{}"}}}}}},
        "body.suggest.x.phrase.collate",
    ),
    (
        {"highlight": {"fields": [{"t": {"highlight_query": {"script": {"script": "1"}}}}]}},
        "body.highlight.fields.t.highlight_query.script",
    ),
]


@pytest.mark.parametrize(("body", "path"), BODIES)
def test_scripts_in_the_rest_of_a_request(body: Json, path: str) -> None:
    assert [script.path for script in scripts.scripts_in(scripts.body, body, "body")] == [path]


def test_a_request_without_scripts() -> None:
    body = {
        "aggs": {
            "script": {"terms": {"field": "script"}},
            "x": {"composite": {"sources": [{"script": {"terms": {}}}]}},
        },
        "runtime_mappings": {"script": {"type": "long"}},
        "sort": ["script"],
        "highlight": {"fields": {"script": {}}},
        "script_fields": {},
        "_source": ["script"],
    }
    assert list(scripts.scripts_in(scripts.body, body, "body")) == []


def test_very_deep_queries_are_looked_into_without_recursion() -> None:
    deep: Json = {"script": {"script": "1"}}
    for _ in range(20_000):
        deep = {"bool": {"must": [deep]}}
    assert len(list(scripts.scripts_in(scripts.query, deep, "query"))) == 1
