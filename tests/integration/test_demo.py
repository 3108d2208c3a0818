"""The main job: the demo from nothing, with the real model, and what its answers are worth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.demo.index import FIELDS, INDEX
from es_semantic.demo.questions import QUESTIONS
from es_semantic.retrieval.query import DEFAULT_SIZE

TOP = 10


def demo(node_url: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("es-semantic")), "demo", *options]
    return subprocess.run(
        command, env={**os.environ, "ES_SEMANTIC_URL": node_url}, capture_output=True, text=True, check=True
    )


@pytest.fixture(scope="module")
def answers(client: Elasticsearch, node_url: str) -> Iterator[dict[str, Any]]:
    """What the first run of the demo says."""
    yield json.loads(demo(node_url, "--json").stdout)
    es_semantic.detach(client, INDEX)
    client.indices.delete(index=INDEX)


def test_every_document_is_embedded(answers: dict[str, Any], client: Elasticsearch) -> None:
    report = answers["sync"]
    assert report["embedded"] == report["total"] == client.count(index=INDEX)["count"] > 5000
    assert report["failed"] == report["empty"] == 0


def test_every_question_is_answered_three_ways(answers: dict[str, Any]) -> None:
    assert set(answers["answers"]) == set(QUESTIONS)
    assert len(QUESTIONS) == 8
    for by_mode in answers["answers"].values():
        assert set(by_mode) == {"bm25", "knn", "hybrid"}
        assert all(result["hits"] for result in by_mode.values())


def test_hybrid_finds_what_words_miss(answers: dict[str, Any]) -> None:
    first = {question: modes["hybrid"]["hits"][0]["id"] for question, modes in answers["answers"].items()}
    assert first["split a path into folder and file name"] == "os.path.split"
    assert first["JSONDecodeError"] == "json.JSONDecodeError"
    paraphrase = "keep only the most recent results of an expensive function"
    assert first[paraphrase] == "functools.lru_cache"
    by_words = answers["answers"][paraphrase]["bm25"]["hits"]
    assert "functools.lru_cache" not in [hit["id"] for hit in by_words]


def test_a_second_run_finds_all_done(answers: dict[str, Any], client: Elasticsearch, node_url: str) -> None:
    again = demo(node_url)
    assert "python-docs: nothing was written since the last sync" in again.stdout
    assert es_semantic.status(client, INDEX).ready == answers["sync"]["total"]
    assert "Next:" in again.stdout
    for question in QUESTIONS:
        assert question in again.stdout


@pytest.mark.parametrize("question", QUESTIONS)
def test_knn_hits_are_the_exact_ones(answers: dict[str, Any], client: Elasticsearch, question: str) -> None:
    assert answers["sync"]["embedded"]
    ours = es_semantic.search(client, INDEX, question, mode="knn", size=TOP)
    vector = es_semantic.load_embedder().embed_queries([question]).vectors[0].tolist()
    script = {
        "source": "(1 + cosineSimilarity(params.vector, 'semantic.vector')) / 2",
        "params": {"vector": vector},
    }
    query = {"script_score": {"query": {"exists": {"field": "semantic.vector"}}, "script": script}}
    exact = client.search(index=INDEX, query=query, size=TOP, source=False)["hits"]["hits"]
    assert [hit.id for hit in ours.hits] == [hit["_id"] for hit in exact]
    assert [hit.score for hit in ours.hits] == pytest.approx([hit["_score"] for hit in exact], abs=1e-5)


def test_the_demo_s_index_is_plain_but_for_the_semantic_field(answers: dict[str, Any], client: Elasticsearch) -> None:
    assert answers["url"]
    properties = client.indices.get_mapping(index=INDEX)[INDEX]["mappings"]["properties"]
    assert {field["type"] for name, field in properties.items() if name != "semantic"} == {"text", "keyword"}
    hit = es_semantic.search(client, INDEX, "open a file", size=DEFAULT_SIZE).hits[0]
    assert set(FIELDS) <= set(hit.source)


def test_an_index_of_that_name_that_is_somebody_else_s_is_left_alone(
    secured_node: Any, superuser: Elasticsearch, tmp_path: Path
) -> None:
    superuser.indices.create(index=INDEX, mappings={"properties": {"mine": {"type": "text"}}})
    settings = tmp_path / "es-semantic.yml"
    settings.write_text(
        f"connection:\n  url: {secured_node.url}\n  username: {secured_node.username}\n"
        f"  password: {secured_node.password}\n"
    )
    command = [str(Path(sys.executable).with_name("es-semantic")), "--config", str(settings), "demo"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "it is not the demo's" in ran.stderr
    assert superuser.indices.get_mapping(index=INDEX)[INDEX]["mappings"] == {"properties": {"mine": {"type": "text"}}}
    superuser.indices.delete(index=INDEX)
