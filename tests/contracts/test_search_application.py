"""An ordinary application of elasticsearch-py 9: its functions run unchanged, with the call of ``search`` swapped.

The application was written for a licence that has ``rrf``, ``linear`` and ``pinned``. Where this node can answer by
itself its own answer is compared.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch, NotFoundError

import es_semantic
from es_semantic.errors import IndexUnavailable, InvalidQuery, InvalidRetriever
from tests.nodes import remove_everything

Json = dict[str, Any]
Search = Callable[..., Any]
"""``client.search``, or what is put in its place."""

PROPERTIES: Json = {
    "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
    "body": {"type": "text"},
    "shop": {"type": "keyword"},
    "price": {"type": "double"},
    "since": {"type": "date"},
    "reviews": {"type": "nested", "properties": {"text": {"type": "text"}, "stars": {"type": "integer"}}},
    "vector": {"type": "dense_vector", "dims": 2, "similarity": "cosine", "index_options": {"type": "flat"}},
}


def products() -> Iterator[Json]:
    colours, kinds = ("red", "green", "blue", "black"), ("shoes", "boots", "sandals")
    for number in range(48):
        colour, kind = colours[number % 4], kinds[number % 3]
        yield {
            "title": f"{colour} {kind}",
            "body": f"These {kind} are {colour}, and comfortable. Number {number}.",
            "shop": f"shop {number % 5}",
            "price": 20 + number / 2,
            "since": f"2026-01-{number % 28 + 1:02}",
            "reviews": [{"text": f"good {kind}", "stars": number % 5 + 1}],
            "vector": [1 + number % 7, 1 + number % 5],
        }


@pytest.fixture(scope="module")
def shop(client: Elasticsearch) -> Iterator[str]:
    name = f"test-application-{id(client):x}"
    client.indices.create(index=name, mappings={"properties": PROPERTIES}, settings={"number_of_shards": 2})
    operations: list[Json] = []
    for number, product in enumerate(products()):
        operations += [{"index": {"_id": str(number)}}, product]
    client.bulk(index=name, operations=operations, refresh=True)
    yield name
    remove_everything(client, name)


# The application.


def hybrid(text: str, vector: list[float], **rrf: Any) -> Json:
    return {
        "rrf": {
            "retrievers": [
                {"standard": {"query": {"multi_match": {"query": text, "fields": ["title^2", "body"]}}}},
                {"knn": {"field": "vector", "query_vector": vector, "k": 20, "num_candidates": 50}},
            ],
            "rank_window_size": 40,
            "rank_constant": 20,
            **rrf,
        }
    }


def result_page(search: Search, index: str, text: str, page: int) -> Any:
    return search(
        index=index,
        retriever=hybrid(text, [1.0, 2.0]),
        size=10,
        from_=10 * page,
        source_includes=["title", "price"],
        highlight={"fields": {"title": {}, "body": {"number_of_fragments": 1}}, "pre_tags": ["*"], "post_tags": ["*"]},
        track_total_hits=True,
    )


def with_facets(search: Search, index: str, shops: list[str], cheapest: Decimal) -> Any:
    return search(
        index=[index],
        retriever=hybrid("shoes", [1, 1], filter=[{"terms": {"shop": shops}}, {"range": {"price": {"gte": cheapest}}}]),
        size=5,
        source_excludes="vector,reviews",
        aggs={
            "shops": {"terms": {"field": "shop"}},
            "prices": {"histogram": {"field": "price", "interval": 10}, "aggs": {"best": {"top_hits": {"size": 1}}}},
        },
        routing=None,
        preference="_local",
    )


def one_of_each_shop(search: Search, index: str) -> Any:
    return search(
        index=index,
        body={
            "retriever": hybrid("boots", [2, 1]),
            "collapse": {"field": "shop", "inner_hits": {"name": "cheapest", "sort": ["price"], "size": 2}},
            "size": 3,
            "_source": ["shop", "price"],
            "aggregations": {"dearest": {"max": {"field": "price"}}},
        },
    )


def since(search: Search, index: str, day: date) -> Any:
    newest = {"standard": {"query": {"range": {"since": {"gte": day}}}, "sort": [{"since": "desc"}]}}
    entries = [{"retriever": newest, "weight": 0.1}, {"retriever": hybrid("boots", [1, 1]), "weight": 10}]
    return search(index=index, retriever={"linear": {"retrievers": entries, "rank_window_size": 20}}, size=20)


def why(search: Search, index: str) -> Any:
    return search(
        index=index, retriever=hybrid("red boots", [1, 1]), explain=True, size=1, fields=["ti*", "since"], source=False
    )


def advertised(search: Search, index: str, ids: list[str]) -> Any:
    return search(index=index, retriever={"pinned": {"ids": ids, "retriever": hybrid("sandals", [1, 1])}}, size=4)


def reviews(search: Search, index: str) -> Any:
    inner = {"path": "reviews", "query": {"range": {"reviews.stars": {"gte": 4}}}, "inner_hits": {"size": 1}}
    tree = {"rrf": {"retrievers": [{"standard": {"query": {"nested": inner}}}]}}
    return search(index=index, retriever=tree, size=3, post_filter={"term": {"shop": "shop 3"}})


def second_look(search: Search, index: str) -> Any:
    """What every licence runs natively."""
    rescore = {
        "window_size": 20,
        "query": {"rescore_query": {"match_phrase": {"title": "red boots"}}, "rescore_query_weight": 5},
    }
    standard = {"standard": {"query": {"match": {"title": "red boots"}}, "filter": {"range": {"price": {"lt": 40}}}}}
    return search(
        index=index,
        retriever={"rescorer": {"retriever": standard, "rescore": rescore}},
        size=4,
        from_=1,
        source={"includes": ["title"]},
        docvalue_fields=["price"],
        version=True,
        seq_no_primary_term=True,
        request_cache=True,
        search_type="dfs_query_then_fetch",
        allow_partial_search_results=False,
        max_concurrent_shard_requests=2,
        timeout="10s",
        stats=["application"],
    )


# The tests.


@pytest.fixture
def search(client: Elasticsearch) -> Search:
    return functools.partial(es_semantic.retrieve, client)


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_pages_with_highlights(search: Search, shop: str) -> None:
    pages = [result_page(search, shop, "red boots", page) for page in range(5)]
    found = [doc_id for page in pages for doc_id in ids(page)]
    assert found == ids(search(index=shop, retriever=hybrid("red boots", [1.0, 2.0]), size=40))
    assert len(found) == len(set(found)) > 30
    assert all(page["hits"]["total"] == pages[0]["hits"]["total"] for page in pages)
    first = pages[0]["hits"]["hits"][0]
    assert set(first["_source"]) == {"title", "price"}
    assert "*red* *boots*" in [hit["highlight"]["title"][0] for hit in pages[0]["hits"]["hits"] if "highlight" in hit]


def test_facets_of_what_filters_leave(search: Search, shop: str) -> None:
    answer = with_facets(search, shop, ["shop 1", "shop 2"], Decimal("25.5"))
    assert {hit["_source"]["shop"] for hit in answer["hits"]["hits"]} <= {"shop 1", "shop 2"}
    assert all(set(hit["_source"]) == {"title", "body", "shop", "price", "since"} for hit in answer["hits"]["hits"])
    assert {bucket["key"] for bucket in answer["aggregations"]["shops"]["buckets"]} == {"shop 1", "shop 2"}
    best = [bucket["best"]["hits"]["hits"][0] for bucket in answer["aggregations"]["prices"]["buckets"]]
    assert answer["hits"]["hits"][0]["_score"] == max(hit["_score"] for hit in best)


def test_one_of_each_shop(search: Search, shop: str) -> None:
    answer = one_of_each_shop(search, shop)
    shops = [hit["fields"]["shop"][0] for hit in answer["hits"]["hits"]]
    assert len(set(shops)) == 3
    for hit in answer["hits"]["hits"]:
        prices = [each["_source"]["price"] for each in hit["inner_hits"]["cheapest"]["hits"]["hits"]]
        assert prices == sorted(prices)
    assert answer["aggregations"]["dearest"]["value"] == 43.5


def test_the_newest_count(search: Search, shop: str) -> None:
    answer = since(search, shop, date(2026, 1, 10))
    assert len(ids(answer)) == 20
    scores = [hit["_score"] for hit in answer["hits"]["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_why_a_product_is_there(search: Search, shop: str) -> None:
    (hit,) = why(search, shop)["hits"]["hits"]
    assert hit["_explanation"]["value"] == hit["_score"]
    assert set(hit["fields"]) == {"title", "title.raw", "since"}
    assert "_source" not in hit


def test_what_is_advertised_comes_first(search: Search, shop: str) -> None:
    assert ids(advertised(search, shop, ["7", "3"]))[:2] == ["7", "3"]


def test_reviews_that_match(search: Search, shop: str) -> None:
    hits = reviews(search, shop)["hits"]["hits"]
    assert hits
    for hit in hits:
        assert hit["_source"]["shop"] == "shop 3"
        (review,) = hit["inner_hits"]["reviews"]["hits"]["hits"]
        assert review["_source"]["stars"] >= 4


def test_what_elasticsearch_runs_by_itself_is_the_same(client: Elasticsearch, search: Search, shop: str) -> None:
    theirs = second_look(client.search, shop)
    for execution in ("auto", "native", "client"):
        ours = second_look(functools.partial(search, execution=execution), shop)
        assert ids(ours) == ids(theirs)
        for hit, own in zip(ours["hits"]["hits"], theirs["hits"]["hits"], strict=True):
            assert {name: value for name, value in hit.items() if name != "_legs"} == own
        assert ours["hits"]["total"] == theirs["hits"]["total"]


async def test_an_asynchronous_application(search: Search, node_url: str, shop: str) -> None:
    applications: list[Callable[[Search], Any]] = [
        lambda search: result_page(search, shop, "red boots", 1),
        lambda search: with_facets(search, shop, ["shop 1"], Decimal(30)),
        lambda search: why(search, shop),
        lambda search: advertised(search, shop, ["5"]),
        lambda search: second_look(search, shop),
    ]
    async with AsyncElasticsearch(node_url) as client:
        for application in applications:
            answered: Awaitable[Json] = application(functools.partial(es_semantic.retrieve, client))
            theirs, ours = await answered, application(search)
            assert {**theirs, "took": 0} == {**ours, "took": 0}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("profile", True),
        ("pit", {"id": "x"}),
        ("scroll", "1m"),
        ("typed_keys", True),
        ("rest_total_hits_as_int", True),
        ("q", "title:red"),
        ("filter_path", "hits.hits._id"),
        ("no_such_argument", 1),
    ],
)
def test_what_is_not_supported_is_refused_by_name(search: Search, shop: str, argument: str, value: Any) -> None:
    with pytest.raises(InvalidQuery, match=argument):
        search(index=shop, retriever=hybrid("red", [1, 1]), **{argument: value})
    with pytest.raises(InvalidQuery, match=argument):
        search(index=shop, retriever=hybrid("red", [1, 1]), body={argument: value})


@pytest.mark.parametrize("argument", ["query", "knn", "sort", "search_after", "terminate_after", "rank", "rescore"])
def test_what_a_retriever_takes_the_place_of(search: Search, shop: str, argument: str) -> None:
    values: Json = {"sort": ["price"], "search_after": [1], "terminate_after": 3, "rank": {"rrf": {}}}
    given = {argument: values.get(argument, {"match_all": {}})}
    with pytest.raises(InvalidRetriever) as caught:
        search(index=shop, retriever=hybrid("red", [1, 1]), **given)
    assert caught.value.type == "action_request_validation_exception"
    assert caught.value.reason == f"Validation Failed: 1: cannot specify [retriever] and [{argument}];"


def test_there_must_be_a_retriever(search: Search, shop: str) -> None:
    with pytest.raises(InvalidQuery, match="there is no"):
        search(index=shop)


def test_errors_of_the_application(client: Elasticsearch, search: Search, shop: str) -> None:
    with pytest.raises(NotFoundError):
        client.search(index=f"{shop}-no", retriever={"standard": {}})
    with pytest.raises(IndexUnavailable):
        search(index=f"{shop}-no", retriever=hybrid("red", [1, 1]))
    partial = {"allow_partial_search_results": True}
    with pytest.raises(InvalidRetriever, match=r"cannot specify \[rrf\] and \[allow_partial_search_results\]"):
        search(index=shop, retriever=hybrid("red", [1, 1]), **partial)
    scripted = {"twice": {"script": "doc['price'].value * 2"}}
    assert search(index=shop, retriever=hybrid("red", [1, 1]), script_fields=scripted)["hits"]["hits"]
    with pytest.raises(InvalidRetriever, match="cannot execute") as caught:
        search(index=shop, retriever=hybrid("red", [1, 1]), script_fields=scripted, allow_scripts=False)
    assert caught.value.path == "script_fields.twice"
