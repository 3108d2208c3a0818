"""Tuning without a server: the rankings tried, how they fuse, cross-validation, and the requests that store one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.cluster.steps import Request
from es_semantic.embedding import Fingerprint
from es_semantic.evaluation.candidates import candidates, fused, in_words, share_of_knn
from es_semantic.evaluation.folds import best, cross_validate, split
from es_semantic.evaluation.lists import List
from es_semantic.retrieval.fusion.rrf import rrf
from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.ranking import Ranking
from es_semantic.schema.rebound import rebinding_requests
from es_semantic.schema.tuned import with_ranking


def leg(*ids: str) -> List:
    return [(("index", doc_id), 1.0 / rank) for rank, doc_id in enumerate(ids, start=1)]


def test_the_current_ranking_is_tried_first_and_none_twice() -> None:
    for current in (Ranking(), Ranking(method="rrf"), Ranking(method="rrf", weights={"bm25": 0.7, "knn": 0.3})):
        found = candidates(current)
        assert found[0] == current
        assert all(ranking not in found[:number] for number, ranking in enumerate(found))


def test_what_is_tried() -> None:
    found = candidates(Ranking())
    assert Ranking(method="auto") in found
    assert Ranking(method="rrf") in found
    assert Ranking(method="linear", weights={"bm25": 0.5, "knn": 0.5}) in found
    assert {ranking.rank_constant for ranking in found if ranking.method == "rrf"} == {1, 10, 20, 60, 100}
    assert {ranking.normalizer for ranking in found if ranking.method == "linear"} == {"minmax", "l2_norm"}
    shares = {round(share_of_knn(ranking), 4) for ranking in found if ranking.method == "linear"}
    assert shares == {round(step / 20, 4) for step in range(21)}


def test_one_leg_alone_is_among_them() -> None:
    legs = [leg("a", "b", "c"), leg("c", "d", "a")]
    orders = [fused(legs, ranking)[:3] for ranking in candidates(Ranking()) if ranking.method == "linear"]
    assert ["a", "b", "c"] in orders
    assert ["c", "d", "a"] in orders


def test_fusion_is_that_of_a_search() -> None:
    legs = [leg("a", "b", "c"), leg("c", "d", "a")]
    ranking = Ranking(method="rrf", rank_constant=1, weights={"bm25": 3.0, "knn": 1.0})
    wanted = [document.key[1] for document in rrf(legs, rank_constant=1, weights=[3.0, 1.0])]
    assert fused(legs, ranking) == wanted
    by_hand = {"a": 3 / 2 + 1 / 4, "b": 3 / 3, "c": 3 / 4 + 1 / 2, "d": 1 / 3}
    assert wanted == sorted(by_hand, key=lambda doc_id: -by_hand[doc_id])


def test_one_id_in_two_indices_counts_once() -> None:
    legs = [[(("one", "a"), 2.0), (("two", "a"), 1.0)], [(("one", "b"), 1.0)]]
    assert sorted(fused(legs, Ranking(method="rrf"))) == ["a", "b"]


def test_equal_rankings_have_one_hash() -> None:
    """The indices of a query are asked whether they agree."""
    one = Ranking(method="rrf", weights={"bm25": 0.25, "knn": 0.75})
    other = Ranking(method="rrf", weights={"knn": 0.75, "bm25": 0.25})
    assert {one, other} == {one}
    assert len({one, other, Ranking(), Ranking(method="rrf")}) == 3


def test_in_words() -> None:
    assert in_words(Ranking()) == "auto"
    assert in_words(Ranking(method="rrf", weights={"bm25": 0.25})) == "rrf (rank_constant 60; bm25 0.25, knn 1)"
    assert in_words(Ranking(method="linear")) == "linear (minmax; bm25 1, knn 1)"


@given(st.integers(2, 200), st.integers(2, 10), st.integers(0, 5))
def test_folds_are_a_partition(count: int, folds: int, seed: int) -> None:
    parts = split(count, folds, seed=seed)
    assert sorted(number for part in parts for number in part) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts == split(count, folds, seed=seed)


def test_cross_validation_by_hand() -> None:
    """Without query 0 the first candidate is best, without query 1 the second; all together the second."""
    table = np.array([[0.0, 1.0], [0.9, 0.2]])
    found = cross_validate(table, [[0], [1]])
    assert found.chosen == (0, 1)
    assert found.held_out == (0.0, 0.2)
    assert found.best == 1


def test_of_equals_the_first_is_chosen() -> None:
    assert best(np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.1, 0.1, 0.1]])) == 0


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(10, 40), st.integers(0, 1000))
def test_a_held_out_value_was_not_looked_at(candidates_: int, queries: int, seed: int) -> None:
    """Whatever a query's own values are, the choice that they are judged by is the same."""
    random = np.random.default_rng(seed)
    table = random.random((candidates_, queries))
    folds = split(queries, 5, seed=seed)
    before = cross_validate(table, folds)
    changed = table.copy()
    changed[:, folds[0]] = random.random((candidates_, len(folds[0])))
    after = cross_validate(changed, folds)
    assert after.chosen[0] == before.chosen[0]
    assert [after.held_out[q] for q in folds[0]] == [changed[before.chosen[0], q] for q in folds[0]]


def test_noise_gains_nothing_on_held_out_queries() -> None:
    """A hundred candidates of pure noise: the best looks better on all queries, and is not on those held out."""
    seed = 11
    print(f"seed {seed}")
    table = np.random.default_rng(seed).random((100, 200))
    found = cross_validate(table, split(200, 5, seed=1))
    assert table[found.best].mean() > 0.54
    assert abs(np.mean(found.held_out) - 0.5) < 0.06


def binding(model: str = "m", ranking: Ranking | None = None) -> Binding:
    fingerprint = Fingerprint(provider="tests", model=model, dims=1, probe="AAAAAA==")
    return Binding(
        source=["title"], fingerprint=fingerprint, similarity="cosine", index_options={"type": "flat"}, ranking=ranking
    )


def mapping(meta: dict[str, Any] | None = None, **fields: Binding) -> dict[str, Any]:
    bindings = Bindings(owner_final_pipeline="owners", fields=fields)
    return {"mappings": {"_meta": {**(meta or {}), "es_semantic": bindings.model_dump()}}}


TUNED = Ranking(method="linear", weights={"bm25": 0.3, "knn": 0.7})


def ranking_requests(mappings: dict[str, Any], ranking: Ranking | None) -> list[Request]:
    return rebinding_requests(mappings, lambda bindings: with_ranking(bindings, "semantic", ranking))


def test_storing_keeps_everything_else() -> None:
    mappings = {"i": mapping({"owner": {"note": 1}}, semantic=binding(), other=binding("n"))}
    (request,) = ranking_requests(mappings, TUNED)
    assert (request.method, request.path) == ("PUT", "/i/_mapping")
    assert isinstance(request.body, dict)
    meta = request.body["_meta"]
    assert meta["owner"] == {"note": 1}
    stored = Bindings.model_validate(json.loads(json.dumps(meta["es_semantic"])))
    assert stored.fields == {"semantic": binding(ranking=TUNED), "other": binding("n")}
    assert stored.owner_final_pipeline == "owners"


def test_indices_of_one_meta_change_together() -> None:
    mappings = {
        "a": mapping(semantic=binding()),
        "b": mapping({"mine": 1}, semantic=binding()),
        "c": mapping(semantic=binding()),
        "d": mapping(semantic=binding(ranking=TUNED)),
    }
    requests = ranking_requests(mappings, TUNED)
    assert sorted(request.path for request in requests) == ["/a%2Cc/_mapping", "/b/_mapping"]


def test_nothing_to_do() -> None:
    mappings = {"a": mapping(semantic=binding(ranking=TUNED))}
    assert ranking_requests(mappings, TUNED) == []
    assert ranking_requests({"a": mapping(semantic=binding())}, None) == []
    (request,) = ranking_requests(mappings, None)
    assert isinstance(request.body, dict)
    left = Bindings.model_validate(request.body["_meta"]["es_semantic"])
    assert left.fields == {"semantic": binding()}
