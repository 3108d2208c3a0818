"""Models in the examples of Elastic's documentation: rerankers, and fields that are searched by meaning."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.config import Config, CrossEncoderSettings
from es_semantic.reranking import load_reranker
from tests.embedder import TinyEmbedder
from tests.integration.test_retrieve_documentation import BOTH, DOCUMENTS, NEAREST, Json, garden, scores
from tests.nodes import remove_everything
from tests.small_rerankers import small_cross_encoder

__all__ = ["garden"]


@pytest.fixture(scope="module")
def rerankers(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folders = [tmp_path_factory.mktemp("rerankers") / name for name in ("first", "second")]
    return Config(rerankers={folder.name: cross_encoder(folder) for folder in folders})


def cross_encoder(folder: Path) -> CrossEncoderSettings:
    return CrossEncoderSettings(provider="cross-encoder", name=small_cross_encoder(folder), offline=True)


def rerank(retriever: Json, text: str, name: str, **more: Any) -> Json:
    tree = {"retriever": retriever, "field": "text", "inference_id": name, "inference_text": text, **more}
    return {"text_similarity_reranker": tree}


def reranked(rerankers: Config, name: str, text: str, ids: list[str]) -> dict[str, float]:
    """What the model says about these documents, best first."""
    model = load_reranker(rerankers.rerankers[name])
    said = model.scores(text, [DOCUMENTS[doc_id]["text"] for doc_id in ids])
    return dict(sorted(zip(ids, said, strict=True), key=lambda one: -one[1]))


def shown(score: float) -> float:
    """Elastic docs, "Text similarity re-ranker retriever": never negative."""
    return score + 1 if score >= 0 else math.exp(score)


def test_results_of_rrf_reranked_by_a_model(client: Elasticsearch, garden: str, rerankers: Config) -> None:
    text = "What keeps plants cool?"
    expected = reranked(rerankers, "first", text, ["1", "2", "3"])
    found = scores(
        es_semantic.retrieve(client, garden, retriever=rerank(BOTH, text, "first"), config=rerankers, source=False)
    )
    assert list(found) == list(expected)
    assert found == pytest.approx({doc_id: shown(score) for doc_id, score in expected.items()}, rel=1e-6)
    middle = sorted(expected.values())[1]
    fewer = rerank(BOTH, text, "first", min_score=middle)
    found = scores(es_semantic.retrieve(client, garden, retriever=fewer, config=rerankers))
    assert list(found) == [doc_id for doc_id, score in expected.items() if np.float32(score) >= np.float32(middle)]


def test_one_reranker_after_the_other_and_below_rrf(client: Elasticsearch, garden: str, rerankers: Config) -> None:
    first, second = "What keeps plants cool?", "Which trees are old?"
    inner = rerank(BOTH, first, "first")
    best = list(reranked(rerankers, "first", first, ["1", "2", "3"]))[:2]
    tree = rerank(inner, second, "second", rank_window_size=2)
    found = es_semantic.retrieve(client, garden, retriever=tree, config=rerankers, size=2)
    assert list(scores(found)) == list(reranked(rerankers, "second", second, best))
    mixed = {"rrf": {"retrievers": [inner, NEAREST], "rank_constant": 1}}
    found = es_semantic.retrieve(client, garden, retriever=mixed, config=rerankers)
    ranks = {doc_id: rank for rank, doc_id in enumerate(reranked(rerankers, "first", first, ["1", "2", "3"]), start=1)}
    expected = {doc_id: 1 / (1 + ranks[doc_id]) + 1 / (1 + place) for place, doc_id in enumerate("123", start=1)}
    assert scores(found) == pytest.approx(expected, rel=1e-6)


def test_documents_without_the_field_are_not_reranked(client: Elasticsearch, garden: str, rerankers: Config) -> None:
    tree = rerank(BOTH, "text", "first", field="no_such_field")
    assert es_semantic.retrieve(client, garden, retriever=tree, config=rerankers)["hits"]["hits"] == []


@pytest.fixture(scope="module")
def library(client: Elasticsearch) -> Iterator[str]:
    """Documents with a semantic field, for the multi-field query format."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    properties = {"title": {"type": "text"}, "body": {"type": "text"}}
    client.indices.create(index=name, mappings={"properties": properties}, settings={"number_of_replicas": 0})
    titles = ["old oak", "raised beds", "oak beds", "cool shade", "old walls", "soft water"]
    for number, title in enumerate(titles):
        client.index(index=name, id=str(number), document={"title": title, "body": f"{title} in the garden"})
    client.indices.refresh(index=name)
    es_semantic.attach(client, name, ["title", "body"], model=TinyEmbedder())
    es_semantic.sync(client, name, model=TinyEmbedder())
    yield name
    remove_everything(client, name)


def by_meaning(k: int = 10) -> Json:
    builder = {"text_embedding": {"model_text": "old oak"}}
    knn = {"field": "semantic.vector", "query_vector_builder": builder, "k": k, "num_candidates": 15}
    return {"rrf": {"retrievers": [{"knn": knn}]}}


def lexical(*fields: str) -> Json:
    return {"standard": {"query": {"multi_match": {"query": "old oak", "fields": list(fields), "type": "most_fields"}}}}


def test_the_multi_field_query_format_of_rrf(client: Elasticsearch, library: str) -> None:
    """One text: words and meaning are fused apart, so that many fields of one kind do not outvote the other."""
    short = {"rrf": {"query": "old oak", "fields": ["title^2", "body", "semantic"]}}
    long = {"rrf": {"retrievers": [lexical("title^2", "body"), by_meaning()]}}
    answers = [es_semantic.retrieve(client, library, retriever=tree, model=TinyEmbedder()) for tree in (short, long)]
    assert scores(answers[0]) == scores(answers[1])
    assert next(iter(scores(answers[0]))) == "0"
    assert scores(answers[0])["0"] == pytest.approx(2 / 61)
    everywhere = es_semantic.retrieve(client, library, retriever={"rrf": {"query": "old oak"}}, model=TinyEmbedder())
    assert next(iter(scores(everywhere))) == "0"
    assert len(scores(everywhere)) == 6


def test_the_multi_field_query_format_of_linear(client: Elasticsearch, library: str) -> None:
    short = {"linear": {"query": "old oak", "fields": ["title", "semantic"], "normalizer": "minmax"}}
    found = scores(es_semantic.retrieve(client, library, retriever=short, model=TinyEmbedder()))
    assert next(iter(found)) == "0"
    assert found["0"] == pytest.approx(2)
    filtered = {"linear": {**short["linear"], "filter": {"match": {"title": "oak"}}}}
    assert set(scores(es_semantic.retrieve(client, library, retriever=filtered, model=TinyEmbedder()))) == {"0", "2"}
