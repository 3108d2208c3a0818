"""Quality on judged collections, by ``evaluate`` with its defaults: SciFact (BEIR) and Cranfield.

Settings: title and text as one field with Elasticsearch's ``english`` analyser and default BM25 (k1 1.2, b 0.75), one
shard, int8_hnsw vectors with rescoring, one vector a document, the model's window of 256 tokens.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.evaluation.evaluate import Evaluation
from es_semantic.evaluation.metrics import NDCG

DATASETS = Path(__file__).parents[3] / "shared" / "datasets"
PUBLISHED = {
    # Anserini's flat index, and all-MiniLM-L6-v2 in MTEB.
    "scifact": {"bm25": 0.679, "knn": 0.645},
    # Nobody publishes these; they are of the same analyser and exact vectors of the same model.
    "cranfield": {"bm25": 0.374, "knn": 0.396},
}

pytestmark = pytest.mark.skipif(not DATASETS.is_dir(), reason="the judged collections ../shared/datasets are missing")


@pytest.fixture(params=list(PUBLISHED))
def evaluated(request: pytest.FixtureRequest, client: Elasticsearch) -> tuple[str, Evaluation]:
    """Name and evaluation of a collection."""
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
