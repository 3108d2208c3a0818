"""Quality on judged collections, with the real model on a real node.

The promise of the default fusion: nDCG@10 within .005 of the better leg, or above. Fields ``title`` and ``text``, one
vector a document, 100 hits a leg. What the model knows nothing of is in ``cmrc2018_zh``: MiniLM has learned no Chinese.

The published values, by ``evaluate`` with its defaults: title and text as one field with Elasticsearch's ``english``
analyser and default BM25 (k1 1.2, b 0.75), one shard, int8_hnsw vectors with rescoring, one vector a document, the
model's window of 256 tokens. Both are in one file, so that one process embeds each collection once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ir_measures
import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk
from ir_measures import Qrel, ScoredDoc, nDCG

import es_semantic
from es_semantic.evaluation.evaluate import Evaluation
from es_semantic.evaluation.metrics import NDCG
from es_semantic.retrieval.fusion.auto import auto
from es_semantic.retrieval.fusion.rrf import rrf
from tests.nodes import remove_everything

DATASETS = Path(__file__).parents[3] / "shared" / "datasets"
ANALYZERS = {"scifact": "english", "cranfield": "english", "esci_us_small": "english", "cmrc2018_zh": "cjk"}
FIELDS = ["title", "text"]
PUBLISHED = {
    # Anserini's flat index, and all-MiniLM-L6-v2 in MTEB.
    "scifact": {"bm25": 0.679, "knn": 0.645},
    # Nobody publishes these; they are of the same analyser and exact vectors of the same model.
    "cranfield": {"bm25": 0.374, "knn": 0.396},
}
ALLOWED = 0.005
WINDOW = 100
AT_ONCE = 50
"""Queries in one request."""

Leg = list[tuple[str, float]]


@dataclass(frozen=True)
class Asked:
    """The legs of every query, in the order BM25, kNN; and the index to ask again."""

    dataset: str
    index: str
    texts: Mapping[str, str]
    legs: Mapping[str, Sequence[Leg]]
    judgements: Sequence[Qrel]

    def ndcg(self, rankings: Mapping[str, Leg]) -> float:
        """Mean nDCG@10 over all queries."""
        # By rank: equal scores are otherwise ordered by id.
        ranked = ((query, rank, document) for query, leg in rankings.items() for rank, (document, _) in enumerate(leg))
        run = [ScoredDoc(query, document, -rank) for query, rank, document in ranked]
        return float(ir_measures.calc_aggregate([nDCG @ 10], self.judgements, run)[nDCG @ 10])


def lines(dataset: str, name: str) -> Iterator[dict[str, Any]]:
    with (DATASETS / dataset / name).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def judged(dataset: str) -> tuple[dict[str, str], list[Qrel]]:
    """The texts of the judged queries, and the judgements.

    All of them: what a query gains or loses varies so much that a sample of 300 is off by as much as is allowed.
    """
    rows = [line.split("\t") for line in (DATASETS / dataset / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    wanted = {query for query, _, _ in rows}
    texts = {row["_id"]: row["text"] for row in lines(dataset, "queries.jsonl") if row["_id"] in wanted}
    return texts, [Qrel(query, document, int(grade)) for query, document, grade in rows]


@pytest.fixture(scope="module", params=ANALYZERS)
def asked(request: pytest.FixtureRequest, client: Elasticsearch) -> Iterator[Asked]:
    dataset: str = request.param
    if not (DATASETS / dataset).is_dir():
        pytest.skip(f"the judged collection ../shared/datasets/{dataset} is missing")
    index = f"test-fusion-{uuid.uuid4().hex[:12]}"
    try:
        field = {"type": "text", "analyzer": ANALYZERS[dataset]}
        settings = {"number_of_shards": 1, "number_of_replicas": 0}
        client.indices.create(index=index, mappings={"properties": {"title": field, "text": field}}, settings=settings)
        documents = (
            {"_index": index, "_id": row["_id"], "title": row["title"], "text": row["text"]}
            for row in lines(dataset, "corpus.jsonl")
        )
        bulk(client, documents, refresh=True)
        es_semantic.attach(client, index, FIELDS, chunk="never")
        es_semantic.sync(client, index)
        # Else segments merge meanwhile, and with the deleted documents in them BM25 scores change.
        client.options(request_timeout=600).indices.forcemerge(index=index, max_num_segments=1)
        client.indices.refresh(index=index)
        texts, judgements = judged(dataset)
        yield Asked(dataset, index, texts, searched(client, index, texts), judgements)
    finally:
        remove_everything(client, index)


def searched(client: Elasticsearch, index: str, texts: Mapping[str, str]) -> dict[str, list[Leg]]:
    """The legs that :func:`es_semantic.search` fuses, many queries at once."""
    embedder = es_semantic.load_embedder()
    found: dict[str, list[Leg]] = {}
    queries = list(texts)
    for start in range(0, len(queries), AT_ONCE):
        some = queries[start : start + AT_ONCE]
        vectors = embedder.embed_queries([texts[query] for query in some]).vectors
        searches: list[dict[str, Any]] = []
        for query, vector in zip(some, vectors, strict=True):
            words = {"query": texts[query], "fields": FIELDS, "type": "cross_fields"}
            knn = {"field": "semantic.vector", "query_vector": vector.tolist(), "k": WINDOW, "num_candidates": 200}
            # By sequence number, as a search of one shard has it: which of several equals is the last is else chance.
            options = {"size": WINDOW, "_source": False, "track_total_hits": False, "sort": ["_score", "_seq_no"]}
            for body in ({"query": {"multi_match": words}}, {"knn": knn}):
                searches += [{"index": index}, {**body, **options}]
        answers = client.msearch(searches=searches)["responses"]
        legs = [[(hit["_id"], hit["_score"]) for hit in answer["hits"]["hits"]] for answer in answers]
        found |= {query: legs[2 * number : 2 * number + 2] for number, query in enumerate(some)}
    return found


def test_auto_keeps_up_with_the_better_leg(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    bm25, knn = (asked.ndcg({query: legs[number] for query, legs in asked.legs.items()}) for number in (0, 1))
    fused = {
        name: asked.ndcg({query: [(hit.key, hit.score) for hit in fuse(legs)] for query, legs in asked.legs.items()})
        for name, fuse in (("rrf", rrf), ("auto", auto))
    }
    with capsys.disabled():
        numbers = {"bm25": bm25, "knn": knn, **fused}
        print(f"\n{asked.dataset} nDCG@10: " + ", ".join(f"{name} {value:.4f}" for name, value in numbers.items()))
    assert fused["auto"] >= max(bm25, knn) - ALLOWED


def test_a_search_is_fused_so_by_default(asked: Asked, client: Elasticsearch) -> None:
    for query, text in list(asked.texts.items())[:5]:
        # Alone: a vector differs in its last digits by what was embedded beside it.
        legs = searched(client, asked.index, {query: text})[query]
        expected = {hit.key: hit.score for hit in auto(legs)}
        hits = es_semantic.search(client, asked.index, text, fields=FIELDS, size=WINDOW, source=False).hits
        assert [hit.score for hit in hits] == pytest.approx(list(expected.values())[:WINDOW], rel=1e-5)
        assert [hit.score for hit in hits] == pytest.approx([expected[hit.id] for hit in hits], rel=1e-5)


@pytest.fixture(params=PUBLISHED)
def evaluated(request: pytest.FixtureRequest, client: Elasticsearch) -> tuple[str, Evaluation]:
    """Name and evaluation of a collection."""
    if not (DATASETS / request.param).is_dir():
        pytest.skip(f"the judged collection ../shared/datasets/{request.param} is missing")
    return request.param, evaluation(client, request.param)


@cache
def evaluation(client: Elasticsearch, name: str) -> Evaluation:
    """Embedding a collection takes a minute, so it is done once."""
    return es_semantic.evaluate(client, dataset=DATASETS / name)


def test_the_legs_are_as_good_as_published(
    evaluated: tuple[str, Evaluation], capsys: pytest.CaptureFixture[str]
) -> None:
    name, found = evaluated
    with capsys.disabled():
        values = ", ".join(f"{mode} {scores.metrics[NDCG]:.4f}" for mode, scores in found.modes.items())
        print(f"\n{name} nDCG@10: {values}")
    for mode, published in PUBLISHED[name].items():
        assert found.modes[mode].metrics[NDCG] == pytest.approx(published, abs=0.01)
    assert (found.missing.count, found.judged.left_out.without_relevant) == (0, 0)


def test_hybrid_is_better_than_either_leg(evaluated: tuple[str, Evaluation]) -> None:
    _, found = evaluated
    legs = [found.modes[leg].metrics[NDCG] for leg in ("bm25", "knn")]
    assert found.modes["hybrid"].metrics[NDCG] > max(legs) + 0.01


def test_approximate_search_finds_what_exact_search_finds(evaluated: tuple[str, Evaluation]) -> None:
    _, found = evaluated
    assert found.ann_recall is not None
    assert found.ann_recall.at_10 > 0.99
