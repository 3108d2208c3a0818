"""The metrics that evaluation reports are those of trec_eval, on a whole run with its ties and gaps."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval

from es_semantic.evaluation.metrics import measure

SEED = 4
TREC_NAMES = {"ndcg@10": "ndcg_cut_10", "recall@100": "recall_100", "map": "map"}


def test_as_trec_eval_has_them() -> None:
    print(f"seed {SEED}")
    random = np.random.default_rng(SEED)
    ids = [f"d{i}" for i in range(300)]
    grades = {
        f"q{q}": {str(d): int(random.integers(0, 4)) for d in random.choice(ids, size=random.integers(1, 60))}
        for q in range(100)
    }
    grades = {query: some for query, some in grades.items() if any(some.values())}
    runs = {query: [str(d) for d in random.permutation(ids)[: random.integers(1, 130)]] for query in grades}
    scores = {query: {d: 1.0 / rank for rank, d in enumerate(run, start=1)} for query, run in runs.items()}
    wanted = pytrec_eval.RelevanceEvaluator(grades, set(TREC_NAMES.values())).evaluate(scores)
    found = measure(grades, runs)
    for ours, theirs in TREC_NAMES.items():
        assert found[ours] == pytest.approx({query: values[theirs] for query, values in wanted.items()})
