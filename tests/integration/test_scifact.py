"""Quality on a judged collection: SciFact (BEIR), 5,183 abstracts and 300 claims, nDCG@10 of the three modes.

Settings: fields ``title`` and ``text`` with Elasticsearch's ``english`` analyser and default BM25 (k1 1.2, b 0.75), one
shard, one segment's worth of int8_hnsw vectors with rescoring, the model's window of 256 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ir_measures
import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk
from ir_measures import Qrel, ScoredDoc, nDCG

import es_semantic
from tests.nodes import remove_everything

DATASET = Path(__file__).parents[3] / "shared" / "datasets" / "scifact"
INDEX = "test-scifact"
PUBLISHED = {"bm25": (0.679, "Anserini, flat index"), "knn": (0.645, "all-MiniLM-L6-v2, MTEB")}

pytestmark = pytest.mark.skipif(
    not DATASET.is_dir(), reason="the judged collection ../shared/datasets/scifact is missing"
)


def lines(name: str) -> Iterator[dict[str, Any]]:
    with (DATASET / name).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


@pytest.fixture(scope="module")
def ndcg(client: Elasticsearch) -> Iterator[dict[str, float]]:
    """nDCG@10 by mode, 100 hits a query."""
    english = {"type": "text", "analyzer": "english"}
    remove_everything(client, INDEX)
    client.indices.create(
        index=INDEX, mappings={"properties": {"title": english, "text": english}}, settings={"number_of_replicas": 0}
    )
    documents = (
        {"_index": INDEX, "_id": d["_id"], "title": d["title"], "text": d["text"]} for d in lines("corpus.jsonl")
    )
    bulk(client, documents, refresh=True)
    # The published figures are of one vector a document.
    es_semantic.attach(client, INDEX, ["title", "text"], chunk="never")
    es_semantic.sync(client, INDEX)
    rows = [row.split("\t") for row in (DATASET / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    judgements = [Qrel(query, document, int(grade)) for query, document, grade in rows]
    judged = {judgement.query_id for judgement in judgements}
    queries = [(query["_id"], query["text"]) for query in lines("queries.jsonl") if query["_id"] in judged]
    yield {mode: measure(client, mode, queries, judgements) for mode in ("bm25", "knn", "hybrid")}
    remove_everything(client, INDEX)


def measure(client: Elasticsearch, mode: str, queries: list[tuple[str, str]], judgements: list[Qrel]) -> float:
    run = [
        ScoredDoc(query_id, hit.id, hit.score)
        for query_id, text in queries
        for hit in es_semantic.search(client, INDEX, text, mode=mode, size=100).hits
    ]
    return float(ir_measures.calc_aggregate([nDCG @ 10], judgements, run)[nDCG @ 10])


def test_the_legs_are_as_good_as_published(ndcg: dict[str, float], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\nSciFact nDCG@10: " + ", ".join(f"{mode} {value:.4f}" for mode, value in ndcg.items()))
    for mode, (published, _) in PUBLISHED.items():
        assert ndcg[mode] == pytest.approx(published, abs=0.01)


def test_hybrid_is_better_than_either_leg(ndcg: dict[str, float]) -> None:
    assert ndcg["hybrid"] > max(ndcg["bm25"], ndcg["knn"]) + 0.01
