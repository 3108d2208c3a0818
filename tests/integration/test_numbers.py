"""Hits go by their sequence numbers where one shard is searched: the same answer as by ids, with less to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request, Steps
from es_semantic.retrieval import ties
from es_semantic.retrieval.results import SearchResult
from es_semantic.retrieval.search import search_steps
from tests.driving import Driver
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex, remove_everything
from tests.recording import Exchanged, recording_client

TEXT = {"type": "text"}
WORDS = ["oak", "birch", "elm", "garden", "wall", "water", "stone", "bed", "tool", "path"]
QUERIES = ["oak garden", "old stone wall", "water in the bed", "path", "birch elm oak wall tool"]


def fill(client: Elasticsearch, index: str, count: int = 150, **attached: Any) -> None:
    """Write documents, some of them twice, some with a routing of their own, and delete some."""
    operations: list[dict[str, Any]] = []
    for number in range(count):
        words = [WORDS[(number * step) % len(WORDS)] for step in (1, 3, 7)]
        routing = {"routing": "r"} if number % 11 == 0 else {}
        operations += [{"index": {"_id": str(number), **routing}}, {"title": " ".join(words), "n": number}]
    client.bulk(index=index, operations=operations, refresh=True)
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder(), **attached)
    es_semantic.sync(client, index, model=TinyEmbedder())
    for number in range(1, count, 10):
        client.index(index=index, id=f"new {number}", document={"title": "an old oak wall", "n": number})
    client.delete_by_query(index=index, query={"term": {"n": 7}}, refresh=True)
    es_semantic.sync(client, index, model=TinyEmbedder())
    client.indices.refresh(index=index)


def everything(client: Elasticsearch, index: str, text: str, **options: Any) -> SearchResult:
    """The whole ranking: which of several equals come last on a page is chance."""
    model = TinyEmbedder()
    return es_semantic.search(client, index, text, model=model, size=1000, rank_window_size=1000, **options)


def told(result: SearchResult) -> dict[Any, Any]:
    """What is told of each hit; in a leg, equals may change places."""
    return {
        (hit.index, hit.id, hit.routing): (
            hit.score,
            hit.source,
            hit.passages,
            {name: place.score for name, place in hit.legs.items()},
        )
        for hit in result.hits
    }


@contextmanager
def ids_only(node_url: str) -> Iterator[Elasticsearch]:
    """A client for which nothing is in one shard."""

    def never(*_: object) -> Steps[bool]:
        yield from ()
        return False

    with Elasticsearch(node_url) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ties, "_one_shard", never)
        yield client


@pytest.fixture
def recorded(node_url: str) -> Iterator[tuple[Elasticsearch, list[Exchanged]]]:
    client, exchanged = recording_client(node_url)
    with client:
        yield client, exchanged


def leaves(exchanged: list[Exchanged]) -> list[dict[str, Any]]:
    """The bodies of the last leaves that were asked for."""
    return next(each.lines[1::2] for each in reversed(exchanged) if len(each.lines) == 4)


@pytest.mark.parametrize("chunk", ["never", "always"])
def test_the_answer_is_that_by_ids(
    recorded: tuple[Elasticsearch, list[Exchanged]], node_url: str, make_index: MakeIndex, chunk: str
) -> None:
    client, exchanged = recorded
    index = make_index({"title": TEXT, "n": {"type": "long"}})
    fill(client, index, chunk=chunk)
    options: list[dict[str, Any]] = [
        {},
        {"filters": {"range": {"n": {"lt": 60}}}},
        {"passages": 2},
        {"highlight": True},
    ]
    for text in QUERIES:
        for more in options:
            result = everything(client, index, text, **more)
            assert all(leaf["stored_fields"] == "_none_" for leaf in leaves(exchanged))
            with ids_only(node_url) as other:
                assert told(result) == told(everything(other, index, text, **more))
    assert all(hit.source.keys() == {"title", "n"} for hit in result.hits)


def test_pages_fit_together(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT, "n": {"type": "long"}})
    fill(client, index)
    whole = [hit.id for hit in everything(client, index, QUERIES[0]).hits]
    pages: list[str] = []
    for start in range(0, len(whole), 7):
        page = es_semantic.search(
            client, index, QUERIES[0], model=TinyEmbedder(), size=7, from_=start, rank_window_size=1000
        )
        pages += [hit.id for hit in page.hits]
    assert pages == whole
    assert len(set(whole)) == len(whole) > 100


def test_a_document_that_changes_before_the_page_is_fetched_is_on_it(
    client: Elasticsearch, make_index: MakeIndex
) -> None:
    index = make_index({"title": TEXT, "n": {"type": "long"}})
    fill(client, index)
    usual = everything(client, index, QUERIES[0])
    best = usual.hits[0]
    requests: list[Request] = []

    def before(request: Request) -> None:
        requests.append(request)
        if [each.path for each in requests].count("/_msearch") == 2 and request.path == "/_msearch":
            # What ranked it is as it was: its words and its vector.
            client.update(index=index, id=best.id, doc={"n": 1_000_000}, routing=best.routing or None, refresh=True)

    steps = search_steps(index, QUERIES[0], lambda _: TinyEmbedder(), size=1000, rank_window_size=1000)
    result: SearchResult = Driver(client, before, lambda _: None).drive(steps)
    # Leaves and page by numbers, and both again by ids.
    assert [request.path for request in requests].count("/_msearch") == 4
    assert told(result).keys() == told(usual).keys()
    assert {hit.id: hit.source["n"] for hit in result.hits}[best.id] == 1_000_000


def test_several_shards_go_by_ids(
    recorded: tuple[Elasticsearch, list[Exchanged]], node_url: str, make_index: MakeIndex
) -> None:
    client, exchanged = recorded
    index = make_index({"title": TEXT, "n": {"type": "long"}}, settings={"number_of_shards": 3})
    fill(client, index)
    result = everything(client, index, QUERIES[0])
    assert all("stored_fields" not in leaf for leaf in leaves(exchanged))
    with ids_only(node_url) as other:
        assert told(result) == told(everything(other, index, QUERIES[0]))


def test_an_index_that_has_more_shards_than_it_had_a_moment_ago(
    recorded: tuple[Elasticsearch, list[Exchanged]], node_url: str, unique: str
) -> None:
    client, exchanged = recorded
    try:
        for shards in (1, 3):
            client.options(ignore_status=404).indices.delete(index=unique)
            settings = {"number_of_shards": shards, "number_of_replicas": 0}
            client.indices.create(index=unique, mappings={"properties": {"title": TEXT}}, settings=settings)
            fill(client, unique)
            result = everything(client, unique, QUERIES[0])
        assert "stored_fields" not in leaves(exchanged)[0]
        with ids_only(node_url) as other:
            assert told(result) == told(everything(other, unique, QUERIES[0]))
    finally:
        remove_everything(client, unique)
