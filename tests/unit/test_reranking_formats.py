"""Rerankers behind HTTP: what is sent and what is read.

The bodies are those of Cohere's API reference ("Rerank", v2), Jina's ("Reranker API"), vLLM's documentation ("Re-rank
API") and text-embeddings-inference's OpenAPI description ("/rerank"). A real server answers in ``tests/contracts``.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from es_semantic.config import CohereSettings, RerankerSettings, TeiSettings
from es_semantic.errors import RerankerError
from es_semantic.reranking import Reranker, load_reranker
from es_semantic.reranking.cohere import CohereReranker, CohereShape
from es_semantic.reranking.tei import TeiReranker, TeiShape
from tests.unit.http_answers import Answering, Scripted
from tests.unit.rerank_answers import COHERE, KEY, QUERY, TEI, TEXTS, cohere_answer, tei_answer


def by_length(body: dict[str, Any]) -> dict[str, Any]:
    """Scores that tell which text they are of, in the order of the scores, as servers give them."""
    scored = [(index, float(len(text))) for index, text in enumerate(body["documents"])]
    return cohere_answer(sorted(scored, key=lambda row: -row[1]))


def _answered(content: Any) -> Scripted:
    return Scripted(httpx.Response(200, content=json.dumps(content)))


# What is sent.


def test_cohere_is_asked_as_its_own_client_asks() -> None:
    transport = _answered(cohere_answer([(1, 0.9), (0, 0.2), (2, 0.1)]))
    CohereReranker(COHERE, transport=transport).scores(QUERY, TEXTS)
    (request,) = transport.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.cohere.com/v2/rerank")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    # What the official Python client 7.3.1 sends for rerank(model=, query=, documents=).
    assert transport.bodies == [
        {
            "model": "rerank-v3.5",
            "query": "What is the capital of the United States?",
            "documents": [
                "Carson City is the capital of Nevada.",
                "Washington, D.C. is the capital.",
                "Capital punishment exists.",
            ],
        }
    ]


def test_text_embeddings_inference_is_asked_to_cut_over_long_texts() -> None:
    transport = _answered(tei_answer([(1, 0.9), (0, 0.2), (2, 0.1)]))
    TeiReranker(TEI, transport=transport).scores(QUERY, TEXTS)
    (request,) = transport.requests
    assert (request.method, str(request.url)) == ("POST", "http://tei.test:8080/rerank")
    assert "authorization" not in request.headers
    assert transport.bodies == [{"query": QUERY, "texts": TEXTS, "raw_scores": False, "truncate": True}]


def test_raw_scores_are_asked_for_only_where_they_are_set() -> None:
    settings = TEI.model_copy(update={"raw_scores": True, "api_key": SecretStr(KEY)})
    transport = _answered(tei_answer([(0, -11.25)]))
    assert TeiReranker(settings, transport=transport).scores(QUERY, TEXTS[:1]) == [-11.25]
    assert transport.bodies[0]["raw_scores"] is True
    assert transport.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_lone_surrogate_is_sent_as_a_question_mark() -> None:
    transport = Answering(by_length)
    CohereReranker(COHERE, transport=transport).scores("q\udfff", ["a\ud800b"])
    assert (transport.bodies[0]["query"], transport.bodies[0]["documents"]) == ("q?", ["a?b"])


def test_many_texts_go_in_batches_and_come_back_in_order() -> None:
    transport = Answering(by_length)
    texts = [str(i) + "x" * (i * 7 % 23) for i in range(23)]
    reranker = CohereReranker(COHERE.model_copy(update={"batch_size": 5}), transport=transport)
    assert reranker.scores(QUERY, texts) == [len(text) for text in texts]
    assert [len(body["documents"]) for body in transport.bodies] == [5, 5, 5, 5, 3]
    assert {body["query"] for body in transport.bodies} == {QUERY}


@pytest.mark.parametrize("texts", [[], [""], [" ", "\n\t", "\u2003"]], ids=["none", "an empty one", "blank ones"])
def test_nothing_to_judge_sends_nothing(texts: list[str]) -> None:
    transport = Scripted(httpx.Response(500))
    assert CohereReranker(COHERE, transport=transport).scores(QUERY, texts) == [0.0] * len(texts)
    assert transport.requests == []


def test_equal_texts_are_sent_once_and_blank_ones_never() -> None:
    transport = Answering(by_length)
    scores = CohereReranker(COHERE, transport=transport).scores(QUERY, ["aaa", "", "b", "aaa", " ", "b"])
    assert transport.bodies[0]["documents"] == ["aaa", "b"]
    assert scores == [3, 0, 1, 3, 0, 1]


@given(st.lists(st.text(st.sampled_from("ab \n\ud800"), max_size=4), max_size=30), st.integers(1, 7))
def test_each_text_has_the_score_of_that_text_alone(texts: list[str], batch_size: int) -> None:
    def score(text: str) -> float:
        return float(sum(ord(character) * 7**place for place, character in enumerate(text)))

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        documents = enumerate(body["documents"])
        return cohere_answer(sorted(((i, score(text)) for i, text in documents), key=lambda row: -row[1]))

    settings = COHERE.model_copy(update={"batch_size": batch_size})
    found = CohereReranker(settings, transport=Answering(answer)).scores(QUERY, texts)
    expected = [score(text.replace("\ud800", "?")) if text.strip() else 0.0 for text in texts]
    assert found == expected


def test_one_reranker_serves_many_threads() -> None:
    reranker = CohereReranker(COHERE, transport=Answering(by_length))
    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda size: reranker.scores(QUERY, ["x" * size, "y"]), range(2, 66)))
    assert scores == [[float(size), 1.0] for size in range(2, 66)]


@pytest.mark.parametrize(("settings", "kind"), [(COHERE, CohereReranker), (TEI, TeiReranker)])
def test_loading_chooses_the_provider_and_loads_once(settings: RerankerSettings, kind: type) -> None:
    reranker = load_reranker(settings)
    assert isinstance(reranker, kind)
    assert load_reranker(settings.model_copy()) is reranker
    assert load_reranker(settings.model_copy(update={"batch_size": 7})) is not reranker


def test_a_reranker_is_called_by_its_model_or_else_by_its_url() -> None:
    assert load_reranker(COHERE).name == "rerank-v3.5"
    assert load_reranker(TEI).name == "http://tei.test:8080"


# What is read.


def test_coheres_answer_is_in_the_order_of_the_scores() -> None:
    answer = json.loads(
        """{"id": "07734bd2-2473-4f07-94e1-0d9f0e6843cf", "results": [
        {"index": 3, "relevance_score": 0.999071}, {"index": 4, "relevance_score": 0.7867867},
        {"index": 0, "relevance_score": 0.32713068}, {"index": 1, "relevance_score": 0.0051000},
        {"index": 2, "relevance_score": 0.0000001}],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}}"""
    )
    assert CohereShape("m").read(answer, 5) == [0.32713068, 0.0051000, 0.0000001, 0.999071, 0.7867867]


def test_jinas_and_vllms_answers_hold_the_texts_as_well() -> None:
    jina = json.loads(
        """{"model": "jina-reranker-v2-base-multilingual", "object": "list",
        "usage": {"total_tokens": 815, "prompt_tokens": 815}, "results": [
        {"index": 1, "document": {"text": "b"}, "relevance_score": 0.8783142566680908},
        {"index": 0, "document": {"text": "a"}, "relevance_score": 0.7624675869941711}]}"""
    )
    assert CohereShape("m").read(jina, 2) == [0.7624675869941711, 0.8783142566680908]
    vllm = json.loads(
        """{"id": "rerank-fae51b2b664d4ed38f5969b612edff77", "model": "BAAI/bge-reranker-base",
        "usage": {"total_tokens": 56}, "results": [
        {"index": 1, "document": {"text": "The capital of France is Paris."}, "relevance_score": 0.99853515625},
        {"index": 0, "document": {"text": "Brazil"}, "relevance_score": 0.0005860328674316406}]}"""
    )
    assert CohereShape("m").read(vllm, 2) == [0.0005860328674316406, 0.99853515625]


def test_text_embeddings_inference_answers_with_a_list() -> None:
    answer = json.loads(
        '[{"index": 1, "score": 0.99}, {"index": 0, "text": null, "score": 0.5}, {"index": 2, "score": 0}]'
    )
    assert TeiShape("m", False).read(answer, 3) == [0.5, 0.99, 0]


@pytest.mark.parametrize(
    "indexes",
    [(0, 0), (1, 2), (0, 2), (-1, 0), (0, None), (0, "1"), (0, 1.0), (False, True), (0, [1]), (0, 2**70)],
    ids=str,
)
def test_an_index_that_is_missing_repeated_or_no_whole_number_is_refused(indexes: tuple[Any, Any]) -> None:
    rows = [(index, 0.5) for index in indexes]
    with pytest.raises(RerankerError, match="reranker 'm' skips or repeats an index"):
        CohereShape("m").read(cohere_answer(rows), 2)
    with pytest.raises(RerankerError, match="reranker 'm' skips or repeats an index"):
        TeiShape("m", False).read(tei_answer(rows), 2)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_too_few_or_too_many_scores_are_counted(count: int) -> None:
    rows = [(index, 0.5) for index in range(count)]
    wanted = f"reranker 'm' returned {count} scores? for 2 texts$"
    with pytest.raises(RerankerError, match=wanted):
        CohereShape("m").read(cohere_answer(rows), 2)
    with pytest.raises(RerankerError, match=wanted):
        TeiShape("m", False).read(tei_answer(rows), 2)


@pytest.mark.parametrize(
    "score", [float("nan"), float("inf"), -float("inf"), None, "0.5", True, [0.5], {"value": 0.5}, 10**400], ids=repr
)
def test_a_score_that_is_no_finite_number_is_refused(score: Any) -> None:
    with pytest.raises(RerankerError, match="for 1 of 2 texts"):
        CohereShape("m").read(cohere_answer([(0, 0.5), (1, score)]), 2)
    with pytest.raises(RerankerError, match="for 1 of 2 texts"):
        TeiShape("m", False).read(tei_answer([(0, 0.5), (1, score)]), 2)


NOT_COHERE: dict[str, Any] = {
    "text-embeddings-inference's": tei_answer([(0, 0.1), (1, 0.2)]),
    "an error with status 200": {"error": {"message": f"overloaded {KEY}"}},
    "no results": {"id": "x"},
    "null": {"results": None},
    "an object": {"results": {"0": 0.1}},
    "numbers": {"results": [0.1, 0.2]},
    "rows without a score": {"results": [{"index": 0}, {"index": 1}]},
    "rows without an index": {"results": [{"relevance_score": 0.1}, {"relevance_score": 0.1}]},
    "another word for a score": {"results": [{"index": 0, "score": 0.1}, {"index": 1, "score": 0.2}]},
    "text": "ok",
    "nothing": None,
}
NOT_TEI: dict[str, Any] = {
    "Cohere's": cohere_answer([(0, 0.1), (1, 0.2)]),
    "numbers": [0.1, 0.2],
    "rows without a score": [{"index": 0}, {"index": 1}],
    "labels": [{"label": "a", "score": 0.1}, {"label": "b", "score": 0.2}],
    "an error with status 200": {"error": "overloaded", "error_type": "overloaded"},
    "nothing": None,
}


@pytest.mark.parametrize(
    ("reranker", "answer"),
    [
        *(pytest.param(COHERE, answer, id=f"not Cohere's: {kind}") for kind, answer in NOT_COHERE.items()),
        *(pytest.param(TEI, answer, id=f"not TEI's: {kind}") for kind, answer in NOT_TEI.items()),
    ],
)
def test_an_answer_of_another_form_says_what_to_check(reranker: CohereSettings | TeiSettings, answer: Any) -> None:
    on: Reranker = (
        CohereReranker(reranker, transport=_answered(answer))
        if isinstance(reranker, CohereSettings)
        else TeiReranker(reranker, transport=_answered(answer))
    )
    with pytest.raises(RerankerError, match="is not a list of objects") as caught:
        on.scores(QUERY, TEXTS[:2])
    assert "rerankers.*.provider" in caught.value.hint
    assert KEY not in str(caught.value)
