"""Retrieval on the oldest versions of Elasticsearch that are supported, and what it finds there is what 9.x finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.cluster.node.distribution import major_minor
from es_semantic.embedding.chunking import Chunking
from es_semantic.schema.binding import Binding
from es_semantic.schema.index_options import index_options
from tests.embedder import DIMS, TinyEmbedder
from tests.nodes import remove_everything
from tests.old_nodes import CARRIERS, GIVEN, ask, embedded, make_attached_index, old_node
from tests.other_client import run_tests

OLDEST_CLIENT = "8.14.0"

WORDS = "red green blue apple pear plum run walk swim fast slow big small old new day night".split()  # noqa: SIM905 (short)
ROWS = 120
SOURCE = ["title", "body"]
PROPERTIES = {
    "title": {"type": "text"},
    "body": {"type": "text"},
    "tenant": {"type": "keyword"},
    "n": {"type": "integer"},
}
# Not quantized: what is quantized, and how, changes from version to version, and with it the order of near vectors.
QUERY = TinyEmbedder().vector("red apple").tolist()
EXACT = {"type": "hnsw", "m": 16, "ef_construction": 100}

INDICES = ("single", "chunked", "both")
SEARCHES: dict[str, dict[str, Any]] = {
    "bm25": {"mode": "bm25", "size": 20},
    "bm25-fields": {"mode": "bm25", "size": 20, "fields": ["title^2"]},
    "knn": {"mode": "knn", "size": 20},
    "hybrid": {"mode": "hybrid", "size": 20},
    "exact": {"mode": "exact", "size": 20},
    "page": {"mode": "hybrid", "size": 10, "from_": 30},
    "highlight": {"mode": "hybrid", "size": 10, "highlight": True},
    "one-hit": {"mode": "hybrid", "size": 1},
    "every-hit": {"mode": "hybrid", "size": 3 * ROWS},
    "filter": {"mode": "hybrid", "size": 20, "filters": {"term": {"tenant": "t1"}}},
    "filters": {"mode": "knn", "size": 20, "filters": [{"term": {"tenant": "t1"}}, {"range": {"n": {"lt": 30}}}]},
}

MATCH = {"standard": {"query": {"match": {"body": "red apple"}}, "_name": "words"}}
KNN = {"knn": {"field": "semantic.vector", "query_vector": QUERY, "k": 30, "num_candidates": 200, "_name": "near"}}
BOTH = {"rrf": {"retrievers": [MATCH, KNN], "rank_window_size": 50}}
TREES: dict[str, dict[str, Any]] = {
    "standard": MATCH,
    "knn": KNN,
    "rrf": BOTH,
    "rrf-filter": {"rrf": {"retrievers": [MATCH, KNN], "filter": {"term": {"tenant": "t1"}}}},
    "linear": {
        "linear": {
            "retrievers": [
                {"retriever": MATCH, "weight": 2.0, "normalizer": "minmax"},
                {"retriever": KNN, "normalizer": "l2_norm"},
            ]
        }
    },
    "rescorer": {
        "rescorer": {
            "retriever": MATCH,
            "rescore": {"window_size": 20, "query": {"rescore_query": {"match": {"title": "day"}}}},
        }
    },
    "pinned": {"pinned": {"retriever": BOTH, "ids": ["7", "3"]}},
    "diversify": {
        "diversify": {"type": "mmr", "field": "semantic.vector", "retriever": KNN, "lambda": 0.5, "query_vector": QUERY}
    },
}

Scored = tuple[str, str, float]
"""Index, id and score of a hit."""


def words(seed: int, count: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, size=count))


def documents(first: int) -> dict[str, dict[str, Any]]:
    return {
        str(i): {"title": words(i, 4), "body": words(10_000 + i, 4 + i % 60), "tenant": f"t{i % 3}", "n": i}
        for i in range(first, first + ROWS)
    }


def binding(*, index_options: dict[str, Any] = EXACT, chunking: Chunking | None = None) -> Binding:
    fingerprint = TinyEmbedder().profile.fingerprint
    return Binding(
        source=SOURCE, fingerprint=fingerprint, similarity="cosine", index_options=index_options, chunking=chunking
    )


@dataclass(frozen=True)
class Corpus:
    """A node with the documents in it: two indices, the alias of both, and one of chunks; all begin with ``name``."""

    url: str
    client: Elasticsearch
    name: str

    def search(self, index: str, text: str, **more: Any) -> list[Scored]:
        """Return the hits."""
        found = es_semantic.search(self.client, f"{self.name}-{index}", text, model=TinyEmbedder(), **more)
        return [(hit.index, hit.id, hit.score) for hit in found.hits]

    def retrieve(self, index: str, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a tree finds, ranked here, with whatever the newest version can add to hits."""
        return es_semantic.retrieve(
            self.client,
            f"{self.name}-{index}",
            retriever=tree,
            execution="client",
            size=10,
            aggs={"tenants": {"terms": {"field": "tenant"}}},
            highlight={"fields": {"body": {}}},
            source=["n"],
            explain=True,
        )

    def make(self, index: str, binding: Binding, *, first: int = 0) -> None:
        """Create an index of documents that carry their vectors, and let the worker say that these are true."""
        texts = {key: embedded(document, binding, TinyEmbedder()) for key, document in documents(first).items()}
        make_attached_index(self.client, f"{self.name}-{index}", binding, texts, properties=PROPERTIES)
        report = es_semantic.sync(self.client, f"{self.name}-{index}", model=TinyEmbedder())
        assert (report.unchanged, report.embedded, report.failed) == (ROWS, 0, 0)

    def fill(self) -> None:
        self.make("single", binding())
        self.make("second", binding(), first=ROWS)
        self.make("chunked", binding(chunking=Chunking(max_tokens=16, overlap=2)))
        for index in ("single", "second"):
            ask(self.client, "PUT", f"/{self.name}-{index}/_alias/{self.name}-both")


@pytest.fixture(scope="module")
def name() -> str:
    return f"test-old-nodes-{np.random.default_rng().integers(1 << 40):x}"


@pytest.fixture(scope="module")
def reference(node_url: str, client: Elasticsearch, name: str) -> Iterator[Corpus]:
    """The documents on the node that all other tests use."""
    corpus = Corpus(node_url, client, name)
    try:
        corpus.fill()
        yield corpus
    finally:
        remove_everything(client, name)


@pytest.fixture(scope="module", params=CARRIERS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def old(version: str, name: str) -> Iterator[Corpus]:
    """The documents on a node of an older version, of which one runs at a time and is thrown away afterwards."""
    with old_node(version) as url, Elasticsearch(url, request_timeout=60) as client:
        corpus = Corpus(url, client, name)
        corpus.fill()
        yield corpus


def assert_same_hits(here: Sequence[Scored], there: Sequence[Scored]) -> None:
    """Check scores, and the order of documents; those of one score may be in any order.

    Where hits of several shards have one score, the order depends on the version, and with it which of them are left
    out at the end.
    """
    assert here
    assert [score for *_, score in here] == pytest.approx([score for *_, score in there], rel=1e-5)
    borders = [i for i in range(1, len(there)) if there[i - 1][-1] - there[i][-1] > 1e-6]
    for start, end in zip([0, *borders], borders, strict=False):
        assert {hit[:2] for hit in here[start:end]} == {hit[:2] for hit in there[start:end]}


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("search", SEARCHES)
def test_the_hits_are_those_of_the_newest_version(old: Corpus, reference: Corpus, index: str, search: str) -> None:
    for text in ("red apple", "old day night", "swim"):
        here, there = (corpus.search(index, text, **SEARCHES[search]) for corpus in (old, reference))
        assert_same_hits(here, there)
        if index != "both":
            assert [hit[:2] for hit in here] == [hit[:2] for hit in there]


@pytest.mark.parametrize("index", ["single", "both"])
@pytest.mark.parametrize("tree", TREES)
def test_trees_give_what_they_give_on_the_newest_version(old: Corpus, reference: Corpus, index: str, tree: str) -> None:
    here, there = (corpus.retrieve(index, TREES[tree]) for corpus in (old, reference))
    found, wanted = here["hits"]["hits"], there["hits"]["hits"]
    assert_same_hits(*([(hit["_index"], hit["_id"], hit["_score"]) for hit in hits] for hits in (found, wanted)))
    assert here["aggregations"] == there["aggregations"]
    if index == "single":
        for key in ("_id", "_source", "highlight"):
            assert [hit.get(key) for hit in found] == [hit.get(key) for hit in wanted]
        assert [ranks(hit) for hit in found] == [ranks(hit) for hit in wanted]


def ranks(hit: Mapping[str, Any]) -> dict[str, int]:
    """Return the hit's rank in each leaf; nothing where the tree is one leaf, which Elasticsearch ranks itself."""
    return {name: place["rank"] for name, place in hit.get("_legs", {}).items()}


def test_sizes_and_filters_hold(old: Corpus) -> None:
    assert len(old.search("both", "day", mode="hybrid", size=7)) == 7
    found = es_semantic.search(
        old.client, f"{old.name}-both", "day", size=2 * ROWS, filters={"term": {"tenant": "t2"}}, model=TinyEmbedder()
    )
    assert len(found.hits) == 2 * ROWS / 3
    assert {hit.source["tenant"] for hit in found.hits} == {"t2"}


def test_sources_come_without_vectors(old: Corpus) -> None:
    """Before 9.2 the vectors are part of ``_source``."""
    hits = es_semantic.search(old.client, f"{old.name}-single", "day", size=3, model=TinyEmbedder()).hits
    assert [set(hit.source) for hit in hits] == [{"title", "body", "tenant", "n"}] * 3


def test_an_alias_finds_in_both_indices(old: Corpus) -> None:
    found = old.search("both", "red apple", size=2 * ROWS)
    assert {index for index, *_ in found} == {f"{old.name}-single", f"{old.name}-second"}


@pytest.mark.parametrize("index", INDICES)
async def test_the_asynchronous_client_gives_the_same(old: Corpus, index: str) -> None:
    async with AsyncElasticsearch(old.url) as client:
        theirs = await es_semantic.search(client, f"{old.name}-{index}", "big old plum", model=TinyEmbedder())
    assert [(hit.index, hit.id, hit.score) for hit in theirs.hits] == old.search(index, "big old plum")


def test_what_attach_would_choose_for_this_version_finds_what_is_near(old: Corpus, version: str) -> None:
    old.make("chosen", binding(index_options=index_options(DIMS, major_minor(version))))
    for text in ("red apple", "old day night", "swim"):
        nearest = [doc_id for _, doc_id, _ in old.search("single", text, mode="knn", size=10)]
        assert set(nearest[:5]) <= {doc_id for _, doc_id, _ in old.search("chosen", text, mode="knn", size=10)}


@pytest.mark.parametrize("chunking", [None, Chunking(max_tokens=16, overlap=2)], ids=str)
def test_the_worker_embeds_what_was_written_without_a_pipeline(old: Corpus, chunking: Chunking | None) -> None:
    name = f"{old.name}-written-{'whole' if chunking is None else 'chunked'}"
    make_attached_index(old.client, name, binding(chunking=chunking), documents(0), properties=PROPERTIES)
    report = es_semantic.sync(old.client, name, model=TinyEmbedder())
    assert (report.embedded, report.failed) == (ROWS, 0)
    state = es_semantic.status(old.client, name)
    assert (state.ready, state.pending, state.unread) == (ROWS, 0, 0)
    ask(old.client, "POST", f"/{name}/_refresh")
    written = name.removeprefix(f"{old.name}-")
    for text in ("red apple", "swim"):
        ids = [
            [doc_id for _, doc_id, _ in old.search(index, text, mode="knn", size=20)]
            for index in (written, "single" if chunking is None else "chunked")
        ]
        assert ids[0] == ids[1]


def test_another_client_runs_all_of_this(old: Corpus, version: str, node_url: str) -> None:
    printed = run_tests(
        OLDEST_CLIENT,
        str(Path(__file__)),
        "-k",
        f"{version} and not another_client",
        environment={GIVEN: old.url, "ES_SEMANTIC_TEST_URL": node_url},
    )
    assert " passed" in printed
