"""The examples of Elastic's documentation, "Retrievers examples" and the page of each retriever, over a garden.

Numbers are computed by hand from the documented formulas; what a leaf finds is asked for by an ordinary search.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.nodes import remove_everything

Json = dict[str, Any]

PROPERTIES: Json = {
    "vector": {
        "type": "dense_vector",
        "dims": 3,
        "similarity": "l2_norm",
        "index": True,
        "index_options": {"type": "flat"},
    },
    "text": {"type": "text"},
    "year": {"type": "integer"},
    "topic": {"type": "keyword"},
    "planted": {"type": "date"},
}
DOCUMENTS: dict[str, Json] = {
    "1": {
        "vector": [1, 0, 0],
        "text": "An old oak gives cool shade, and its roots hold the soil of a whole slope.",
        "year": 2024,
        "topic": ["trees", "shade", "soil"],
        "planted": "2021-03-01",
    },
    "2": {
        "vector": [1, 0, 0.5],
        "text": "Raised beds warm early; cool shade at noon keeps lettuce from bolting in raised beds.",
        "year": 2023,
        "topic": ["shade", "vegetables"],
        "planted": "2022-03-01",
    },
    "3": {
        "vector": [1, 1, 0],
        "text": "Compost feeds worms, and worms feed everything else that grows.",
        "year": 2024,
        "topic": ["shade", "compost"],
        "planted": "2023-03-01",
    },
    "4": {
        "vector": [0, 2, 0],
        "text": "A wall that faces south ripens figs where winters are mild.",
        "year": 2023,
        "topic": ["shade", "fruit", "walls"],
        "planted": "2024-03-01",
    },
    "5": {
        "vector": [0, 0, 3],
        "text": "Rainwater is soft: azaleas and ferns thank you for a barrel of it.",
        "year": 2024,
        "topic": ["water", "ferns", "fruit"],
        "planted": "2025-03-01",
    },
}
OAK_OR_BEDS: Json = {"query_string": {"query": "(old oak) OR (raised beds)", "default_field": "text"}}
WORDS: Json = {"standard": {"query": OAK_OR_BEDS}}
NEAREST: Json = {"knn": {"field": "vector", "query_vector": [1, 0, 0], "k": 3, "num_candidates": 5}}
BOTH: Json = {"rrf": {"retrievers": [WORDS, NEAREST], "rank_window_size": 10, "rank_constant": 1}}


@pytest.fixture(scope="module")
def garden(client: Elasticsearch) -> Iterator[str]:
    """Five documents in one shard, in the order of their ids. Lucene's BM25 ranks 2 before 1 for the words."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    client.indices.create(index=name, mappings={"properties": PROPERTIES}, settings=settings)
    for doc_id, document in DOCUMENTS.items():
        client.index(index=name, id=doc_id, document=document, refresh=True)
    yield name
    remove_everything(client, name)


def scores(answer: Json) -> dict[str, float]:
    """The score by id, in the order of the hits."""
    return {hit["_id"]: hit["_score"] for hit in answer["hits"]["hits"]}


def near(distance_squared: float) -> float:
    """The score of a vector by ``l2_norm``."""
    return 1 / (1 + distance_squared)


@pytest.fixture(scope="module")
def by_words(client: Elasticsearch, garden: str) -> dict[str, float]:
    """What an ordinary search scores."""
    found = client.search(index=garden, query=OAK_OR_BEDS)["hits"]["hits"]
    return {hit["_id"]: hit["_score"] for hit in found}


def test_a_query_and_a_knn_search_combined_with_rrf(
    client: Elasticsearch, garden: str, by_words: dict[str, float]
) -> None:
    assert list(by_words) == ["2", "1"]
    answer = es_semantic.retrieve(client, garden, retriever=BOTH, source=False)
    # 1/(1+2) + 1/(1+1) and the other way round: equal, so the document that stands first in the index comes first.
    assert scores(answer) == {"1": 0.8333334, "2": 0.8333334, "3": 0.25}
    assert answer["hits"]["max_score"] == 0.8333334
    assert answer["hits"]["total"] == {"value": 3, "relation": "eq"}
    legs = [hit["_legs"] for hit in answer["hits"]["hits"]]
    assert [{name: place["rank"] for name, place in each.items()} for each in legs] == [
        {"rrf.retrievers[0].standard": 2, "rrf.retrievers[1].knn": 1},
        {"rrf.retrievers[0].standard": 1, "rrf.retrievers[1].knn": 2},
        {"rrf.retrievers[1].knn": 3},
    ]


def test_weights_of_retrievers(client: Elasticsearch, garden: str) -> None:
    weighted = {"rrf": {**BOTH["rrf"], "retrievers": [{"retriever": WORDS, "weight": 3}, {"retriever": NEAREST}]}}
    found = scores(es_semantic.retrieve(client, garden, retriever=weighted))
    assert found == pytest.approx({"2": 3 / 2 + 1 / 3, "1": 3 / 3 + 1 / 2, "3": 1 / 4}, rel=1e-6)
    assert list(found) == ["2", "1", "3"]


def test_a_filter_goes_down_to_every_retriever(client: Elasticsearch, garden: str) -> None:
    filtered = {"rrf": {**BOTH["rrf"], "filter": {"term": {"year": 2023}}}}
    answer = es_semantic.retrieve(client, garden, retriever=filtered)
    # The third nearest of all is from another year; 4 is found because filters apply while neighbours are searched.
    assert scores(answer) == {"2": 1.0, "4": 0.33333334}


def test_a_linear_combination(client: Elasticsearch, garden: str, by_words: dict[str, float]) -> None:
    entries = [
        {"retriever": WORDS, "weight": 2, "normalizer": "minmax"},
        {"retriever": NEAREST, "weight": 1.5, "normalizer": "minmax"},
    ]
    found = scores(es_semantic.retrieve(client, garden, retriever={"linear": {"retrievers": entries}}))
    # kNN scores 1, 0.8 and 0.5: between least and best 1, 0.6 and 0.
    assert found == pytest.approx({"2": 2 * 1 + 1.5 * 0.6, "1": 2 * 0 + 1.5 * 1, "3": 0}, abs=1e-6)

    entries = [{"retriever": WORDS, "normalizer": "l2_norm"}, {"retriever": NEAREST, "weight": 10}]
    found = scores(es_semantic.retrieve(client, garden, retriever={"linear": {"retrievers": entries}}))
    norm = math.hypot(*by_words.values())
    expected = {"1": by_words["1"] / norm + 10, "2": by_words["2"] / norm + 8, "3": 5}
    assert found == pytest.approx(expected, rel=1e-6)
    assert list(found) == ["1", "2", "3"]

    lowest = {"linear": {"retrievers": entries, "min_score": 5}}
    assert list(scores(es_semantic.retrieve(client, garden, retriever=lowest))) == ["1", "2", "3"]
    lowest["linear"]["min_score"] = 5.01
    answer = es_semantic.retrieve(client, garden, retriever=lowest)
    assert list(scores(answer)) == ["1", "2"]
    assert answer["hits"]["total"]["value"] == 2


def test_a_retriever_that_sorts_by_a_field(client: Elasticsearch, garden: str) -> None:
    """Scores made of a date, in a linear combination."""
    days = {"script_score": {"script": {"source": "doc['planted'].value.year - 2020"}}}
    dated = {
        "standard": {
            "query": {
                "function_score": {
                    "query": {"term": {"topic": "shade"}},
                    "functions": [days],
                    "boost_mode": "replace",
                }
            },
            "sort": {"planted": {"order": "asc"}},
        }
    }
    entries = [{"retriever": dated, "weight": 2, "normalizer": "minmax"}, {"retriever": NEAREST, "weight": 1.5}]
    found = scores(es_semantic.retrieve(client, garden, retriever={"linear": {"retrievers": entries}}))
    expected = {"3": 2 * 2 / 3 + 1.5 * near(1), "4": 2, "2": 2 / 3 + 1.5 * near(0.25), "1": 1.5}
    assert found == pytest.approx(expected, rel=1e-6)
    assert list(found) == ["3", "4", "2", "1"]


def test_results_grouped_by_year(client: Elasticsearch, garden: str) -> None:
    collapse = {"field": "year", "inner_hits": {"name": "of that year", "_source": ["year"]}}
    answer = es_semantic.retrieve(client, garden, retriever=BOTH, collapse=collapse, source=False)
    assert scores(answer) == {"1": 0.8333334, "2": 0.8333334}
    assert [hit["fields"] for hit in answer["hits"]["hits"]] == [{"year": [2024]}, {"year": [2023]}]
    groups = [hit["inner_hits"]["of that year"]["hits"] for hit in answer["hits"]["hits"]]
    assert [group["total"]["value"] for group in groups] == [2, 1]
    assert [(hit["_id"], hit["_score"], hit["_source"]) for hit in groups[0]["hits"]] == [
        ("1", 0.8333334, {"year": 2024}),
        ("3", 0.25, {"year": 2024}),
    ]


def test_highlights_of_what_the_words_matched(client: Elasticsearch, garden: str) -> None:
    highlight: Json = {"fields": {"text": {"fragment_size": 150, "number_of_fragments": 3}}}
    hits = es_semantic.retrieve(client, garden, retriever=BOTH, highlight=highlight, source=False)["hits"]["hits"]
    assert hits[0]["highlight"]["text"][0].startswith("An <em>old</em> <em>oak</em> gives cool shade")
    assert hits[1]["highlight"]["text"][0].startswith("<em>Raised</em> <em>beds</em> warm early")
    assert "highlight" not in hits[2]
    highlight["fields"]["text"]["highlight_query"] = {"match": {"text": "worms"}}
    hits = es_semantic.retrieve(client, garden, retriever=BOTH, highlight=highlight, source=False)["hits"]["hits"]
    assert [hit["_id"] for hit in hits if "highlight" in hit] == ["3"]


def test_inner_hits_of_nested_retrievers(client: Elasticsearch, garden: str) -> None:
    name = f"{garden}-nested"
    vectors = {**PROPERTIES["vector"], "dims": 2}
    parts = {"type": "nested", "properties": {"paragraph": {"type": "keyword"}, "vector": vectors}}
    client.indices.create(
        index=name,
        mappings={"properties": {"parts": parts, "topic": {"type": "keyword"}}},
        settings={"number_of_shards": 1, "number_of_replicas": 0},
    )
    paragraphs = [{"paragraph": "1a", "vector": [1, 0]}, {"paragraph": "1b", "vector": [0, 3]}]
    client.index(index=name, id="1", document={"parts": paragraphs, "topic": ["trees"]})
    client.index(index=name, id="2", document={"parts": [{"paragraph": "2a", "vector": [0, 1]}], "topic": ["water"]})
    client.index(index=name, id="3", document={"topic": ["trees"]}, refresh=True)
    knn = {"field": "parts.vector", "query_vector": [0, 0], "k": 10}
    inner_hits = {"name": "near", "_source": False, "fields": ["parts.paragraph"]}
    nested = {"path": "parts", "inner_hits": inner_hits, "query": {"knn": knn}, "score_mode": "max"}
    topics = {"standard": {"query": {"term": {"topic": "trees"}}}}
    tree = {"rrf": {"retrievers": [{"standard": {"query": {"nested": nested}}}, topics], "rank_constant": 1}}
    hits = es_semantic.retrieve(client, name, retriever=tree, source=["topic"])["hits"]["hits"]
    # 1 and 2 are as near: 1 stands first in the index. It is first of both lists, 2 and 3 are second of one each.
    assert [(hit["_id"], hit["_score"]) for hit in hits] == [("1", 1.0), ("2", 0.33333334), ("3", 0.33333334)]
    inner = [hit["inner_hits"]["near"]["hits"] for hit in hits]
    assert [[each["fields"]["parts"][0]["paragraph"] for each in hits["hits"]] for hits in inner] == [
        [["1a"], ["1b"]],
        [["2a"]],
        [],
    ]
    assert inner[0]["hits"][1]["_score"] == pytest.approx(near(9))


def test_aggregations_over_all_that_the_retrievers_match(client: Elasticsearch, garden: str) -> None:
    """More than the window: that is about ranking."""
    young = {"standard": {"query": {"range": {"year": {"gt": 2023}}}}}
    fruit = {"standard": {"query": {"term": {"topic": "fruit"}}}}
    tree = {"rrf": {"retrievers": [young, fruit], "rank_window_size": 2, "rank_constant": 1}}
    aggs = {"topics": {"terms": {"field": "topic", "size": 20}}}
    answer = es_semantic.retrieve(client, garden, retriever=tree, aggs=aggs, source=False)
    # The year gives everybody the same score: the index decides.
    assert scores(answer) == {"1": 0.5, "4": 0.5}
    assert answer["hits"]["total"]["value"] == 4
    assert {each["key"]: each["doc_count"] for each in answer["aggregations"]["topics"]["buckets"]} == {
        **{"shade": 3, "fruit": 2, "compost": 1, "ferns": 1, "soil": 1, "trees": 1, "walls": 1, "water": 1}
    }
    answer = es_semantic.retrieve(client, garden, retriever=tree, aggs=aggs, size=0)
    assert answer["hits"]["hits"] == []
    assert answer["hits"]["max_score"] is None
    assert len(answer["aggregations"]["topics"]["buckets"]) == 8


def test_explain_of_nested_retrievers(client: Elasticsearch, garden: str) -> None:
    fruit = {"standard": {"query": {"term": {"topic": "fruit"}}, "_name": "fruit"}}
    tree = {"rrf": {"retrievers": [fruit, BOTH], "rank_constant": 1}}
    (hit,) = es_semantic.retrieve(client, garden, retriever=tree, size=1, explain=True)["hits"]["hits"]
    told = hit["_explanation"]
    assert (hit["_id"], hit["_score"], told["value"]) == ("1", 0.5, 0.5)
    assert told["description"].startswith("rrf score: [0.5] computed for initial ranks [0, 1] with rankConstant: [1]")
    missing, inner = told["details"]
    assert missing["description"] == "rrf score: [0], result not found in query at index [0] [fruit]"
    assert inner["description"].startswith("rrf score: [0.5], for rank [1] in query at index [1] computed as")
    (inner,) = inner["details"]
    assert inner["description"].startswith("rrf score: [0.8333334] computed for initial ranks [2, 1]")
    words, nearest = inner["details"]
    assert words["value"] == 2
    assert words["details"][0]["description"] == "sum of:"
    assert "weight(text:oak" in str(words["details"])
    assert nearest["details"][0]["value"] == 1.0


def test_explain_of_a_linear_combination(client: Elasticsearch, garden: str) -> None:
    entries = [{"retriever": WORDS, "weight": 2, "normalizer": "minmax"}, {"retriever": NEAREST, "weight": 1.5}]
    tree = {"linear": {"retrievers": entries}}
    hits = es_semantic.retrieve(client, garden, retriever=tree, explain=True)["hits"]["hits"]
    assert [hit["_explanation"]["value"] for hit in hits] == [hit["_score"] for hit in hits]
    words, nearest = hits[0]["_explanation"]["details"]
    assert words["description"].startswith("weighted score: [2.0] in query at index [0] computed as [2 * 1.0]")
    assert "score normalizer [minmax]" in words["description"]
    assert nearest["value"] == pytest.approx(1.5 * 0.8)
    assert hits[2]["_explanation"]["details"][0]["description"] == (
        "weighted score: [0], result not found in query at index [0]"
    )


def test_names_tell_which_retrievers_have_found_a_document(client: Elasticsearch, garden: str) -> None:
    words = {"standard": {**WORDS["standard"], "_name": "words"}}
    nearest = {"knn": {**NEAREST["knn"], "_name": "nearest"}}
    tree = {"rrf": {**BOTH["rrf"], "retrievers": [words, nearest], "_name": "both"}}
    hits = es_semantic.retrieve(client, garden, retriever=tree)["hits"]["hits"]
    assert [set(hit["matched_queries"]) for hit in hits] == [
        {"words", "nearest", "both"},
        {"words", "nearest", "both"},
        {"nearest", "both"},
    ]
    assert [set(hit["_legs"]) for hit in hits] == [{"words", "nearest"}, {"words", "nearest"}, {"nearest"}]


def test_rescorers_one_over_the_other(client: Elasticsearch, garden: str) -> None:
    def over(retriever: Json, window: int, query: Json, **weights: Any) -> Json:
        return {
            "rescorer": {
                "retriever": retriever,
                "rescore": {"window_size": window, "query": {"rescore_query": query, **weights}},
            }
        }

    two = {"constant_score": {"filter": {"term": {"topic": "shade"}}, "boost": 2}}
    four = {"constant_score": {"filter": {"term": {"year": 2023}}, "boost": 4}}
    tree = over(over(BOTH, 10, two), 2, four, query_weight=0.5, rescore_query_weight=2)
    answer = es_semantic.retrieve(client, garden, retriever=tree, size=2)
    # First 2.8333, 2.8333 and 2.25. Of the best two the second is half of it, and twice 4 more for the year.
    assert scores(answer) == pytest.approx({"2": 2.8333334 / 2 + 8, "1": 2.8333334 / 2}, rel=1e-6)
    assert es_semantic.retrieve(client, garden, retriever=over(BOTH, 10, four, score_mode="max"))["hits"]["hits"]


def test_pinned_documents_come_first(client: Elasticsearch, garden: str) -> None:
    tree: Json = {"pinned": {"ids": ["5", "1", "no such"], "retriever": BOTH, "rank_window_size": 10}}
    found = scores(es_semantic.retrieve(client, garden, retriever=tree))
    assert list(found) == ["5", "1", "2", "3"]
    assert 2.0**127 < found["1"] < found["5"]
    assert (found["2"], found["3"]) == (0.8333334, 0.25)
    docs = [{"_index": garden, "_id": "4"}, {"_index": "another", "_id": "5"}]
    tree = {"pinned": {"docs": docs, "retriever": WORDS, "rank_window_size": 2}}
    assert list(scores(es_semantic.retrieve(client, garden, retriever=tree))) == ["4", "2"]


def test_diversified_results(client: Elasticsearch, garden: str) -> None:
    """1, 2 and 3 by scores; 2 is much like 1, and 3 is less so."""

    def diverse(weight: float, **more: Any) -> Json:
        options = {"type": "mmr", "field": "vector", "lambda": weight, "rank_window_size": 10, "size": 2}
        return {"diversify": {"retriever": {"knn": {**NEAREST["knn"], "k": 5}}, **options, **more}}

    # Similarities to 1, which is taken first: 2 for documents 2 and 3, 1 for 4 and 5. The first of those is taken.
    assert list(scores(es_semantic.retrieve(client, garden, retriever=diverse(0)))) == ["1", "4"]
    # To [1, 1, 0]: 3 is nearest with 3, and 4 has as much. 2 * similarity to the query, less similarity to 3.
    found = es_semantic.retrieve(client, garden, retriever=diverse(1, query_vector=[1, 1, 0]))
    assert list(scores(found)) == ["3", "4"]
    for execution in ("native", "client"):
        ours = es_semantic.retrieve(client, garden, retriever=diverse(0.5), execution=execution)
        assert list(scores(ours)) == ["1", "4"]


def test_pages_lie_inside_the_window(client: Elasticsearch, garden: str) -> None:
    tree = {"rrf": {**BOTH["rrf"], "rank_window_size": 3}}
    pages = [
        list(scores(es_semantic.retrieve(client, garden, retriever=tree, from_=start, size=2))) for start in (0, 2, 4)
    ]
    assert pages == [["1", "2"], ["3"], []]
